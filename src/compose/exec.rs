//! `docker compose exec`: a program in a container, on streams of the caller's. It needs no project file: the container is found by
//! the name of its project, whatever became of the file.

use std::{path::Path, process::Stdio};

use super::{
    cli::{Compose, unreachable},
    group::Group,
};
use crate::error::{Error, Result};

/// What to run, and where.
#[derive(Clone, Copy, Debug)]
pub struct Exec<'a> {
    /// The name of the project and of its one service.
    pub name: &'a str,
    /// The program and its arguments; no shell looks at them.
    pub argv: &'a [String],
    /// `NAME=value`, on top of the container's own.
    pub env: &'a [String],
    /// `uid[:gid]` or names; absent: the container's user.
    pub user: Option<&'a str>,
    /// Absent: the container's working directory.
    pub cwd: Option<&'a str>,
    /// Whether the program gets a terminal. The CLI's own input and output must be one, too, then.
    pub tty: bool,
    /// A folder with the docker CLI's settings and nothing else.
    pub settings: &'a Path,
}

impl Compose {
    /// Starts the CLI, which starts the program. It takes none of the places of commands, since it stays for as long as the program.
    ///
    /// # Errors
    /// [`Error::Io`] where the CLI can't be started. What it fails at then, it says on its streams.
    pub fn exec(&self, exec: &Exec<'_>, streams: [Stdio; 3]) -> Result<Group> {
        let user = exec.user.map(|user| format!("--user={user}"));
        let cwd = exec.cwd.map(|cwd| format!("--workdir={cwd}"));
        let env: Vec<String> = exec.env.iter().map(|variable| format!("--env={variable}")).collect();
        let mut words = vec!["--ansi", "never", "--progress", "quiet", "--env-file", "/dev/null", "--project-directory", "."];
        words.extend(["--project-name", exec.name, "exec"]);
        words.extend((!exec.tty).then_some("--no-TTY"));
        words.extend(user.iter().chain(&cwd).chain(&env).map(String::as_str));
        words.extend(["--", exec.name]);
        words.extend(exec.argv.iter().map(String::as_str));
        // A folder of its own also has no file that the CLI would look for in its surroundings.
        self.spawn(exec.settings, &words, &[("DOCKER_CONFIG", exec.settings)], streams)
            .map_err(Error::io("start docker compose exec"))
    }
}

/// What the CLI's words mean where it started nothing.
pub fn refusal(words: &str) -> Error {
    let words = words.trim().trim_start_matches("Error response from daemon: ");
    if unreachable(words) {
        Error::EngineUnavailable("docker compose could not reach it".to_owned())
    } else {
        Error::EngineRefused(if words.is_empty() { "docker compose could not start the program" } else { words }.to_owned())
    }
}
