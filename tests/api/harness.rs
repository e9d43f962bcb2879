//! A server of its own for every test: the real application on a free port, in a folder of its own, on the real engine.
//! Whatever it created at the engine is removed when it is dropped, also when the test fails. Every answer is checked for
//! what all answers have.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use berth::{app::Application, config::Config};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::answer::Answer;

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const BUSYBOX: &str = "berth-test/busybox";
pub(crate) const BARE: &str = "berth-test/bare";
pub(crate) const PYTHON: &str = "berth-test/python";

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestApp {
    pub(crate) base: String,
    pub(crate) world: TempDir,
    pub(crate) client: Client,
    settings: HashMap<&'static str, String>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
    child: Option<Child>,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with([]).await
    }

    /// A server with other settings than the harness's own.
    pub(crate) async fn start_with(settings: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let world = TempDir::new().unwrap();
        let folder = |name: &str| world.path().join(name).display().to_string();
        let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/templates").to_owned();
        let mut all = HashMap::from([
            ("APP_USER", USER.to_owned()),
            ("APP_PASS", PASSWORD.to_owned()),
            ("DATA_DIR", folder("data")),
            ("LOG_DIR", folder("logs")),
            ("TEMPLATE_DIR", templates),
        ]);
        #[expect(clippy::disallowed_methods, reason = "the CLI needs the real environment")]
        for name in ["PATH", "HOME", "DOCKER_HOST"] {
            all.extend(std::env::var(name).ok().map(|value| (name, value)));
        }
        all.extend(settings);
        let (base, client) = (String::new(), Client::new());
        let mut app = Self { base, world, client, settings: all, stop: None, server: None, child: None };
        app.serve().await;
        app
    }

    /// A server in a process of its own, for what a test can't do to itself.
    pub(crate) async fn start_process() -> Self {
        Self::start_process_with([]).await
    }

    pub(crate) async fn start_process_with(settings: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut app = Self::start_with(settings).await;
        app.shut_down().await;
        app.spawn().await;
        app
    }

    /// Starts the program, in the folder that another life of it left.
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    pub(crate) async fn spawn(&mut self) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_berth"));
        command.env_clear().envs(&self.settings).envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("NO_COLOR", "1")]);
        let mut child = command.current_dir(self.world.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.find_map(|line| Some(line.split_once("address=")?.1.split(' ').next()?.to_owned()));
        self.base = format!("http://{}", address.unwrap());
        // Read on, so that the server never waits for its log to be read.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
        self.get("/containers").await;
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&mut self) {
        self.end(rustix::process::Signal::KILL);
    }

    /// Ends the process by a signal, and waits for its end.
    pub(crate) fn end(&mut self, signal: rustix::process::Signal) {
        let mut child = self.child.take().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    /// Stops the server in an orderly way, and starts another in the same folder.
    pub(crate) async fn restart(&mut self) {
        self.shut_down().await;
        self.serve().await;
    }

    pub(crate) async fn shut_down(&mut self) {
        if let (Some(stop), Some(server)) = (self.stop.take(), self.server.take()) {
            stop.send(()).unwrap();
            server.await.unwrap().unwrap();
        }
    }

    /// Starts the server, also in the folder that another life of it left. Its first answer waits for the engine.
    pub(crate) async fn serve(&mut self) {
        let config = Config::from_lookup(|name, _| self.settings.get(name).cloned()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let application = Application::build(&config, listener).unwrap();
        self.base = format!("http://{}", application.address());
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.server = Some(tokio::spawn(application.run_until(async { drop(stopped.await) })));
        self.get("/containers").await;
    }

    pub(crate) fn data(&self) -> PathBuf {
        PathBuf::from(&self.settings["DATA_DIR"])
    }

    /// The folder of a container.
    pub(crate) fn folder(&self, cuid: &str) -> PathBuf {
        self.data().join(cuid)
    }

    /// What another server in the same folder says.
    pub(crate) async fn second(&self) -> String {
        let config = Config::from_lookup(|name, _| self.settings.get(name).cloned()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Application::build(&config, listener).err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// What is in `DATA_DIR`, but for kept answers.
    pub(crate) fn data_entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".answers").collect()
    }

    /// The files of kept answers.
    pub(crate) fn kept_answers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.data().join(".answers")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).basic_auth(USER, Some(PASSWORD))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap().to_vec();
        Answer { status, headers, bytes }.checked()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, cuid: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, &format!("/containers/{cuid}")).json(body)).await
    }

    /// Posts with an idempotency key.
    pub(crate) async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    pub(crate) async fn delete(&self, cuid: &str) -> Answer {
        self.send(self.request(Method::DELETE, &format!("/containers/{cuid}?force=true"))).await
    }

    pub(crate) async fn upload(&self, cuid: &str, archive: Vec<u8>) -> Answer {
        let request = self.request(Method::POST, &format!("/containers/{cuid}/upload-zip"));
        self.send(request.header("content-type", "application/zip").body(archive)).await
    }

    /// Creates a container, and gives its cuid.
    pub(crate) async fn create(&self, spec: &Value) -> String {
        let answer = self.post_json("/containers", spec).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["cuid"].as_str().unwrap().to_owned()
    }

    /// Creates and starts a container.
    pub(crate) async fn run(&self, spec: &Value) -> String {
        let cuid = self.create(spec).await;
        self.act(&cuid, "start").await;
        cuid
    }

    /// Does something to a container that is expected to be possible.
    pub(crate) async fn act(&self, cuid: &str, action: &str) -> Value {
        let answer = self.post(&format!("/containers/{cuid}/{action}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{action}: {answer:?}");
        answer.json()
    }

    pub(crate) async fn status(&self, cuid: &str) -> Value {
        self.get(&format!("/containers/{cuid}/status")).await.json()
    }

    pub(crate) async fn until_status(&self, cuid: &str, status: &str) {
        until(status, async || self.status(cuid).await["status"] == status).await;
    }

    /// The lines of the action log.
    pub(crate) fn actions(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.world.path().join("logs/actions.jsonl")).unwrap();
        log.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
        if self.child.is_some() {
            self.kill();
        }
        let cuids = self.data_entries();
        if !cuids.is_empty() {
            let cuids: Vec<&str> = cuids.iter().map(String::as_str).collect();
            docker(&[&["rm", "--force", "--volumes"], &cuids[..]].concat());
            let named: Vec<String> = cuids.iter().flat_map(|cuid| ["--filter".to_owned(), format!("name={cuid}")]).collect();
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            for kind in ["volume", "network"] {
                let left = docker(&[&[kind, "ls", "--quiet"], &named[..]].concat());
                let left: Vec<&str> = left.lines().collect();
                if !left.is_empty() {
                    docker(&[&[kind, "rm"], &left[..]].concat());
                }
            }
        }
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not so within {PATIENCE:?}: {what}"));
}

/// Runs the docker CLI, for what a test does or sees past the server.
#[expect(clippy::disallowed_methods, reason = "tests look at the engine with its own tool")]
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = std::process::Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the engine says of a container.
pub(crate) fn inspect(cuid: &str) -> Value {
    let all: Value = serde_json::from_str(&docker(&["inspect", cuid])).unwrap();
    all[0].clone()
}

/// A zip archive of these files.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
