//! A keyboard: every key arrives as it is typed.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use super::client::{Client, World};
use crate::harness::PYTHON;

/// Says of every byte that it reads what it was.
const READER: &str = "import os; print('rea' + 'dy')\nwhile True: print('<%d>' % os.read(0, 1)[0], flush=True)";

async fn press(client: &mut Client, key: u8) {
    client.send(json!({ "type": "stdin", "data": BASE64_STANDARD.encode([key]), "encoding": "base64" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_arrives_when_it_is_typed() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    let mut client = world.open(&container, "mode=shell").await;
    client.type_in(&format!("stty raw -echo; exec python3 -uc \"{READER}\"\n")).await;
    client.until("ready").await;
    // The engine's own way out of a terminal first.
    for key in [0x10, 0x11].into_iter().chain(0..=255) {
        press(&mut client, key).await;
        // This one the engine holds back until the next.
        if key != 0x1e {
            client.until(&format!("<{key}>")).await;
        }
    }
    client.type_in("\x10\x11\x1e\x00\x1e!").await;
    client.until("<33>").await;
}
