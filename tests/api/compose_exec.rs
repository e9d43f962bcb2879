//! What only terminals by `docker compose exec` can suffer: a process of the CLI beside each, and its own ways.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    harness::{BUSYBOX, PYTHON},
    terminal_compose::client::{World, eventually},
};

/// The pids of the CLI's processes for a session.
fn clis(ready: &Value) -> Vec<Pid> {
    let session = ready["session"].as_str().unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_one = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("compose") && line.contains("exec") && line.contains(session)
    };
    pids.filter(is_one).filter_map(Pid::from_raw).collect()
}

/// How many threads of the server wait for pseudo-terminals.
fn threads(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name = |task: std::path::PathBuf| std::fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.filter(|task| name(task.as_ref().unwrap().path()).trim() == "terminal").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_whose_cli_is_killed_is_told_so_and_leaves_nothing() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    for query in ["mode=shell", "mode=exec"] {
        for signal in [Signal::KILL, Signal::TERM] {
            let (mut client, ready) = world.ready(&container, query).await;
            client.type_in("echo go''od; setsid sleep 1001 & sleep 1002\n").await;
            client.until("good").await;
            let [cli] = clis(&ready)[..] else { panic!("one process of the CLI") };
            kill_process(cli, signal).unwrap();
            // The CLI may have last words.
            let heard = client.rest().await.others;
            let [error, closed] = &heard[..] else { panic!("{query} {signal:?}: {heard:?}") };
            assert_eq!((&error["error"]["code"], &closed["code"]), (&json!("ENGINE_UNAVAILABLE"), &json!(1011)));
            container.is_left_alone().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_cli_outlives_its_session() {
    let mut world = World::start_process().await;
    let container = world.idle(PYTHON).await;
    let mut sessions = Vec::new();
    for query in ["mode=shell", "mode=exec", "mode=shell", "mode=exec"] {
        let (client, ready) = world.ready(&container, query).await;
        assert_eq!(clis(&ready).len(), 1);
        sessions.push((client, ready));
    }
    assert_eq!(threads(world.app.pid()), 4);
    // One that floods nobody, one whose keyboard is full, one that ends by itself.
    sessions[0].0.type_in("yes\n").await;
    for _ in 0..4 {
        sessions[1].0.type_in(&"x".repeat(100_000)).await;
    }
    let (mut client, ready) = sessions.pop().unwrap();
    client.type_in("exit 3\n").await;
    assert_eq!(client.rest().await.exit(), 3);
    eventually("it ends with its program", async || clis(&ready).is_empty()).await;
    for (mut client, ready) in sessions.drain(..2) {
        client.send(json!({ "type": "close" })).await;
        assert_eq!(client.rest().await.exit(), 137);
        eventually("it ends with its session", async || clis(&ready).is_empty()).await;
    }
    eventually("so do its threads", async || threads(world.app.pid()) == 2).await;
    let (_client, ready) = sessions.pop().unwrap();
    world.app.kill();
    eventually("it ends with the server", async || clis(&ready).is_empty()).await;
    world.app.spawn().await;
    container.is_left_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_spoilt_keeps_nobody_from_a_terminal() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    std::fs::write(world.app.folder(&container.cuid.to_string()).join("compose.yaml"), ": [").unwrap();
    let (mut client, _) = world.ready(&container, "mode=exec").await;
    client.type_in("echo hi; exit\n").await;
    assert_eq!(client.rest().await.stdout(), "hi\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_is_an_option_of_the_cli_s() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    for (parameter, value) in [("shell", "--help"), ("user", "--privileged"), ("cwd", "/--detach")] {
        let mut client = world.open(&container, &format!("mode=shell&{parameter}={value}")).await;
        let heard = client.rest().await.others;
        if parameter == "cwd" {
            // Some runtimes make the folder.
            continue;
        }
        assert_eq!(heard[0]["error"]["details"]["field"], parameter, "{heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_given_at_once_is_the_one_that_stays() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    for number in 0..20 {
        let (mut client, _) = world.ready(&container, "cols=90&rows=20").await;
        if number == 0 {
            client.type_in("stty size\n").await;
            client.until("20 90").await;
        }
        client.send(json!({ "type": "resize", "cols": 100 + number, "rows": 40 })).await;
        client.type_in(&format!("while [ \"$(stty size)\" != '40 {}' ]; do sleep 0.01; done; exit 5\n", 100 + number)).await;
        assert_eq!(client.rest().await.exit(), 5, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_of_two_floods_holds_up_the_other() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("yes oh | head -c 3000000 >&2 & yes hi | head -c 3000000; wait; exit 6\n").await;
    let heard = client.rest().await;
    assert_eq!((heard.stdout.len(), heard.stderr.len(), heard.exit()), (3_000_000, 3_000_000, 6));
}
