//! What the machine gives to the server: root's rights, open files, and the port.

use std::{io::ErrorKind, net::TcpListener};

use rustix::process::{Resource, geteuid, getrlimit};

use super::Report;
use crate::{
    config::Config,
    containers::listener,
    domain::port::{Holder, Protocol},
};

/// Below this, connections and terminals, of which each needs three, may run out of open files.
const OPEN_FILES: u64 = 4096;

/// Whether a berth has the port already.
pub(super) fn check(report: &mut Report<'_>, config: &Config) -> bool {
    if geteuid().is_root() {
        report.ok("rights", "root's");
    } else {
        report.fail("rights", "not root's, so files can't be given to the containers' users: start berth with sudo");
    }
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < OPEN_FILES => report.warn(
            "open files",
            &format!(
                "at most {most}, and a terminal needs three: raise the limit (ulimit -Hn, or LimitNOFILE= of the systemd unit)"
            ),
        ),
        Some(most) => report.ok("open files", &format!("up to {most}")),
        None => report.ok("open files", "without a limit"),
    }
    port(report, config)
}

fn port(report: &mut Report<'_>, config: &Config) -> bool {
    let (at, what) = (config.listen, "port");
    let error = match TcpListener::bind(at) {
        Ok(_) => {
            report.ok(what, &format!("{at} can be had"));
            return false;
        }
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::AddrInUse => match listener(at.port(), Protocol::Tcp) {
            Some(Holder::Process { name, pid }) if name == "berth" => {
                report.ok(what, &format!("{at} is held by the berth that runs (pid {pid})"));
                return true;
            }
            holder => {
                let holder = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
                report.fail(what, &format!("{at} is in use by {holder}: stop that, or set PORT to another"));
            }
        },
        ErrorKind::AddrNotAvailable => {
            report.fail(what, &format!("{} is no address of this machine: set HOST to one, or to 0.0.0.0 for all", at.ip()));
        }
        ErrorKind::PermissionDenied => {
            report.fail(what, &format!("{at} may not be listened on: start berth with sudo, or set PORT to one from 1024"));
        }
        _ => report.fail(what, &format!("{at} can't be listened on ({error}): set HOST and PORT to others")),
    }
    false
}
