//! A client that speaks the terminal's frames, and the containers that it opens terminals in.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use berth::domain::id::Cuid;
use bollard::{
    Docker,
    query_parameters::{StartContainerOptions, StopContainerOptions, TopOptions},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{timeout, timeout_at},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

use crate::harness::{PASSWORD, TestApp, USER};

/// Longer than anything here takes, short enough to see that it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and terminals of its containers.
pub(crate) struct World {
    pub(crate) app: TestApp,
}

/// The transport that these tests are run over: they are in the binary twice, as `terminal` and as `terminal_compose`.
fn transport() -> (&'static str, String) {
    let transport = if module_path!().contains("terminal_compose") { "compose" } else { "engine" };
    ("TERMINAL_TRANSPORT", transport.to_owned())
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with([]).await
    }

    pub(crate) async fn start_with<const N: usize>(settings: [(&'static str, String); N]) -> Self {
        Self { app: TestApp::start_with(settings.into_iter().chain([transport()])).await }
    }

    /// One whose sessions wait so many seconds for a client to come back.
    pub(crate) async fn with_grace(seconds: u32) -> Self {
        Self::start_with([("SESSION_GRACE_S", seconds.to_string())]).await
    }

    /// One that records its sessions.
    pub(crate) async fn recording(how: &str) -> Self {
        Self::start_with([("RECORD_TERMINALS", how.to_owned())]).await
    }

    pub(crate) async fn start_process() -> Self {
        Self::start_process_with([]).await
    }

    pub(crate) async fn start_process_with<const N: usize>(settings: [(&'static str, String); N]) -> Self {
        Self { app: TestApp::start_process_with(settings.into_iter().chain([transport()])).await }
    }

    /// A running container.
    pub(crate) async fn run(&self, image: &str, command: &[&str]) -> Container {
        let cuid = self.app.run(&json!({ "image": image, "command": command })).await;
        Container { cuid: cuid.parse().unwrap(), docker: Docker::connect_with_unix_defaults().unwrap() }
    }

    /// One that does nothing, for an hour.
    pub(crate) async fn idle(&self, image: &str) -> Container {
        self.run(image, &["/bin/sleep", "3600"]).await
    }

    pub(crate) async fn open(&self, container: &Container, query: &str) -> Client {
        Client { socket: self.connect(container.cuid, query).await.unwrap() }
    }

    /// Opens one, and gives what `ready` says with it.
    pub(crate) async fn ready(&self, container: &Container, query: &str) -> (Client, Value) {
        let mut client = self.open(container, query).await;
        let ready = client.next().await;
        assert_eq!(ready["type"], "ready", "{ready}");
        (client, ready)
    }

    /// Opens one whose output comes as binary messages.
    pub(crate) async fn open_binary(&self, container: &Container, query: &str) -> Client {
        let mut request = self.request(container.cuid, query);
        request.headers_mut().insert("sec-websocket-protocol", "other, berth.v1.binary".parse().unwrap());
        let (socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "berth.v1.binary");
        Client { socket }
    }

    /// What the server says of the container's sessions.
    pub(crate) async fn sessions(&self, container: &Container) -> Vec<Value> {
        let answer = self.app.get(&format!("/containers/{}/sessions", container.cuid)).await;
        answer.json()["sessions"].as_array().unwrap().clone()
    }

    pub(crate) async fn connect(&self, cuid: Cuid, query: &str) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
        connect_async(self.request(cuid, query)).await.map(|(socket, _)| socket)
    }

    fn request(&self, cuid: Cuid, query: &str) -> Request {
        let url = format!("{}/ws/{cuid}?{query}", self.app.base.replace("http", "ws"));
        let mut request = url.into_client_request().unwrap();
        let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        request.headers_mut().insert("authorization", format!("Basic {credentials}").parse().unwrap());
        request
    }

    /// What the action log says of sessions that are over, once there are `count`.
    pub(crate) async fn ends(&self, count: usize) -> Vec<Value> {
        let ends = || self.app.actions().into_iter().filter(|line| line.get("session").is_some()).collect::<Vec<_>>();
        eventually("so many sessions are over", async || ends().len() >= count).await;
        ends()
    }
}

/// A container of the server's; the server's harness removes it.
pub(crate) struct Container {
    pub(crate) cuid: Cuid,
    docker: Docker,
}

impl Container {
    /// Starts it again after it has ended.
    pub(crate) async fn again(&self) {
        self.docker.start_container(&self.cuid.to_string(), None::<StartContainerOptions>).await.unwrap();
    }

    pub(crate) async fn stop(&self) {
        let now = StopContainerOptions { t: Some(0), ..Default::default() };
        self.docker.stop_container(&self.cuid.to_string(), Some(now)).await.unwrap();
    }

    /// The command lines of what runs in it beside the init and the main process.
    pub(crate) async fn processes(&self) -> Vec<String> {
        let options = TopOptions { ps_args: "-eo pid,args".to_owned() };
        let top = self.docker.top_processes(&self.cuid.to_string(), Some(options)).await.unwrap();
        let lines = top.processes.unwrap_or_default().into_iter().map(|mut line| line.pop().unwrap_or_default());
        lines.filter(|line| !line.contains("sleep 3600") && !line.contains("docker-init")).collect()
    }

    /// The host's pid of the process with this command line.
    pub(crate) async fn pid_of(&self, command: &str) -> Option<u32> {
        let options = TopOptions { ps_args: "-eo pid,args".to_owned() };
        let top = self.docker.top_processes(&self.cuid.to_string(), Some(options)).await.unwrap();
        let mut lines = top.processes.unwrap_or_default().into_iter();
        lines.find(|line| line.last().is_some_and(|args| args == command)).and_then(|line| line.first()?.parse().ok())
    }

    /// Waits until nothing runs in it beside the main process.
    #[track_caller]
    pub(crate) fn is_left_alone(&self) -> impl Future<Output = ()> {
        eventually("nothing is left", async || self.processes().await.is_empty())
    }
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.send(json!({ "type": "stdin", "data": text, "encoding": "utf8" })).await;
    }

    pub(crate) async fn signal(&mut self, name: &str) {
        self.send(json!({ "type": "signal", "name": name })).await;
    }

    /// The next frame, or the close as `{"type": "closed", "code": …}`.
    pub(crate) async fn next(&mut self) -> Value {
        let began = tokio::time::Instant::now();
        loop {
            // Pings come meanwhile.
            match timeout_at(began + PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    return json!({ "type": "closed", "code": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                other => return json!({ "type": "closed", "how": format!("{other:?}") }),
            }
        }
    }

    /// The next message with output in the binary framing: its offset, and its bytes. Control frames are passed over.
    pub(crate) async fn next_binary(&mut self) -> Option<(u64, Vec<u8>)> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a message in time") {
                Some(Ok(Message::Binary(bytes))) => {
                    let (offset, bytes) = bytes.split_first_chunk().unwrap();
                    return Some((u64::from_be_bytes(*offset), bytes.to_vec()));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads until the standard output has `text`, and gives all that came on the way.
    pub(crate) async fn until(&mut self, text: &str) -> Heard {
        let mut heard = Heard::default();
        while !String::from_utf8_lossy(&heard.stdout).contains(text) {
            let frame = self.next().await;
            assert_ne!(frame["type"], "closed", "while waiting for {text:?} after {heard:?}: {frame}");
            heard.take(&frame);
        }
        heard
    }

    /// Reads to the end.
    pub(crate) async fn rest(&mut self) -> Heard {
        let mut heard = Heard::default();
        loop {
            let frame = self.next().await;
            heard.take(&frame);
            if frame["type"] == "closed" {
                return heard;
            }
        }
    }
}

/// What a client heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// All other frames.
    pub(crate) others: Vec<Value>,
    /// How often output came as base64.
    pub(crate) binary: usize,
}

impl Heard {
    fn take(&mut self, frame: &Value) {
        let bytes = match (frame["data"].as_str(), frame["encoding"].as_str()) {
            (Some(data), Some("utf8")) => data.as_bytes().to_vec(),
            (Some(data), _) => {
                self.binary += 1;
                BASE64_STANDARD.decode(data).unwrap()
            }
            _ => Vec::new(),
        };
        match frame["type"].as_str() {
            Some("stdout") => self.stdout.extend(bytes),
            Some("stderr") => self.stderr.extend(bytes),
            _ => self.others.push(frame.clone()),
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The exit code, where the session ended as it should: `exit`, then a normal close.
    pub(crate) fn exit(&self) -> i64 {
        match self.others.as_slice() {
            [.., exit, closed] if exit["type"] == "exit" && closed["code"] == 1000 => exit["code"].as_i64().unwrap(),
            other => panic!("no proper end: {other:?} after {:?}", self.stdout()),
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !condition().await {
            assert!(began.elapsed() < PATIENCE, "{what}: not in time ({caller})");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
