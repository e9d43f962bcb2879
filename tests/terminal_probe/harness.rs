//! A server of terminals on a free port, containers to open them in, and a client that speaks their frames.

use std::{
    collections::HashMap,
    net::TcpListener,
    time::{Duration, Instant},
};

use actix_web::{App, HttpRequest, HttpServer, web};
use berth::{
    domain::id::Cuid,
    engine::Engine,
    error::Error,
    http::terminal::serve,
    terminal::{Mode, Open, SessionEnd, Sessions},
};
use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptions, RemoveContainerOptions, StartContainerOptions, TopOptions},
};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime::Handle, sync::mpsc, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Longer than anything here takes, short enough to see that it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const BUSYBOX: &str = "berth-test/busybox";
pub(crate) const PYTHON: &str = "berth-test/python";
pub(crate) const BARE: &str = "berth-test/bare";

/// A server of terminals, and nothing else.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) sessions: Sessions,
    pub(crate) ends: mpsc::UnboundedReceiver<SessionEnd>,
    pub(crate) port: u16,
    server: actix_web::dev::ServerHandle,
}

#[derive(Deserialize)]
struct Query {
    mode: Option<Mode>,
    cols: Option<u16>,
    rows: Option<u16>,
    shell: Option<String>,
    user: Option<String>,
    cwd: Option<String>,
}

async fn terminal(
    req: HttpRequest,
    payload: web::Payload,
    path: web::Path<String>,
    query: web::Query<Query>,
    sessions: web::Data<Sessions>,
) -> actix_web::Result<actix_web::HttpResponse> {
    let Query { mode, cols, rows, shell, user, cwd } = query.into_inner();
    let open = Open { cuid: path.parse().unwrap(), mode, cols, rows, shell, user, cwd };
    open.check().map_err(actix_web::error::ErrorBadRequest)?;
    serve(&req, payload, &sessions, open, |error: &Error| json!({ "code": "TEST", "message": error.to_string() }))
}

impl World {
    pub(crate) async fn start() -> Self {
        let engine = Engine::connect("unix:///var/run/docker.sock").unwrap();
        engine.negotiate().await.unwrap();
        let (ended, ends) = mpsc::unbounded_channel();
        let sessions = Sessions::new(engine.clone(), Handle::current(), ended);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let data = web::Data::new(sessions.clone());
        let server = HttpServer::new(move || App::new().app_data(data.clone()).route("/ws/{cuid}", web::get().to(terminal)))
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { engine, sessions, ends, port, server: handle }
    }

    pub(crate) async fn open(&self, container: &Container, query: &str) -> Client {
        let url = format!("ws://127.0.0.1:{}/ws/{}?{query}", self.port, container.cuid);
        Client { socket: connect_async(url).await.unwrap().0 }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Sent when it is called; what it returns need not be waited for.
        drop(self.server.stop(false));
    }
}

/// A running container that is removed when it is dropped.
pub(crate) struct Container {
    pub(crate) cuid: Cuid,
    pub(crate) docker: Docker,
}

impl Container {
    pub(crate) async fn start(image: &str, command: &[&str]) -> Self {
        let container = Self { cuid: Cuid::new(), docker: Docker::connect_with_unix_defaults().unwrap() };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            user: Some("1000:1000".to_owned()),
            labels: Some(HashMap::from([("berth-test.terminal".to_owned(), String::new())])),
            host_config: Some(HostConfig {
                init: Some(true),
                network_mode: Some("none".to_owned()),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                tmpfs: Some(HashMap::from([("/app".to_owned(), String::new())])),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let named = CreateContainerOptions { name: Some(container.cuid.to_string()), ..CreateContainerOptions::default() };
        container.docker.create_container(Some(named), body).await.unwrap();
        container.again().await;
        container
    }

    /// One that does nothing, for an hour.
    pub(crate) async fn idle(image: &str) -> Self {
        Self::start(image, &["/bin/sleep", "3600"]).await
    }

    /// Starts it again after it has ended.
    pub(crate) async fn again(&self) {
        self.docker.start_container(&self.cuid.to_string(), None::<StartContainerOptions>).await.unwrap();
    }

    pub(crate) async fn stop(&self) {
        let now = bollard::query_parameters::StopContainerOptions { t: Some(0), ..Default::default() };
        self.docker.stop_container(&self.cuid.to_string(), Some(now)).await.unwrap();
    }

    /// The command lines of what runs in it beside the init and the main process.
    pub(crate) async fn processes(&self) -> Vec<String> {
        let options = TopOptions { ps_args: "-eo pid,args".to_owned() };
        let top = self.docker.top_processes(&self.cuid.to_string(), Some(options)).await.unwrap();
        let lines = top.processes.unwrap_or_default().into_iter().map(|mut line| line.pop().unwrap_or_default());
        lines.filter(|line| !line.contains("sleep 3600") && !line.contains("docker-init")).collect()
    }

    /// Waits until nothing runs in it beside the main process.
    #[track_caller]
    pub(crate) fn is_left_alone(&self) -> impl Future<Output = ()> {
        eventually("nothing is left", async || self.processes().await.is_empty())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let name = self.cuid.to_string();
        // A thread of its own, because dropping can't wait and the test's runtime may be going down.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
                Docker::connect_with_unix_defaults().unwrap().remove_container(&name, Some(options)).await
            })
        });
        let _ = removal.join();
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
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    return json!({ "type": "closed", "code": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                other => return json!({ "type": "closed", "how": format!("{other:?}") }),
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
        use base64::{Engine as _, prelude::BASE64_STANDARD};
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
