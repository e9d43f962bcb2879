//! Whatever ends a session, nothing that it started is left.

use std::time::Duration;

use serde_json::json;

use super::client::{Client, Container, World, eventually};
use crate::harness::{BARE, BUSYBOX, PYTHON};

/// Children of every kind: in the background, deaf to hang-ups, in a terminal session of their own, orphaned twice, without the
/// marker.
const LITTER: &str = "sleep 1001 & (trap '' HUP; exec sleep 1002) >/dev/null 2>&1 & setsid sleep 1003 & (setsid sh -c 'sleep 1004 & sleep 1005' &) ; env -i sleep 1006 &\n";

/// All of that at once, which only a control group holds.
const HIDDEN: &str = "setsid env -i sleep 1007 & env -i setsid sleep 1008 & setsid sh -c 'env -i sleep 1009 & sleep 0.1' &
(env -i setsid sh -c '(sleep 1010 &) &' &)\n";

async fn litter(world: &World, container: &Container, query: &str) -> Client {
    let mut client = world.open(container, query).await;
    client.type_in(LITTER).await;
    // Hosts without cgroup v2, or that show berth none of it, are promised only the rest.
    let groups = std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ");
    if groups {
        client.type_in(HIDDEN).await;
    }
    for number in 1001..=if groups { 1010 } else { 1006 } {
        let line = format!("sleep {number}");
        eventually("all have started", async || container.processes().await.contains(&line)).await;
    }
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_leaves_nothing() {
    let world = World::start().await;
    for image in [BUSYBOX, PYTHON] {
        let container = world.idle(image).await;
        for query in ["mode=shell", "mode=exec"] {
            let mut client = litter(&world, &container, query).await;
            client.send(json!({ "type": "close" })).await;
            assert_eq!(client.rest().await.exit(), 137, "{image} {query}");
            assert_eq!(container.processes().await, [] as [&str; 0], "{image} {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_comes_back_to_leaves_nothing() {
    let world = World::with_grace(1).await;
    let container = world.idle(PYTHON).await;
    for query in ["mode=shell", "mode=exec"] {
        drop(litter(&world, &container, query).await);
        container.is_left_alone().await;
    }
    let ends = world.ends(2).await;
    assert_eq!((&ends[0]["exit_code"], &ends[1]["exit_code"]), (&json!(137), &json!(137)));
    // Some are gone before their program has started.
    for _ in 0..20 {
        drop(world.open(&container, "mode=exec").await);
    }
    world.ends(22).await;
    assert_eq!(container.processes().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_that_are_ended_while_they_start_leave_nothing() {
    let world = World::with_grace(0).await;
    let (container, other) = (world.idle(PYTHON).await, world.idle(PYTHON).await);
    // One after the other, with clients that go ever later.
    let mut drops = tokio::task::JoinSet::new();
    for pause in (0..60).map(|number| Duration::from_millis(2 * number)) {
        let client = world.open(if drops.len() % 2 == 0 { &container } else { &other }, "mode=shell").await;
        drops.spawn(async move {
            tokio::time::sleep(pause).await;
            drop(client);
        });
    }
    drops.join_all().await;
    world.ends(60).await;
    assert_eq!(container.processes().await, [] as [&str; 0]);
    assert_eq!(other.processes().await, [] as [&str; 0]);
    // Many at once, closed as soon as they are ready.
    let close = async || {
        let mut client = world.open(&container, "mode=shell").await;
        assert_eq!(client.next().await["type"], "ready");
        client.send(json!({ "type": "close" })).await;
        assert_eq!(client.rest().await.exit(), 137);
    };
    futures_util::future::join_all((0..32).map(|_| close())).await;
    assert_eq!(container.processes().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_exits_leaves_nothing_and_is_not_held_up_by_its_children() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    for query in ["mode=shell", "mode=exec"] {
        let mut client = litter(&world, &container, query).await;
        client.type_in("echo last; exit 3\n").await;
        let heard = client.rest().await;
        assert!(heard.stdout().contains("last"), "{query}");
        assert_eq!(heard.exit(), 3, "{query}");
        assert_eq!(container.processes().await, [] as [&str; 0], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_closes_its_output_goes_on_to_its_end() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("exec >/dev/null 2>&1; sleep 1; exit 6\n").await;
    assert_eq!(client.rest().await.exit(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_stops_ends_its_sessions() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut shell = litter(&world, &container, "mode=shell").await;
    let mut attached = world.open(&container, "mode=attach").await;
    assert_eq!(attached.next().await["type"], "ready");
    container.stop().await;
    assert_eq!(shell.rest().await.exit(), 137);
    // The main process may go by the signal that asks or by the one that doesn't.
    assert!([137, 143].contains(&attached.rest().await.exit()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_down_ends_all_sessions() {
    let mut world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut shell = litter(&world, &container, "mode=shell").await;
    let mut attached = world.open(&container, "mode=attach").await;
    assert_eq!(attached.next().await["type"], "ready");
    world.app.shut_down().await;
    assert_eq!(container.processes().await, [] as [&str; 0]);
    let heard = shell.rest().await.others;
    let [.., exit, closed] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((&exit["type"], &exit["code"], &closed["code"]), (&json!("exit"), &json!(137), &json!(1001)));
    // The main process goes on, so its end is not told.
    assert_eq!(attached.rest().await.others, [json!({ "type": "closed", "code": 1001 })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_left_is_swept_up_at_the_next_start() {
    let (mut world, bystanders) = (World::start_process().await, World::start().await);
    let (container, other) = (world.idle(PYTHON).await, bystanders.idle(BUSYBOX).await);
    let _client = litter(&world, &container, "mode=exec").await;
    let _bystander = litter(&bystanders, &other, "mode=exec").await;
    // What only begets others ends by itself.
    let lasting = async || other.processes().await.iter().filter(|line| line.starts_with("sleep 10")).count();
    let before = lasting().await;
    world.app.kill();
    assert!(!container.processes().await.is_empty());
    world.app.spawn().await;
    container.is_left_alone().await;
    assert_eq!(lasting().await, before);
    // And terminals are to be had again.
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("exit 3\n").await;
    assert_eq!(client.rest().await.exit(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_shell_is_left_as_clean() {
    let world = World::start().await;
    let container = world.idle(BARE).await;
    // A shell and its tools of the client's own, where the image has none that could help to look for anything.
    for name in ["sh", "setsid", "env"] {
        std::fs::copy("/bin/busybox", world.app.folder(&container.cuid.to_string()).join("app").join(name)).unwrap();
    }
    for query in ["mode=shell&shell=/app/sh", "mode=exec&shell=/app/sh"] {
        let mut client = world.open(&container, query).await;
        client.type_in("PATH=/app:/bin; sleep 1001 & setsid sleep 1002 & (setsid sh -c 'sleep 1003 & sleep 1004' &); env -i /bin/sleep 1005 &\n").await;
        for number in 1001..=1005 {
            eventually("all have started", async || {
                container.processes().await.iter().any(|line| line.ends_with(&format!("sleep {number}")))
            })
            .await;
        }
        client.send(json!({ "type": "close" })).await;
        assert_eq!(client.rest().await.exit(), 137, "{query}");
        assert_eq!(container.processes().await, [] as [&str; 0], "{query}");
    }
}
