//! What Compose says when it fails, in the domain's words.

use serde_json::Value;

use super::Containers;
use crate::{
    domain::{id::Cuid, port::PortMapping, spec::Spec},
    error::Error,
};

impl Containers {
    /// A creation or start that failed, told as what it failed by: what only the engine knows of the specification, or a port
    /// of the host that is taken.
    pub(super) async fn told(&self, cuid: Cuid, spec: &Spec, error: Error) -> Error {
        let Error::ComposeFailed { stderr, .. } = &error else { return error };
        if let Some((code, field, why)) = refused(stderr, spec) {
            return Error::invalid(code, field, format!("{field}: {why}"), Value::Null);
        }
        match named(stderr, &spec.ports) {
            Some(mapping) => self.conflict(cuid, spec, mapping).await,
            None => error,
        }
    }
}

/// Which field of the specification the engine's words are about, and why it was refused.
fn refused<'a>(stderr: &'a str, spec: &Spec) -> Option<(&'static str, &'static str, &'a str)> {
    let last = stderr.trim().lines().last()?;
    let said = |words: &str| last.find(words).map(|at| &last[at..]);
    if stderr.contains("cannot assign requested address") {
        return Some(("INVALID_PORT", "ports", "a host_ip is no address of this host"));
    }
    if stderr.contains("protocol not supported") {
        return Some(("INVALID_PORT", "ports", "this host does not have the protocol of one of them"));
    }
    if said("bind source path does not exist").is_some() {
        return Some(("INVALID_VOLUME", "volumes", "there is nothing at a host_path any more"));
    }
    if said("mount a directory onto a file").is_some() {
        return Some(("INVALID_VOLUME", "volumes", "a folder can't be mounted over a file, nor a file over a folder"));
    }
    let user = spec.user.as_ref().and_then(|_| said("unable to find user").or_else(|| said("unable to find group")));
    let log = spec.log.as_ref().and_then(|_| said("failed to initialize logging driver"));
    user.map(|why| ("INVALID_USER", "user", why)).or_else(|| log.map(|why| ("INVALID_LOG", "log", why)))
}

/// Whether a start failed because the container's network, which it holds by id, is not there any more.
pub(super) fn lost_network(error: &Error) -> bool {
    matches!(error, Error::ComposeFailed { stderr, .. } if stderr.contains("network") && (stderr.contains("not found") || stderr.contains("could not find")))
}

/// Which of the ports the engine says is taken, as the last of these has it: `Bind for 0.0.0.0:8080 failed: port is
/// already allocated`, `listen tcp4 0.0.0.0:8080: bind: address already in use`.
fn named<'a>(stderr: &str, ports: &'a [PortMapping]) -> Option<&'a PortMapping> {
    let taken = |line: &&str| line.contains("port is already allocated") || line.contains("address already in use");
    let line = stderr.lines().rfind(taken)?;
    let names = |port: u16| {
        let wanted = format!(":{port}");
        line.match_indices(&wanted).any(|(at, _)| !line[at + wanted.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    ports.iter().find(|mapping| mapping.host != 0 && names(mapping.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_words_for_a_taken_port_are_understood() {
        let ports: Vec<PortMapping> =
            serde_json::from_str(r#"[{"container":1,"host":808},{"container":80,"host":8080}]"#).unwrap();
        for line in [
            "Error response from daemon: driver failed programming external connectivity on endpoint c2 (f4f13): Bind for 127.0.0.1:8080 failed: port is already allocated",
            "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
            "failed to set up container networking: failed to bind host port for 0.0.0.0:8080/tcp: address already in use",
            "failed to bind port [::]:8080/tcp: address already in use",
        ] {
            assert_eq!(named(line, &ports).map(|port| port.host), Some(8080), "{line}");
        }
        assert_eq!(named("No such image: a:8080", &ports), None);
    }
}
