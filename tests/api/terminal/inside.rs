//! The second way to a session's processes, for engines whose processes can't be seen: a script in the container.

use berth::engine::{
    Engine,
    processes::{Marker, Signal, inside},
};
use uuid::Uuid;

use super::client::{World, eventually};
use crate::harness::{BUSYBOX, PYTHON};

#[tokio::test(flavor = "multi_thread")]
async fn a_script_in_the_container_signals_and_ends_a_session() {
    let world = World::start().await;
    let engine = Engine::connect("unix:///var/run/docker.sock");
    engine.negotiate().await.unwrap();
    for image in [BUSYBOX, PYTHON] {
        let container = world.idle(image).await;
        for (query, tty) in [("mode=shell", true), ("mode=exec", false)] {
            let mut client = world.open(&container, query).await;
            let session: Uuid = client.next().await["session"].as_str().unwrap().parse().unwrap();
            let marker = Marker { cuid: container.cuid, session };
            client.type_in("echo go; sleep 1000; echo wo''ke\n").await;
            client.until("go").await;
            eventually("it sleeps", async || container.processes().await.iter().any(|line| line == "sleep 1000")).await;
            inside::signal_foreground(&engine, marker, None, tty, Signal::Int).await.unwrap();
            if !tty {
                client.until("woke").await;
            }
            client.type_in("(setsid sleep 1003 &); env -i sleep 1004 & echo he''re\n").await;
            client.until("here").await;
            eventually("both sleep", async || {
                container.processes().await.iter().filter(|line| line.contains("sleep 100")).count() == 2
            })
            .await;
            inside::end_all(&engine, container.cuid, &marker.to_string(), None).await.unwrap();
            assert_eq!(container.processes().await, [] as [&str; 0], "{image} {query}");
            assert_eq!(client.rest().await.exit(), 137, "{image} {query}");
        }
    }
}
