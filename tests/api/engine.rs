//! An engine that goes away and comes back, behind a socket that the test can cut.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use crate::harness::{BUSYBOX, TestApp, docker, until};

/// A way to the real engine, while it is open.
pub(crate) struct Way {
    pub(crate) socket: PathBuf,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Way {
    pub(crate) fn open(folder: &Path) -> Self {
        let mut way = Self { socket: folder.join("engine.sock"), connections: Arc::default(), accepting: None };
        way.mend();
        way
    }

    pub(crate) fn mend(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let (listener, connections) = (UnixListener::bind(&self.socket).unwrap(), self.connections.clone());
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let through = tokio::spawn(async move {
                    let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
                connections.lock().unwrap().push(through);
            }
        }));
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().unwrap().iter().filter(|connection| !connection.is_finished()).count()
    }

    /// Cuts every connection, and takes no more.
    pub(crate) fn cut(&mut self) {
        self.accepting.take().unwrap().abort();
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_goes_away_is_told_and_all_heals_when_it_is_back() {
    let world = tempfile::tempdir().unwrap();
    let mut way = Way::open(world.path());
    let app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", way.socket.display()))]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    way.cut();
    until("it is noticed", async || app.get("/healthz").await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    let health = app.get("/healthz").await.json();
    assert_eq!((&health["status"], &health["containers"]), (&"unavailable".into(), &1.into()));
    assert!(!health["problems"].as_array().unwrap().is_empty());

    let old = async |path: &str| {
        let answer = app.get(path).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["engine"]), (StatusCode::OK, &"unavailable".into()), "{body}");
        assert!(body["age_ms"].is_u64(), "{body}");
        body
    };
    let path = format!("/containers/{cuid}");
    assert_eq!(old(&format!("{path}/status")).await["status"], "running", "reads are answered from memory");
    assert_eq!((&old(&path).await["status"], &old("/containers").await["total"]), (&"running".into(), &1.into()));
    for (method, path) in [(Method::POST, "/stop"), (Method::POST, "/restart"), (Method::DELETE, "?force=true")] {
        let answer = app.send(app.request(method, &format!("/containers/{cuid}{path}"))).await;
        answer.refused(503, "ENGINE_UNAVAILABLE", "");
        assert!(answer.headers.contains_key("retry-after"));
    }
    app.post_json("/containers", &json!({"image": BUSYBOX})).await.refused(503, "ENGINE_UNAVAILABLE", "");
    assert_eq!(app.data_entries(), [cuid.as_str()]);

    docker(&["kill", &cuid]);
    way.mend();
    until("it heals", async || app.get("/healthz").await.status == StatusCode::OK).await;
    app.until_status(&cuid, "exited").await;
    assert_eq!(app.act(&cuid, "start").await["status"], "running");
    let body = app.get(&path).await.json();
    assert_eq!((body.get("engine"), body.get("age_ms")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_an_absent_engine_held_up_is_done_when_it_is_repeated() {
    let world = tempfile::tempdir().unwrap();
    let mut way = Way::open(world.path());
    let app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", way.socket.display()))]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let batch = json!({"cuids": [cuid], "timeout": 0});
    let stop = async || {
        let answer = app.post_keyed("/containers/batch/stop", "key", &batch).await;
        assert!(answer.status == StatusCode::OK && !answer.is_replayed(), "{answer:?}");
        answer.json()["results"][0]["status"].clone()
    };
    way.cut();
    until("it is noticed", async || app.get("/healthz").await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(stop().await, 503);
    assert!(app.kept_answers().is_empty());
    way.mend();
    until("it heals", async || app.get("/healthz").await.status == StatusCode::OK).await;
    assert_eq!(stop().await, "exited");
    assert_eq!(app.kept_answers().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_an_engine_and_knows_no_status_until_it_is_there() {
    let world = tempfile::tempdir().unwrap();
    let mut way = Way::open(world.path());
    let mut app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", way.socket.display()))]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    app.shut_down().await;
    way.cut();
    std::fs::remove_file(&way.socket).unwrap();
    app.serve().await;
    app.get("/containers").await.refused(503, "ENGINE_UNAVAILABLE", "");
    app.get(&format!("/containers/{cuid}/status")).await.refused(503, "ENGINE_UNAVAILABLE", "");
    way.mend();
    until("it is there", async || app.get("/containers").await.status == StatusCode::OK).await;
    assert_eq!(app.status(&cuid).await["status"], "running");
}
