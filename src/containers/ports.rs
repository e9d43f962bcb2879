//! Ports of the host: whether those that a container asks for are to be had, and who has those that are not. The engine
//! itself tells only once it has stopped what ran before, and names nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use super::{Containers, on_disk};
use crate::{
    domain::{
        id::Cuid,
        port::{Holder, PortMapping, Protocol},
        spec::Spec,
    },
    engine::state::State,
    error::{Error, Result},
};
use procfs::{
    net::{TcpState, tcp, tcp6, udp, udp6},
    process::{FDTarget, Process, all_processes},
};

impl Containers {
    /// That every port of the host that `spec` asks for is free, or the container's own already.
    ///
    /// # Errors
    /// [`Error::PortConflict`].
    pub(super) async fn ports_are_free(&self, cuid: Cuid, spec: &Spec, state: &State) -> Result<()> {
        let own = |mapping: &PortMapping| {
            let same = |port: u16, protocol: &str| port == mapping.host && protocol == mapping.protocol.as_str();
            state.published.iter().any(|published| same(published.host, &published.protocol))
        };
        let asked: Vec<PortMapping> = spec.ports.iter().filter(|mapping| mapping.host != 0 && !own(mapping)).cloned().collect();
        if asked.is_empty() || !self.0.engine.is_local() {
            return Ok(());
        }
        match on_disk(move || Ok(asked.into_iter().find(is_taken))).await? {
            Some(taken) => Err(self.conflict(cuid, spec, &taken).await),
            None => Ok(()),
        }
    }

    /// The conflict about a port that is taken, with its holder where one is found.
    pub(super) async fn conflict(&self, cuid: Cuid, spec: &Spec, taken: &PortMapping) -> Error {
        let (port, protocol) = (taken.host, taken.protocol);
        let mut holder = self.0.index.port_holder(cuid, spec, port).map(Holder::Ours);
        if holder.is_none() {
            let name = self.0.engine.publisher(port, protocol.as_str()).await.unwrap_or_default();
            holder = name.map(|name| match name.parse() {
                Ok(cuid) if self.0.index.get(cuid).is_ok() => Holder::Ours(cuid),
                _ => Holder::Container(name),
            });
        }
        if holder.is_none() && self.0.engine.is_local() {
            holder = on_disk(move || Ok(listener(port, protocol))).await.unwrap_or_default();
        }
        Error::PortConflict { port, protocol: protocol.as_str(), holder }
    }
}

/// Whether somebody on this host has the port already. Whatever else keeps it from being had is for the engine to say.
fn is_taken(mapping: &PortMapping) -> bool {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = mapping.host_ip.map_or(any.to_vec(), |ip| vec![ip]);
    let in_use = |ip: IpAddr| {
        let bound = match mapping.protocol {
            Protocol::Tcp => TcpListener::bind((ip, mapping.host)).map(drop),
            Protocol::Udp => UdpSocket::bind((ip, mapping.host)).map(drop),
            Protocol::Sctp => Ok(()),
        };
        bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    addresses.into_iter().any(in_use)
}

/// The process on this host that listens on the port, where it may be seen.
pub(crate) fn listener(port: u16, protocol: Protocol) -> Option<Holder> {
    let inodes: Vec<u64> = match protocol {
        Protocol::Tcp => {
            let all = [tcp(), tcp6()].into_iter().flatten().flatten();
            let listens = all.filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port);
            listens.map(|entry| entry.inode).collect()
        }
        Protocol::Udp => {
            let all = [udp(), udp6()].into_iter().flatten().flatten();
            all.filter(|entry| entry.local_address.port() == port).map(|entry| entry.inode).collect()
        }
        Protocol::Sctp => return None,
    };
    let holds = |process: &Process| {
        let sockets = process.fd().into_iter().flatten().flatten();
        sockets.into_iter().any(|fd| matches!(fd.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
    };
    let process = all_processes().ok()?.flatten().find(holds)?;
    Some(Holder::Process { name: process.stat().ok()?.comm, pid: process.pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_and_named() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        let mapping = |protocol: &str| {
            let text = format!(r#"{{"container":1,"host":{port},"host_ip":"127.0.0.1","protocol":"{protocol}"}}"#);
            serde_json::from_str::<PortMapping>(&text).unwrap()
        };
        assert!(is_taken(&mapping("tcp")) && !is_taken(&mapping("udp")));
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(listener(port, Protocol::Tcp), Some(Holder::Process { pid: holder, .. }) if holder == pid));
        drop(one);
        assert!(!is_taken(&mapping("tcp")) && listener(port, Protocol::Tcp).is_none());
    }
}
