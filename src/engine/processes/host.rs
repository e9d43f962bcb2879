//! A session's processes as this host's `/proc` shows them, signalled through pidfds. All of it blocks.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    process::{self as sys, Pid, PidfdFlags},
};

use super::{
    Signal,
    cgroup::{Group, Home},
};

/// How much of an environment is looked at, in bytes: more than the kernel lets a process start with.
const ENVIRONMENT: u64 = 8 << 20;
/// How often a container's processes are listed until nobody new is among them; one that starts others all the time always has some.
const LISTINGS: usize = 16;

/// The kernel's flag of a process that ends.
const EXITING: u64 = 4;

/// A process, at the moment it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    /// The foreground process group of its terminal, -1 without one.
    foreground: i32,
    /// In ticks since boot: with the pid it names one process for ever.
    started: u64,
}

/// The program of this pid, if it is a process of the container with this id and visible here. Its environment tells nothing yet:
/// the engine knows the pid before the program is executed, and until then the environment is the engine's helper's.
pub(super) fn find(pid: i32, container: &str) -> Option<(Process, OwnedFd)> {
    let process = look(pid)?;
    let pidfd = open(process).ok()??;
    is_in_container(pid, container).then_some((process, pidfd))
}

/// Whether this pid is a process of the container with this id, seen from outside, with an environment that can be read.
pub(super) fn is_in_container(pid: i32, id: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    !id.is_empty() && groups.contains(id) && File::open(format!("/proc/{pid}/environ")).is_ok()
}

/// Whether a process ends, or has ended: the kernel says so in its flags before it ends those whose first process this is.
pub(super) fn is_ending(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind its name, which may contain anything.
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & EXITING != 0)
}

/// Signals what runs in the foreground of `root`; see [`Processes::signal_foreground`](super::Processes::signal_foreground).
pub(super) fn signal_foreground(root: Process, homes: &[Home], tty: bool, signal: Signal) -> io::Result<()> {
    // Looked at again, because the foreground changes.
    let Some(root) = look(root.pid).filter(|now| now.started == root.started) else { return Ok(()) };
    let all = everyone(homes)?;
    let targets: Vec<Process> = if tty {
        all.into_iter().filter(|process| process.group == root.foreground && process.session == root.session).collect()
    } else {
        let mut children = family(&all, HashSet::from([root.pid]), false);
        children.retain(|process| process.pid != root.pid);
        if children.is_empty() { vec![root] } else { children }
    };
    targets.into_iter().try_for_each(|target| send(target, signal))
}

/// Kills `root`, all that is in `groups`, and all in `homes` that carries a variable beginning like one of `prefixes`, with what
/// belongs to them, and tells how many there were, a group counted as one. None means that nothing is left. Without `homes` it
/// looks everywhere.
pub(super) fn kill(root: Option<Process>, homes: &[Home], groups: &[Group], prefixes: &[String]) -> io::Result<usize> {
    // One that may not be killed must not save the others.
    let ended: Vec<io::Result<bool>> = groups.iter().map(Group::end).collect();
    let all = everyone(homes)?;
    let is_root = |process: &Process| root.is_some_and(|root| (process.pid, process.started) == (root.pid, root.started));
    // What cleared its environment is still in the terminal session that the program led, whose number is nobody else's until all left it.
    let led = root.map(|root| root.pid).filter(|pid| !all.iter().any(|process| process.pid == *pid));
    let belongs = |process: &&Process| is_root(process) || led == Some(process.session) || carries(process.pid, prefixes);
    let marked = all.iter().filter(belongs).map(|process| process.pid);
    let mut found = family(&all, marked.collect(), true);
    found.retain(|process| u32::try_from(process.pid) != Ok(std::process::id()));
    let sent: Vec<io::Result<()>> = found.iter().map(|process| send(*process, Signal::Kill)).collect();
    sent.into_iter().collect::<io::Result<()>>()?;
    let gone = ended.into_iter().collect::<io::Result<Vec<bool>>>()?;
    Ok(found.len() + gone.iter().filter(|gone| !**gone).count())
}

/// The members, their descendants, and on request those in the terminal sessions of any of these, whose leaders may have
/// ended before them.
fn family(all: &[Process], mut members: HashSet<i32>, with_sessions: bool) -> Vec<Process> {
    loop {
        let before = members.len();
        let sessions: HashSet<i32> =
            all.iter().filter(|process| members.contains(&process.pid)).map(|process| process.session).collect();
        for process in all {
            let in_session = with_sessions && process.session != 0 && sessions.contains(&process.session);
            if members.contains(&process.parent) || in_session {
                members.insert(process.pid);
            }
        }
        if members.len() == before {
            return all.iter().filter(|process| members.contains(&process.pid)).copied().collect();
        }
    }
}

/// Every process of the containers that is not dead; of this host, where none is given or what is in one can't be told.
fn everyone(homes: &[Home]) -> io::Result<Vec<Process>> {
    let (mut listed, mut found) = (HashSet::new(), Vec::new());
    // A list is of one moment, and who ended between the list and the look may have started another. So it is made again
    // until it has nobody new: then who is missing from it descends from one that was found.
    for _ in 0..LISTINGS {
        let Some(pids) = homes.iter().map(Home::pids).collect::<Option<Vec<_>>>().filter(|homes| !homes.is_empty()) else {
            let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            return Ok(names.filter_map(look).collect());
        };
        let new: Vec<i32> = pids.into_iter().flatten().filter(|pid| listed.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        found.extend(new.into_iter().filter_map(look));
    }
    Ok(found)
}

/// A process as it is now; `None` for one that is gone, a zombie included.
pub(super) fn look(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything, further parentheses included.
    let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&stat[behind_name..]).ok()?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Process {
        pid,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        foreground: number(5)?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn carries(pid: i32, prefixes: &[String]) -> bool {
    let environment = environment(pid).unwrap_or_default();
    let mut entries = environment.split(|byte| *byte == 0);
    entries.any(|entry| prefixes.iter().any(|prefix| entry.starts_with(prefix.as_bytes())))
}

fn environment(pid: i32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?.take(ENVIRONMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A handle of exactly this process; `None` if it has ended, whoever has its pid now.
fn open(process: Process) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(None) };
    match sys::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(look(process.pid).filter(|now| now.started == process.started).map(|_| pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Signals exactly this process. That it has ended is no error.
pub(super) fn send(process: Process, signal: Signal) -> io::Result<()> {
    let signal = match signal {
        Signal::Int => sys::Signal::INT,
        Signal::Term => sys::Signal::TERM,
        Signal::Kill => sys::Signal::KILL,
        Signal::Hup => sys::Signal::HUP,
        Signal::Quit => sys::Signal::QUIT,
        Signal::Usr1 => sys::Signal::USR1,
        Signal::Usr2 => sys::Signal::USR2,
    };
    let Some(pidfd) = open(process)? else { return Ok(()) };
    match sys::pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_descendants_and_on_request_sessions() {
        let process = |pid, parent, session| Process { pid, parent, group: session, session, foreground: -1, started: 0 };
        // The order is that of a listing: a child may come before its parent.
        let all = [
            process(1, 0, 1),
            process(7, 9, 9),
            process(8, 1, 5),
            process(5, 1, 5),
            process(9, 8, 9),
            process(6, 5, 5),
            process(4, 1, 4),
        ];
        let pids = |family: Vec<Process>| family.iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(pids(family(&all, HashSet::from([5]), false)), [5, 6]);
        assert_eq!(pids(family(&all, HashSet::from([5]), true)), [7, 8, 5, 9, 6]);
        assert_eq!(pids(family(&all, HashSet::new(), true)), [] as [i32; 0]);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let seen = look(pid).unwrap();
        assert_eq!(seen.pid, pid);
        assert!(open(seen).unwrap().is_some());
        assert!(everyone(&[]).unwrap().iter().any(|process| (process.pid, process.started) == (pid, seen.started)));
        assert!(
            open(Process { started: seen.started + 1, ..seen }).unwrap().is_none(),
            "another process with this pid is not it"
        );
        assert_eq!(look(i32::MAX), None);
    }
}
