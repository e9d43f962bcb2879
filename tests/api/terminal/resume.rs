//! Sessions that outlive their connections: nothing is lost, given twice, or lost without a word.

use serde_json::{Value, json};

use super::client::{Client, Container, World, eventually};
use crate::harness::{BUSYBOX, PYTHON};

/// Writes lines of eight bytes, as fast as it may.
const LINES: &str = "python3 -c \"for i in range(1000000): print('%07d' % i)\" & \n";

/// Reads `count` bytes of standard output, at least.
async fn read(client: &mut Client, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let frame = client.next().await;
        assert_eq!(frame["type"], "stdout", "{frame}");
        bytes.extend(frame["data"].as_str().unwrap().bytes());
    }
    bytes
}

/// The line of each offset in the output of [`LINES`].
fn is_lines(from: u64, bytes: &[u8]) -> bool {
    let line = |number: u64| format!("{number:07}\n").into_bytes();
    bytes.iter().zip(from..).all(|(byte, at)| line(at / 8)[(at % 8) as usize] == *byte)
}

fn id(ready: &Value) -> String {
    ready["session"].as_str().unwrap().to_owned()
}

async fn detached(world: &World, container: &Container) {
    eventually("the drop is noticed", async || world.sessions(container).await.iter().all(|session| session["clients"] == 0))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_exactly_what_it_missed_and_then_the_rest() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    assert_eq!((&ready["offset"], &ready["lost"]), (&json!(0), &json!(false)));
    client.type_in("i=0; while [ $i -lt 10000 ]; do printf '%07d\\n' $i; i=$((i+1)); done; read -r line; exit 4\n").await;
    let (mut at, session) = (0, id(&ready));
    for size in [1, 9, 4000] {
        let bytes = read(&mut client, size).await;
        assert!(is_lines(at, &bytes), "from {at}");
        at += bytes.len() as u64;
        drop(client);
        let again;
        (client, again) = world.ready(&container, &format!("session={session}&offset={at}")).await;
        let expected = json!({"type": "ready", "session": session, "mode": "exec", "tty": false, "offset": at, "lost": false});
        assert_eq!(again, expected);
    }
    let bytes = read(&mut client, 80_000 - usize::try_from(at).unwrap()).await;
    assert!(is_lines(at, &bytes));
    client.type_in("done\n").await;
    assert_eq!(client.rest().await.exit(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_alone_had_a_session_and_heard_its_end_needs_it_no_more() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("exit 4\n").await;
    assert_eq!(client.rest().await.exit(), 4);
    eventually("it is forgotten", async || world.sessions(&container).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_told_to_be_gone() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    client.type_in(LINES).await;
    let read = read(&mut client, 100).await.len() as u64;
    drop(client);
    eventually("all is written, though nobody reads it", async || {
        world.sessions(&container).await.first().is_some_and(|session| session["next_offset"] == 8_000_000)
    })
    .await;
    let first = 8_000_000 - (1 << 20);
    let session = &world.sessions(&container).await[0];
    assert_eq!((&session["state"], &session["first_offset"]), (&json!("detached"), &json!(first)));
    let query = format!("session={}&offset={read}&offsets=1", id(&ready));
    let (mut client, again) = world.ready(&container, &query).await;
    assert_eq!((&again["offset"], &again["lost"]), (&json!(first), &json!(true)));
    assert_eq!(client.next().await, json!({"type": "gap", "from": read, "to": first}));
    let mut at = first;
    while at < 8_000_000 {
        let frame = client.next().await;
        assert_eq!(frame["offset"], at);
        assert!(is_lines(at, frame["data"].as_str().unwrap().as_bytes()), "from {at}");
        at += frame["data"].as_str().unwrap().len() as u64;
    }
    client.type_in("exit 2\n").await;
    assert_eq!(client.rest().await.exit(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_nobody_looked_is_told_to_who_comes_back() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    client.type_in("echo go; sleep 1; echo late; exit 9\n").await;
    client.until("go\n").await;
    drop(client);
    let ended = async || world.sessions(&container).await[0]["state"] == "ended";
    eventually("it has ended", ended).await;
    assert_eq!(world.sessions(&container).await[0]["exit_code"], 9);
    container.stop().await;
    let (mut client, _) = world.ready(&container, &format!("session={}&offset=3", id(&ready))).await;
    let heard = client.rest().await;
    assert_eq!((heard.stdout().as_str(), heard.exit()), ("late\n", 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_output_goes_on_where_it_was() {
    let world = World::start().await;
    let container = world.run(BUSYBOX, &["/bin/sh", "-c", "echo one; sleep 0.5; echo two >&2; sleep 3600"]).await;
    let (mut client, ready) = world.ready(&container, "mode=attach").await;
    client.until("one\n").await;
    drop(client);
    let (mut client, _) = world.ready(&container, &format!("session={}&offset=4&offsets=1", id(&ready))).await;
    assert_eq!(client.next().await, json!({"type": "stderr", "data": "two\n", "encoding": "utf8", "offset": 4}));
    client.send(json!({"type": "close"})).await;
    assert_eq!(client.rest().await.exit(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_and_does_not_type() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let (mut client, ready) = world.ready(&container, "mode=shell").await;
    client.type_in("echo o''ne\n").await;
    client.until("one").await;
    let watch = format!("session={}&watch=1", id(&ready));
    let mut watchers = [world.open(&container, &watch).await, world.open(&container, &watch).await];
    for watcher in &mut watchers {
        watcher.until("one").await;
        watcher.type_in("echo ne''ver\n").await;
        let frame = watcher.next().await;
        let frame = if frame["type"] == "stdout" { watcher.next().await } else { frame };
        assert_eq!((&frame["error"]["code"], &frame["error"]["details"]["field"]), (&json!("INVALID_FRAME"), &json!("type")));
    }
    let listed = &world.sessions(&container).await[0];
    assert_eq!((&listed["clients"], &listed["watchers"], &listed["state"]), (&json!(1), &json!(2), &json!("attached")));
    client.type_in("echo t''wo; exit 3\n").await;
    for viewer in [&mut client].into_iter().chain(&mut watchers) {
        let heard = viewer.rest().await;
        assert!(heard.stdout().contains("two") && !heard.stdout().contains("never"));
        assert_eq!(heard.exit(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_does_not_read_falls_behind_alone() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    let (mut watcher, _) = world.ready(&container, &format!("session={}&watch=true&offsets=1", id(&ready))).await;
    let mut quick = world.open_binary(&container, &format!("session={}&watch=1", id(&ready))).await;
    client.type_in("python3 -c \"for i in range(4000000): print('%07d' % i)\"; exit\n").await;
    let quick = tokio::spawn(async move {
        let mut at = 0;
        while let Some((offset, bytes)) = quick.next_binary().await {
            assert!(offset >= at && is_lines(offset, &bytes));
            at = offset + bytes.len() as u64;
        }
        at
    });
    let heard = client.rest().await;
    assert!(heard.stdout.len() == 32_000_000 && is_lines(0, &heard.stdout) && heard.exit() == 0);
    assert_eq!(quick.await.unwrap(), 32_000_000);
    let (mut at, mut gaps) = (0, 0);
    loop {
        let frame = watcher.next().await;
        match frame["type"].as_str().unwrap() {
            "gap" => {
                assert_eq!(frame["from"], at);
                at = frame["to"].as_u64().unwrap();
                gaps += 1;
            }
            "stdout" => {
                assert!(frame["offset"] == at && is_lines(at, frame["data"].as_str().unwrap().as_bytes()), "{at}");
                at += frame["data"].as_str().unwrap().len() as u64;
            }
            _ => break,
        }
    }
    assert!(at == 32_000_000 && gaps > 0, "{gaps} gaps up to {at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_is_that_of_whoever_typed_last() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let (mut first, ready) = world.ready(&container, "cols=100&rows=30").await;
    first.type_in("stty size\n").await;
    first.until("30 100").await;
    let (mut second, _) = world.ready(&container, &format!("session={}&cols=50&rows=20", id(&ready))).await;
    first.type_in("stty size; echo a''gain\n").await;
    assert!(first.until("again").await.stdout().contains("30 100"), "nobody else typed");
    second.type_in("stty size\n").await;
    second.until("20 50").await;
    first.send(json!({"type": "resize", "cols": 90, "rows": 25})).await;
    second.type_in("stty size; echo sti''ll\n").await;
    assert!(second.until("still").await.stdout().contains("20 50"), "the other typed last");
    first.type_in("stty size\n").await;
    first.until("25 90").await;
    drop(first);
    eventually("the drop is noticed", async || world.sessions(&container).await[0]["clients"] == 1).await;
    second.send(json!({"type": "resize", "cols": 51, "rows": 21})).await;
    eventually("who is left has its size", async || world.sessions(&container).await[0]["cols"] == 51).await;
    second.type_in("stty size\n").await;
    second.until("21 51").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_is_not_held_up_by_its_old_connection() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let (mut old, ready) = world.ready(&container, "mode=exec").await;
    old.type_in("python3 -c \"for i in range(4000000): print('%07d' % i)\"; exit 7\n").await;
    // The old one is still there and reads nothing, as one whose network went.
    let at = read(&mut old, 100).await.len() as u64;
    let (mut new, _) = world.ready(&container, &format!("session={}&offset={at}", id(&ready))).await;
    let heard = new.rest().await;
    assert!(heard.stdout.len() as u64 == 32_000_000 - at && is_lines(at, &heard.stdout));
    assert_eq!(heard.exit(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_ended_by_its_id() {
    let world = World::start().await;
    let (container, other) = (world.idle(BUSYBOX).await, world.idle(BUSYBOX).await);
    let (mut client, ready) = world.ready(&container, "cols=99&rows=33").await;
    client.type_in("setsid sleep 1001 &\n").await;
    eventually("it runs", async || container.processes().await.contains(&"sleep 1001".to_owned())).await;
    let listed = &world.sessions(&container).await[0];
    assert_eq!((&listed["session"], &listed["mode"], &listed["tty"]), (&ready["session"], &json!("shell"), &json!(true)));
    assert_eq!((&listed["cols"], &listed["rows"]), (&json!(99), &json!(33)));
    assert_eq!(world.sessions(&other).await, [] as [Value; 0]);
    let path = |container: &Container, id: &str| format!("/containers/{}/sessions/{id}", container.cuid);
    let delete = async |path: String| world.app.send(world.app.request(reqwest::Method::DELETE, &path)).await;
    delete(path(&container, "7")).await.refused(400, "INVALID_SESSION", "session");
    delete(path(&other, &id(&ready))).await.refused(404, "SESSION_NOT_FOUND", "");
    let answer = delete(path(&container, &id(&ready))).await;
    assert_eq!(answer.json(), json!({"session": ready["session"], "status": "ended", "exit_code": 137}));
    assert_eq!(container.processes().await, [] as [&str; 0]);
    assert_eq!(client.rest().await.exit(), 137);
    delete(path(&container, &id(&ready))).await.refused(404, "SESSION_NOT_FOUND", "");
    assert_eq!(world.sessions(&container).await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_down_ends_what_nobody_looks_at() {
    let mut world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let (mut client, _) = world.ready(&container, "mode=exec").await;
    client.type_in("setsid sleep 1001 & echo go\n").await;
    client.until("go\n").await;
    drop(client);
    detached(&world, &container).await;
    world.app.shut_down().await;
    assert_eq!(container.processes().await, [] as [&str; 0]);
}
