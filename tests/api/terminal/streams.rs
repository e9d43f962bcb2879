//! Bytes in both directions: all of them, in order, whatever they are and however slowly they are read.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, World, eventually};
use crate::harness::{BUSYBOX, PYTHON};

#[tokio::test(flavor = "multi_thread")]
async fn binary_output_comes_whole_with_and_without_a_terminal() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    // Begins with bytes that the engine's stream headers begin with.
    let script = "import os,sys\nfor i in range(64): os.write(1, bytes([1,0,0,0,255,255,255,255]) + bytes(range(256)))\n";
    let expected = [&[1, 0, 0, 0, 255, 255, 255, 255], (0..=255).collect::<Vec<u8>>().as_slice()].concat().repeat(64);
    for query in ["mode=shell&shell=sh", "mode=exec"] {
        let mut client = world.open(&container, query).await;
        let raw = if query.contains("shell") { "stty raw -echo; " } else { "" };
        client.type_in(&format!("{raw}echo be''gin; python3 -c '{script}'; exit\n")).await;
        let heard = client.rest().await;
        let begin = heard.stdout.windows(6).position(|window| window == b"begin\n").unwrap() + 6;
        assert!(heard.stdout[begin..] == expected, "{query}: {} bytes", heard.stdout.len() - begin);
        assert!(heard.binary > 0 && heard.exit() == 0, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_is_written_in_halves_comes_as_one() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("for b in '\\360' '\\237' '\\230' '\\200'; do printf $b; sleep 0.1; done; exit\n").await;
    let heard = client.rest().await;
    assert_eq!((heard.stdout().as_str(), heard.binary, heard.exit()), ("😀", 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_mebibytes_of_any_bytes_arrive_whole() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("echo go; head -c 10485760 | md5sum; exit\n").await;
    client.until("go\n").await;
    let bytes: Vec<u8> = (0..10u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for chunk in bytes.chunks(100_000) {
        client.send(json!({ "type": "stdin", "data": BASE64_STANDARD.encode(chunk), "encoding": "base64" })).await;
    }
    let heard = client.rest().await;
    // The sum of the same bytes, from another program.
    assert_eq!((heard.stdout().as_str(), heard.exit()), ("45cb14ece9897323b3d11e670f34b518  -\n", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paste_into_a_terminal_arrives_whole() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let mut client = world.open(&container, "mode=shell&shell=sh").await;
    client.type_in("stty raw -echo; echo g''o; head -c 65536 | md5sum; exit\n").await;
    client.until("go\n").await;
    // Without the one key that the engine may hold back until the next comes.
    let byte = |i: u32| Some((i.wrapping_mul(2_654_435_761) >> 24) as u8).filter(|byte| *byte != 0x1e).unwrap_or(0);
    let bytes: Vec<u8> = (0..1 << 16).map(byte).collect();
    client.send(json!({ "type": "stdin", "data": BASE64_STANDARD.encode(bytes), "encoding": "base64" })).await;
    let heard = client.rest().await;
    // The sum of the same bytes, from another program.
    assert_eq!((heard.stdout().as_str(), heard.exit()), ("dab6311137fad1713e1e63772f3daf39  -\n", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_nobody_reads_stops_neither_signals_nor_the_end() {
    let world = World::with_grace(1).await;
    let container = world.idle(BUSYBOX).await;
    let stuff = "x".repeat(100_000);
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("echo go; sleep 1000; echo woke; exec sleep 1001\n").await;
    client.until("go\n").await;
    for _ in 0..8 {
        client.type_in(&stuff).await;
    }
    client.signal("TERM").await;
    client.until("woke\n").await;
    client.send(json!({ "type": "close" })).await;
    assert_eq!(client.rest().await.exit(), 137);
    // So much that the server reads no more, from a client that then goes without a word.
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("echo go; sleep 1000\n").await;
    client.until("go\n").await;
    let flood = async {
        loop {
            client.type_in(&stuff).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3), flood).await.is_err(), "the flood is held back");
    drop(client);
    container.is_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_behind_more_input_than_has_room_is_heard() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("echo go; sleep 1000\n").await;
    client.until("go\n").await;
    let stuff = "x".repeat(100_000);
    for _ in 0..40 {
        client.type_in(&stuff).await;
    }
    client.send(json!({ "type": "close" })).await;
    let heard = client.rest().await;
    assert_eq!(heard.exit(), 137);
    let refused = heard.others.iter().filter(|frame| frame["error"]["code"] == "STDIN_FULL").count();
    assert!((20..40).contains(&refused), "{refused} frames had no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_input_arrives_whole_at_a_program_that_pauses() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let mut client = world.open(&container, "mode=exec").await;
    let script = "import sys; print(sys.stdin.buffer.read(10 << 20) == b\"\".join(b\"%07d\\n\" % i for i in range(10 << 17)))";
    client.type_in(&format!("echo go; sleep 2; python3 -c '{script}'; exit\n")).await;
    client.until("go\n").await;
    let lines: Vec<String> = (0..10 << 17).map(|i| format!("{i:07}\n")).collect();
    for chunk in lines.chunks(10_000) {
        client.type_in(&chunk.concat()).await;
    }
    let heard = client.rest().await;
    assert_eq!((heard.stdout().as_str(), heard.exit()), ("True\n", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_reaches_a_client_that_goes_on_talking() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    for _ in 0..5 {
        let mut client = world.open(&container, "mode=exec").await;
        client.type_in("echo go; exit 5\n").await;
        client.until("go\n").await;
        let frame = json!({ "type": "stdin", "data": "x".repeat(1000) }).to_string();
        // Until the server hangs up, or it is enough.
        for _ in 0..2000 {
            if client.socket.send(Message::text(frame.clone())).await.is_err() {
                break;
            }
        }
        assert_eq!(client.rest().await.exit(), 5);
    }
}

/// The server's resident memory, in bytes.
fn memory(pid: u32) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_costs_little_and_holds_up_nobody_else() {
    let world = World::start_process().await;
    let container = world.idle(PYTHON).await;
    let mut slow: Client = world.open(&container, "mode=exec").await;
    let before = memory(world.app.pid());
    slow.type_in("yes 0123456789abcde | head -c 67108864; exit\n").await;
    // Nothing moves any more once all buffers on the way are full.
    let last = std::cell::RefCell::new(String::new());
    eventually("the program waits for its reader", async || {
        let Some(pid) = container.pid_of("head -c 67108864").await else { return false };
        let written = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(300)).await;
        last.replace(written.clone()) == written && !written.is_empty()
    })
    .await;
    let stalled = memory(world.app.pid());
    // Without a bound it would be twice as much; threads of a busy machine take some of their own.
    assert!(stalled < before + (32 << 20), "from {before} to {stalled}");
    let mut quick = world.open(&container, "mode=exec").await;
    quick.type_in("echo quick; exit\n").await;
    assert_eq!(quick.rest().await.stdout(), "quick\n");
    let heard = slow.rest().await;
    assert_eq!((heard.stdout.len(), heard.exit()), (64 << 20, 0));
}
