//! The one place that starts processes: `docker compose` in a project's folder, with an argument vector and an environment
//! of its own, a time limit, and a bounded memory of what it said.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::timeout,
};

use super::{
    group::Group,
    places::{Kind, Places},
};
use crate::{
    config::ComposeConfig,
    crash::point,
    error::{Error, Result},
    metrics::Metrics,
};

/// How much of what it said on stderr is kept: the end.
const STDERR_BYTES: usize = 4096;

/// Reads, terminals and the engine go before the CLI, which is what keeps a busy machine busy.
const NICENESS: i32 = 19;

/// How long the pipes of an ended process are still read, should something that it started hold them open.
const LINGER: Duration = Duration::from_secs(1);

/// Where Docker's packages put the plugin (the folders that the docker CLI looks in).
const PLUGIN_FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The compose program, and how many of it may run; cheap to clone.
#[derive(Clone)]
pub struct Compose {
    /// The program and its leading arguments.
    program: Arc<[OsString]>,
    /// What goes in front of it, so that it ends with the server, by whatever way that ends: a command that outlived a
    /// crash would go on changing what the next server has put right.
    tether: Arc<[OsString]>,
    environment: Arc<[(String, String)]>,
    places: Arc<Places>,
    timeout: Duration,
    pull_timeout: Duration,
    metrics: Metrics,
}

/// One folder's project.
pub struct Project<'a> {
    pub folder: &'a Path,
    pub name: &'a str,
}

impl Compose {
    pub fn new(config: &ComposeConfig, metrics: Metrics) -> Self {
        let program: Vec<OsString> = match config.program.clone().or_else(|| plugin(&config.environment)) {
            Some(path) => vec![path.into()],
            None => vec!["docker".into(), "compose".into()],
        };
        Self {
            program: program.into(),
            tether: tether(),
            environment: config.environment.clone().into(),
            places: Arc::new(Places::new(config.concurrency)),
            timeout: config.timeout,
            pull_timeout: config.pull_timeout,
            metrics,
        }
    }

    /// The version that the program says it has.
    ///
    /// # Errors
    /// As [`Compose::run`].
    pub async fn version(&self) -> Result<String> {
        let words = ["version", "--short"];
        // Without a place: who asks for it is a health check, which is not to wait for what goes on.
        Ok(self.execute(Path::new("/"), &words, &words, "", self.timeout).await?.trim().to_owned())
    }

    /// Runs one command of `docker compose` for a folder's project, such as `["stop", "--timeout", "10"]`. `grace` is added
    /// to the usual time limit, for a command that may wait that long for a container to stop.
    ///
    /// # Errors
    /// [`Error::ComposeFailed`], [`Error::ComposeTimeout`] (its whole process group is ended then),
    /// [`Error::EngineUnavailable`] where it could not reach the engine.
    pub async fn run(&self, project: &Project<'_>, command: &[&str], grace: Duration) -> Result<()> {
        let words = [&options("compose.yaml", project.name), command].concat();
        self.in_turn(project.folder, &words, command, "", Kind::of(grace), self.timeout + grace).await
    }

    /// The same for a project given as text.
    ///
    /// # Errors
    /// As [`Compose::run`].
    pub async fn run_text(&self, name: &str, text: &str, command: &[&str], grace: Duration) -> Result<()> {
        let words = [&options("-", name), command].concat();
        self.in_turn(Path::new("/"), &words, command, text, Kind::of(grace), self.timeout + grace).await
    }

    /// Fetches the image of a project given as text, within the longer time limit of pulls.
    ///
    /// # Errors
    /// As [`Compose::run`].
    pub async fn pull_text(&self, name: &str, text: &str) -> Result<()> {
        let command = ["pull", "--quiet"];
        let words = [&options("-", name), &command[..]].concat();
        self.in_turn(Path::new("/"), &words, &command, text, Kind::Pull, self.pull_timeout).await
    }

    async fn in_turn(
        &self,
        folder: &Path,
        words: &[&str],
        command: &[&str],
        stdin: &str,
        kind: Kind,
        limit: Duration,
    ) -> Result<()> {
        let arrived = Instant::now();
        let _place = self.places.take(kind).await?;
        self.metrics.compose_waited(arrived.elapsed());
        let began = Instant::now();
        let run = self.execute(folder, words, command, stdin, limit).await.map(drop);
        let outcome = match &run {
            Ok(()) => "success",
            Err(Error::ComposeTimeout { .. }) => "timeout",
            Err(_) => "failure",
        };
        self.metrics.compose_run(command.first().unwrap_or(&"none"), outcome, began.elapsed());
        run
    }

    async fn execute(&self, folder: &Path, words: &[&str], command: &[&str], stdin: &str, limit: Duration) -> Result<String> {
        let command = command.join(" ");
        let started = Instant::now();
        point(&format!("before compose {command}"));
        let piped = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
        let mut child = self.spawn(folder, words, &[], piped).map_err(Error::io("start docker compose"))?;
        // Before it has threads, which each have a priority of their own.
        if let Some(leader) = child.leader() {
            let _ = rustix::process::setpriority_process(Some(leader), NICENESS);
        }
        let stdout = child.stdout.take().map(|pipe| tokio::spawn(tail(pipe)));
        let stderr = child.stderr.take().map(|pipe| tokio::spawn(tail(pipe)));
        let pipe = child.stdin.take();
        let run = async {
            if let Some(mut pipe) = pipe {
                // A program that doesn't read it says so by its exit code.
                let _ = pipe.write_all(stdin.as_bytes()).await;
            }
            child.wait().await
        };
        let Ok(ended) = timeout(limit, run).await else {
            child.end_group();
            tracing::warn!(%command, limit_s = limit.as_secs(), "docker compose was ended at its time limit");
            return Err(Error::ComposeTimeout { command, limit });
        };
        let status = ended.map_err(Error::io("wait for docker compose"))?;
        let (stdout, stderr) = (read(stdout).await, read(stderr).await);
        point(&format!("after compose {command}"));
        tracing::debug!(%command, %status, duration_ms = started.elapsed().as_millis(), "docker compose ran");
        if status.success() { Ok(stdout) } else { Err(failure(command, status, stderr)) }
    }

    /// Starts the program with these words, with `extra` in its environment, and with these as its standard streams.
    #[expect(clippy::disallowed_methods, reason = "this file owns child processes")]
    pub(super) fn spawn(
        &self,
        folder: &Path,
        words: &[&str],
        extra: &[(&str, &Path)],
        streams: [Stdio; 3],
    ) -> std::io::Result<Group> {
        let program: Vec<&OsString> = self.tether.iter().chain(&*self.program).collect();
        let [stdin, stdout, stderr] = streams;
        let mut command = tokio::process::Command::new(program[0]);
        command
            .args(&program[1..])
            .args(words)
            .current_dir(folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(extra.iter().copied())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        while_nothing_starts(|| command.spawn()).map(Group)
    }
}

/// Does what no child may be started beside: starting another, and opening what one would inherit if it were started before that is
/// marked as not to be.
pub fn while_nothing_starts<T>(work: impl FnOnce() -> T) -> T {
    static STARTING: Mutex<()> = Mutex::new(());
    let _turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// util-linux's way to have the kernel end a program with its parent; nothing where it is missing.
fn tether() -> Arc<[OsString]> {
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.is_file() { [setpriv.into(), "--pdeathsig".into(), "KILL".into()].into() } else { [].into() }
}

/// Everything that Compose would else look for in its surroundings, named, so that a file that someone put beside the
/// project is not obeyed.
fn options<'a>(file: &'a str, name: &'a str) -> [&'a str; 12] {
    let (directory, environment) = ("--project-directory", "--env-file");
    ["--file", file, directory, ".", "--project-name", name, environment, "/dev/null", "--ansi", "never", "--progress", "quiet"]
}

/// The plugin's own binary: called directly it is the same program, some 50 ms sooner.
fn plugin(environment: &[(String, String)]) -> Option<PathBuf> {
    let variable = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| PathBuf::from(value));
    let own =
        variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker"))).map(|config| config.join("cli-plugins"));
    own.into_iter()
        .chain(PLUGIN_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join("docker-compose"))
        .find(|path| path.is_file())
}

/// Reads a pipe to its end and keeps the end.
pub async fn tail(mut pipe: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..count]);
        kept.drain(..kept.len().saturating_sub(STDERR_BYTES));
    }
    kept
}

async fn read(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let Some(mut reader) = reader else { return String::new() };
    match timeout(LINGER, &mut reader).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => {
            reader.abort();
            String::new()
        }
    }
}

fn failure(command: String, status: ExitStatus, stderr: String) -> Error {
    if unreachable(&stderr) {
        // Its own words name the socket.
        return Error::EngineUnavailable("docker compose could not reach it".to_owned());
    }
    Error::ComposeFailed { command, exit_code: status.code(), stderr }
}

/// Whether it says that there is no engine.
pub(super) fn unreachable(stderr: &str) -> bool {
    stderr.contains("Cannot connect to the Docker daemon") || stderr.contains("error during connect")
}
