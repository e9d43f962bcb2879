//! What a socket is given and what it may not do: framings, floods, and how many sessions there may be.

use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::{Client, Container, World, eventually};
use crate::harness::{BUSYBOX, PYTHON};

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_framing_is_eight_bit_clean_both_ways() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let mut client = world.open_binary(&container, "mode=exec").await;
    client.type_in("printf 'oh\\377' >&2; printf go; exec head -c 100000\n").await;
    let (mut stdout, mut stderr, mut at) = (Vec::new(), Vec::new(), 0);
    let sent: Vec<u8> = (0..100_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut begun = false;
    while let Some((offset, bytes)) = client.next_binary().await {
        assert_eq!(offset & !(1 << 63), at, "offsets count both sources");
        at += bytes.len() as u64;
        if offset >> 63 == 1 { &mut stderr } else { &mut stdout }.extend(bytes);
        if !begun && stdout == b"go" {
            begun = true;
            for chunk in sent.chunks(30_000) {
                client.socket.send(Message::binary(chunk.to_vec())).await.unwrap();
            }
        }
    }
    assert!(stderr == b"oh\xff" && stdout[2..] == sent, "{} bytes", stdout.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_that_make_no_sense_is_hung_up_on() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    for _ in 0..40 {
        // The server may have hung up already.
        let _ = client.socket.send(Message::text("what?")).await;
    }
    let heard = client.rest().await.others;
    let errors = heard.iter().filter(|frame| frame["error"]["code"] == "INVALID_FRAME").count();
    assert_eq!((errors, &heard.last().unwrap()["code"]), (32, &json!(1008)));
    // One that makes sense now and then is no flood.
    let mut client = world.open(&container, "mode=exec").await;
    for _ in 0..4 {
        for _ in 0..31 {
            client.socket.send(Message::text("what?")).await.unwrap();
        }
        client.type_in("\n").await;
    }
    client.type_in("exit 5\n").await;
    assert_eq!(client.rest().await.exit(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_an_error_and_the_end_of_the_connection_alone() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    client.type_in(&"x".repeat((1 << 20) + 1)).await;
    let heard = client.rest().await.others;
    let [error, closed] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((&error["error"]["code"], &closed["code"]), (&json!("INVALID_FRAME"), &json!(1009)));
    // The session goes on.
    let query = format!("session={}", ready["session"].as_str().unwrap());
    let (mut client, _) = world.ready(&container, &query).await;
    client.type_in("exit 6\n").await;
    assert_eq!(client.rest().await.exit(), 6);
}

async fn refused(world: &World, container: &Container, query: &str, status: u16, code: &str) {
    match world.connect(container.cuid, query).await {
        Err(Error::Http(answer)) => {
            let body: serde_json::Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap();
            assert_eq!((answer.status().as_u16(), &body["code"]), (status, &json!(code)), "{query}: {body}");
            assert_eq!(answer.headers().contains_key("retry-after"), status == 429);
        }
        other => panic!("{query}: {:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_can_t_be_come_back_to_is_refused() {
    let world = World::start().await;
    let (container, other) = (world.idle(BUSYBOX).await, world.idle(BUSYBOX).await);
    let (_client, ready) = world.ready(&container, "mode=exec").await;
    let session = format!("session={}", ready["session"].as_str().unwrap());
    for query in [
        "session=7",
        "offset=0",
        "watch=1",
        &format!("{session}&offset=1"),
        &format!("{session}&offset=-1"),
        &format!("{session}&watch=maybe"),
        &format!("{session}&mode=exec"),
        &format!("{session}&shell=sh"),
        &format!("{session}&user=0"),
        &format!("{session}&cols=0"),
    ] {
        refused(&world, &container, query, 400, "INVALID_QUERY").await;
    }
    refused(&world, &container, "session=a3b2f1c0-0000-4000-8000-000000000000", 404, "SESSION_NOT_FOUND").await;
    refused(&world, &other, &session, 404, "SESSION_NOT_FOUND").await;
    assert_eq!(world.sessions(&container).await[0]["clients"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_thirty_two_sessions_and_who_left_one_makes_room() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut clients: Vec<(Client, serde_json::Value)> = Vec::new();
    for _ in 0..32 {
        clients.push(world.ready(&container, "mode=exec").await);
    }
    refused(&world, &container, "mode=exec", 429, "TOO_MANY_SESSIONS").await;
    let (left, ready) = clients.pop().unwrap();
    drop(left);
    eventually("the drop is noticed", async || {
        world.sessions(&container).await.iter().filter(|session| session["state"] == "detached").count() == 1
    })
    .await;
    clients.push(world.ready(&container, "mode=exec").await);
    let sessions = world.sessions(&container).await;
    assert!(sessions.len() == 32 && sessions.iter().all(|session| session["session"] != ready["session"]));
    refused(&world, &container, "mode=exec", 429, "TOO_MANY_SESSIONS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_as_many_sessions_as_it_is_told() {
    let world = World::start_with([("MAX_SESSIONS", "2".to_owned())]).await;
    let (one, two) = (world.idle(BUSYBOX).await, world.idle(BUSYBOX).await);
    let (mut client, _) = world.ready(&one, "mode=exec").await;
    let _other = world.ready(&two, "mode=exec").await;
    refused(&world, &two, "mode=exec", 429, "TOO_MANY_SESSIONS").await;
    client.type_in("exit\n").await;
    assert_eq!(client.rest().await.exit(), 0);
    drop(client);
    world.ready(&two, "mode=exec").await;
}
