//! A session's own control group below its container's. Whatever a process does with its environment, its parent or its terminal
//! session, its descendants stay in its group, and a container can't change that. So to end the group is to end them all.
//!
//! There is one only where the container has a folder in a cgroup v2 hierarchy that berth sees and may write, whether that
//! hierarchy has the controllers or stands beside those of version 1: the group needs none. All of it blocks.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use uuid::Uuid;

use super::{Signal, host};

/// What the kernel says of a group that is being removed.
const NO_DEVICE: i32 = Errno::NODEV.raw_os_error();
/// How the names of sessions' groups begin; the session's id follows.
const PREFIX: &str = "berth-";

/// A container's own group, by its folder.
#[derive(Clone, Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    /// That of the container with this id, by one of its processes; `None` where there is no folder that shows that process.
    pub(super) fn of(pid: i32, container: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let home = Self(Path::new(mount(&mounts)?).join(group(&groups, container)?));
        home.pids()?.contains(&pid).then_some(home)
    }

    /// The pids of all that runs in the container, in groups below its own too: none once it is gone. `None` where that can't
    /// be told.
    pub(super) fn pids(&self) -> Option<Vec<i32>> {
        let (mut pids, mut folders) = (Vec::new(), vec![self.0.clone()]);
        while let Some(folder) = folders.pop() {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).and_then(|listed| {
                pids.extend(listed.lines().filter_map(|pid| pid.parse::<i32>().ok()));
                for entry in fs::read_dir(&folder)? {
                    let entry = entry?;
                    folders.extend(entry.file_type()?.is_dir().then(|| entry.path()));
                }
                Ok(())
            });
            // A group that is removed meanwhile is empty; read at that moment, it is no device.
            if listed.is_err_and(|error| error.kind() != ErrorKind::NotFound && error.raw_os_error() != Some(NO_DEVICE)) {
                return None;
            }
        }
        Some(pids)
    }

    /// Makes the session's group and moves this process of the container there, which must not have started anything yet.
    /// `None` where there can be no group.
    pub(super) fn enter(&self, session: Uuid, pid: i32) -> Option<Group> {
        let group = Group(self.0.join(format!("{PREFIX}{session}")));
        fs::create_dir(&group.0).ok()?;
        if write(&group.0.join("cgroup.procs"), &pid.to_string()).is_ok() {
            return Some(group);
        }
        // It ended meanwhile, or there are no rights. Should the empty folder stay, it goes with the container.
        let _ = fs::remove_dir(&group.0);
        None
    }

    /// The groups that sessions left in the container.
    pub(super) fn left(&self) -> Vec<Group> {
        let paths = fs::read_dir(&self.0).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| name(path).starts_with(PREFIX)).map(Group).collect()
    }
}

/// A session's group, by its folder. Dropping it leaves it as it is.
#[derive(Clone, Debug)]
pub(super) struct Group(PathBuf);

impl Group {
    /// Removes the group if it is empty, else kills what is in it. Tells whether it is gone.
    pub(super) fn end(&self) -> io::Result<bool> {
        match fs::remove_dir(&self.0) {
            Ok(()) => return Ok(true),
            // Its container went, and the engine removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(_) => {}
        }
        match write(&self.0.join("cgroup.kill"), "1") {
            // Kernels before 5.14 have no such file.
            Err(error) if error.kind() == ErrorKind::NotFound => self.kill_each()?,
            done => done?,
        }
        Ok(false)
    }

    fn kill_each(&self) -> io::Result<()> {
        let pids = match fs::read_to_string(self.0.join("cgroup.procs")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            pids => pids?,
        };
        for process in pids.lines().filter_map(|pid| host::look(pid.parse().ok()?)) {
            // Asked after the look, so that a pid that is another process's by now is not taken for a member's.
            let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
            if groups.contains(name(&self.0)) {
                host::send(process, Signal::Kill)?;
            }
        }
        Ok(())
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Writes to a file that must be there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Where a cgroup v2 hierarchy is mounted from its root, by a `mountinfo`.
fn mount(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, path) = (fields.next()?, fields.next()?);
        // A backslash begins an escape, which no usual path needs.
        (kind.starts_with("cgroup2 ") && root == "/" && !path.contains('\\')).then_some(path)
    })
}

/// The container's group, relative to the hierarchy's root, by a process's `cgroup` file: the process may be further down.
fn group<'a>(groups: &'a str, container: &str) -> Option<&'a str> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let found = path.find(container).filter(|_| !container.is_empty() && !path.split('/').any(|part| part == ".."))?;
    let end = path[found..].find('/').map_or(path.len(), |slash| found + slash);
    Some(&path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_group_is_found_however_the_hierarchies_are_laid_out() {
        for (groups, expected) in [
            ("0::/system.slice/docker-abc.scope\n", Some("system.slice/docker-abc.scope")),
            ("2:cpu:/docker/abc\n0::/docker/abc\n", Some("docker/abc")),
            ("0::/docker/abc/berth-1\n", Some("docker/abc")),
            ("2:cpu:/docker/abc\n0::/\n", None),
            ("2:cpu:/docker/abc\n", None),
            ("0::/../docker/abc\n", None),
        ] {
            assert_eq!(group(groups, "abc"), expected, "{groups}");
        }
        assert_eq!(group("0::/docker/abc\n", ""), None);
    }

    #[test]
    fn only_a_whole_hierarchy_of_version_2_is_taken() {
        let cpu = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n";
        let part = "40 31 0:38 /docker/abc /part rw - cgroup2 cgroup2 rw\n";
        let whole = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:1 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount(&[cpu, part, whole].concat()), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount(&[cpu, part].concat()), None);
    }
}
