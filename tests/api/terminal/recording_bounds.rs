//! Recordings within bounds, and through faults: never in anybody's way, and whole as far as they go.

use std::fs;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    client::{World, eventually},
    recording::{Cast, cast, download, folder, list, names, path},
};
use crate::{
    disk::Disk,
    harness::{BUSYBOX, PYTHON},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_grows_too_long_ends_and_its_session_does_not() {
    let world = World::recording("full").await;
    let container = world.idle(PYTHON).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    // It writes as much as a recorder may be behind without missing any, and is told to go on.
    client.type_in("exec python3 -c \"for line in iter(input, 'end'): print(line * 262144)\"\n").await;
    let (mut seen, mut more) = (Vec::new(), 4);
    while more > 0 {
        client.type_in("x\n").await;
        seen.extend(client.until("\n").await.stdout);
        let nearly = list(&world, &container).await[0]["cast_bytes"].as_u64().is_some_and(|bytes| bytes > 31 << 19);
        more -= i32::from(nearly);
        assert!(seen.len() < 64 << 20, "it does not grow");
    }
    client.type_in("end\n").await;
    let rest = client.rest().await;
    assert_eq!((rest.stdout(), rest.exit()), (String::new(), 0));
    let log = &world.ends(1).await[0];
    assert_eq!((&log["recording"], &log["recording_truncated"]), (&json!("full"), &json!(true)));
    let listed = &list(&world, &container).await[0];
    assert_eq!((&listed["truncated"], &listed["state"]), (&json!(true), &json!("complete")));
    assert_eq!((&listed["bytes"], &listed["exit_code"]), (&json!(seen.len()), &json!(0)));
    let length = listed["cast_bytes"].as_u64().unwrap();
    assert!((31 << 19..=16 << 20).contains(&length), "{length}");
    let cast = cast(&world, &container, &ready["session"]).await;
    let (_, code, data) = cast.events.last().unwrap();
    assert_eq!((code.as_str(), data.as_str()), ("m", "the recording ends here: it has reached its 16 MiB"));
    if listed["missed_bytes"] == 0 {
        assert!(seen.starts_with(cast.all("o").as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_recordings_make_room() {
    let world = World::recording("full").await;
    let container = world.idle(BUSYBOX).await;
    let record = async || {
        let (mut client, ready) = world.ready(&container, "mode=exec").await;
        client.type_in("exit\n").await;
        client.rest().await.exit();
        ready["session"].clone()
    };
    record().await;
    world.ends(1).await;
    let folder = folder(&world, &container);
    let document = fs::read_to_string(folder.join(&names(&folder)[1])).unwrap();
    // Each as long as one may be, without taking any room on the disk.
    for second in 10..43 {
        let (session, name) = (uuid::Uuid::new_v4(), format!("19990101T0000{second}.000Z"));
        let document = document.replace(document.split('"').nth(3).unwrap(), &session.to_string());
        fs::write(folder.join(format!("{name}-{session}.json")), document).unwrap();
        let cast = fs::File::create(folder.join(format!("{name}-{session}.cast"))).unwrap();
        cast.set_len(16 << 20).unwrap();
    }
    fs::write(folder.join("notes.txt"), "not ours").unwrap();
    assert_eq!(list(&world, &container).await.len(), 34);
    let last = record().await;
    world.ends(2).await;
    let left = list(&world, &container).await;
    assert_eq!((left.len(), &left[0]["session"]), (33, &last), "newest first");
    let names = names(&folder);
    assert!(names[0].starts_with("19990101T000012") && names.len() == 2 * left.len() + 1, "{names:?}");
    assert!(names.contains(&"notes.txt".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_a_recording_that_says_where_it_was_cut() {
    let mut world = World::start_process_with([("RECORD_TERMINALS", "full".to_owned())]).await;
    let container = world.idle(BUSYBOX).await;
    let (mut client, ready) = world.ready(&container, "mode=shell").await;
    client.type_in("echo be''fore\n").await;
    client.until("before").await;
    // It is on the disk within a second, though nothing more comes.
    eventually("it can be had up to now", async || {
        cast(&world, &container, &ready["session"]).await.all("o").contains("before\r\n")
    })
    .await;
    assert_eq!(list(&world, &container).await[0]["state"], "recording");
    world.app.kill();
    let folder = folder(&world, &container);
    let file = folder.join(&names(&folder)[0]);
    let whole = fs::read_to_string(&file).unwrap();
    Cast::parse(&whole);
    // As a kill in the middle of a write leaves it.
    fs::write(&file, format!("{whole}[1.5,\"o\",\"aft")).unwrap();
    world.app.spawn().await;
    let listed = &list(&world, &container).await[0];
    assert_eq!((&listed["state"], &listed["exit_code"]), (&json!("interrupted"), &Value::Null));
    assert_eq!(listed["cast_bytes"].as_u64().unwrap(), whole.len() as u64);
    assert_eq!(download(&world, &container, &ready["session"]).await.text(), whole);
    container.is_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_deleted_takes_its_recordings_with_it() {
    let world = World::recording("full").await;
    for query in ["mode=exec", "mode=shell"] {
        let container = world.idle(BUSYBOX).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = world.open(&container, query).await;
            client.type_in("while :; do echo bu''sy; sleep 0.01; done\n").await;
            client.until("busy").await;
            clients.push(client);
        }
        assert_eq!(world.app.delete(&container.cuid.to_string()).await.status, StatusCode::OK);
        for client in &mut clients {
            client.rest().await;
        }
        let begun = if query == "mode=exec" { 4 } else { 8 };
        world.ends(begun).await;
        assert_eq!(world.app.data_entries(), [] as [&str; 0]);
        world.app.get(&path(&container)).await.refused(404, "CONTAINER_NOT_FOUND", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_recording_and_not_the_session() {
    let place = TempDir::new().unwrap();
    let disk = Disk::mount(place.path().join("disk"));
    let settings = [("DATA_DIR", disk.0.join("data").display().to_string()), ("RECORD_TERMINALS", "full".to_owned())];
    let world = World::start_with(settings).await;
    let container = world.idle(PYTHON).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    client.type_in("echo before\n").await;
    client.until("before\n").await;
    eventually("it is recorded", async || cast(&world, &container, &ready["session"]).await.all("o") == "before\n").await;
    disk.fill();
    client.type_in("python3 -c \"for i in range(500000): print('%07d' % i)\"; exit 6\n").await;
    let heard = client.rest().await;
    assert_eq!((heard.stdout.len(), heard.exit()), (4_000_000, 6));
    let log = &world.ends(1).await[0];
    assert_eq!((&log["recording"], &log["recording_truncated"]), (&json!("full"), &json!(true)));
    let cut = cast(&world, &container, &ready["session"]).await;
    assert!(cut.all("o").starts_with("before\n") && cut.all("o").len() < 2_000_000);
    // A session that begins now has nothing recorded, and is a session all the same.
    let (mut client, _) = world.ready(&container, "mode=exec").await;
    client.type_in("exit 2\n").await;
    assert_eq!(client.rest().await.exit(), 2);
    assert_eq!(world.ends(2).await[1]["recording"], "failed");
    fs::remove_file(disk.0.join("filler")).unwrap();
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    client.type_in("echo after; exit\n").await;
    client.rest().await.exit();
    world.ends(3).await;
    assert_eq!(cast(&world, &container, &ready["session"]).await.all("o"), "after\n");
    assert_eq!(list(&world, &container).await[0]["state"], "complete");
}
