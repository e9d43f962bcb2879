//! A way to the engine that breaks off under a terminal.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use super::client::{Client, World, eventually};
use crate::harness::BUSYBOX;

/// Connections to the engine over TCP, to be cut.
struct Way {
    address: String,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: JoinHandle<()>,
}

impl Way {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap().to_string(), Arc::<Mutex<Vec<JoinHandle<()>>>>::default());
        let accepted = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let through = async move {
                    let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                };
                accepted.lock().unwrap().push(tokio::spawn(through));
            }
        });
        Self { address, connections, accepting }
    }

    fn cut(&self) {
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_whose_way_breaks_off_is_told_so_and_leaves_nothing() {
    let way = Way::open().await;
    let world = World::start_with([("DOCKER_HOST", format!("tcp://{}", way.address))]).await;
    let container = world.idle(BUSYBOX).await;
    // First the engine is to be had again at once, then it is not.
    for is_back in [true, false] {
        let (mut shell, mut exec) = (world.open(&container, "mode=shell").await, world.open(&container, "mode=exec").await);
        for client in [&mut shell, &mut exec] {
            // In the foreground, because a shell that can't be spoken to any more would end by itself.
            client.type_in("echo go''od; sleep 1001\n").await;
            client.until("good").await;
        }
        if !is_back {
            way.accepting.abort();
            eventually("nobody listens", async || way.accepting.is_finished()).await;
        }
        way.cut();
        let told = |error: Value, closed: Value| {
            assert_eq!((&error["error"]["code"], &closed["code"]), (&json!("ENGINE_UNAVAILABLE"), &json!(1011)), "{is_back}");
        };
        // Without a terminal the end of the output may be the program's own doing, until its input is seen to be gone, too.
        let error = loop {
            match timeout(Duration::from_millis(100), exec.next()).await {
                Ok(frame) => break frame,
                Err(_) => exec.type_in("echo more\n").await,
            }
        };
        told(error, exec.next().await);
        told(shell.next().await, shell.next().await);
        container.is_left_alone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_whose_way_breaks_off_while_it_is_opened_leaves_nothing() {
    let way = Way::open().await;
    let world = World::start_with([("DOCKER_HOST", format!("tcp://{}", way.address))]).await;
    let container = world.idle(BUSYBOX).await;
    for number in 0..12 {
        let query = if number % 2 == 0 { "mode=shell" } else { "mode=exec" };
        // The server itself has lost its way, too, and finds it again.
        let opened = std::cell::Cell::new(None);
        eventually("terminals are to be had", async || {
            opened.set(world.connect(container.cuid, query).await.ok());
            let socket = opened.take();
            let is_open = socket.is_some();
            opened.set(socket);
            is_open
        })
        .await;
        let mut client = Client { socket: opened.take().unwrap() };
        tokio::time::sleep(Duration::from_millis(12 * number)).await;
        way.cut();
        client.send(json!({ "type": "close" })).await;
        client.rest().await;
    }
    container.is_left_alone().await;
}
