//! What the three kinds of session show and take.

use serde_json::json;

use super::client::World;
use crate::harness::{BARE, BUSYBOX, PYTHON};

const NOISE: &[&str] = &["sh", "-c", "i=0; while true; do echo noise $i; i=$((i+1)); sleep 0.02; done"];

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_first_hears_only_what_it_ran() {
    let world = World::start().await;
    let container = world.run(BUSYBOX, NOISE).await;
    let mut client = world.open(&container, "").await;
    client.type_in("echo hi\n").await;
    client.type_in("exit\n").await;
    let heard = client.rest().await;
    assert_eq!((heard.stdout().as_str(), heard.stderr.as_slice(), heard.exit()), ("hi\n", &b""[..], 0));
    assert_eq!((&heard.others[0]["mode"], &heard.others[0]["tty"]), (&json!("exec"), &json!(false)));
    let mut client = world.open(&container, "mode=exec").await;
    client.type_in("echo oh >&2; echo $0; pwd; id -u; exit 3\n").await;
    let heard = client.rest().await;
    assert_eq!((heard.stdout().as_str(), heard.stderr.as_slice(), heard.exit()), ("sh\n/app\n1000\n", &b"oh\n"[..], 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_listens_hears_each_line_of_the_run_once_and_its_end() {
    let world = World::start().await;
    let script = "for i in 1 2 3 4 5; do echo line $i; echo oh $i >&2; sleep 0.3; done; echo Done!; exit 4";
    let container = world.run(PYTHON, &["sh", "-c", script]).await;
    // The second run must not show the first one's lines, and a container that has ended shows its last.
    for run in ["first", "second", "ended"] {
        if run == "second" {
            container.again().await;
        }
        let mut client = world.open(&container, if run == "ended" { "mode=attach" } else { "" }).await;
        let heard = client.rest().await;
        assert_eq!(heard.stdout(), "line 1\nline 2\nline 3\nline 4\nline 5\nDone!\n", "{run}");
        assert_eq!(heard.stderr, b"oh 1\noh 2\noh 3\noh 4\noh 5\n", "{run}");
        assert_eq!((heard.exit(), &heard.others[0]["mode"]), (4, &json!("attach")), "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_or_a_signal_is_not_yet_speaking() {
    let world = World::start().await;
    let container = world.run(BUSYBOX, NOISE).await;
    let mut client = world.open(&container, "").await;
    client.send(json!({ "type": "resize", "cols": 80, "rows": 24 })).await;
    client.signal("INT").await;
    assert_eq!(client.next().await["error"]["code"], "INVALID_FRAME");
    assert_eq!(client.next().await["mode"], "attach");
    client.until("noise 3\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_speaks_gets_a_shell_and_no_more_noise() {
    let world = World::start().await;
    let container = world.run(BUSYBOX, NOISE).await;
    let mut client = world.open(&container, "").await;
    client.until("noise 3\n").await;
    client.signal("INT").await;
    client.type_in("echo begin; sleep 0.2; echo end; exit 7\n").await;
    let heard = client.rest().await;
    let (_, own) = heard.stdout().split_once("begin\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!((own.as_str(), heard.exit()), ("end\n", 7));
    assert_eq!(heard.others[0]["error"]["code"], "INVALID_FRAME", "a signal to a listener is an error");
    assert_eq!(heard.others[1]["mode"], "exec");
    let end = world.ends(1).await.remove(0);
    assert_eq!((&end["mode"], &end["exit_code"], &end["bytes_in"]), (&json!("exec"), &json!(7), &json!(40)));
    assert!(end["bytes_out"].as_u64() >= Some(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_has_the_size_that_it_was_given_last() {
    let world = World::start().await;
    for image in [BUSYBOX, PYTHON] {
        let container = world.idle(image).await;
        let mut client = world.open(&container, "cols=91&rows=17").await;
        let ready = client.next().await;
        assert_eq!((&ready["mode"], &ready["tty"]), (&json!("shell"), &json!(true)));
        client.type_in("echo $TERM; stty size; pwd\n").await;
        let heard = client.until("/app\r\n").await.stdout();
        assert!(heard.contains("xterm-256color\r\n17 91\r\n"), "{heard}");
        client.send(json!({ "type": "resize", "cols": 132, "rows": 43 })).await;
        client.type_in("stty size; exit 7\n").await;
        let heard = client.rest().await;
        assert!(heard.stdout().contains("43 132\r\n"), "{}", heard.stdout());
        assert_eq!(heard.exit(), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_bash_where_there_is_one_or_what_was_asked_for() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    for (query, expected) in [
        ("mode=shell", "bash 1000 /app"),
        ("mode=shell&shell=sh&user=root&cwd=/tmp", "sh 0 /tmp"),
        ("mode=exec&shell=/bin/sh&user=12:13", "/bin/sh 12 /app"),
    ] {
        let mut client = world.open(&container, query).await;
        client.type_in("echo = $0 $(id -u) $PWD; exit\n").await;
        let heard = client.rest().await;
        assert!(heard.stdout().contains(&format!("= {expected}")), "{query}: {}", heard.stdout());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_what_runs_and_leaves_the_shell() {
    let world = World::start().await;
    for image in [BUSYBOX, PYTHON] {
        let container = world.idle(image).await;
        for query in ["mode=shell", "mode=exec"] {
            let mut client = world.open(&container, query).await;
            client.type_in("echo go; sleep 1000; echo $((40 + 2))\n").await;
            client.until("go").await;
            super::client::eventually("it sleeps", async || container.processes().await.iter().any(|line| line == "sleep 1000"))
                .await;
            client.signal("INT").await;
            client.type_in("echo $((100 + 30)); exit 5\n").await;
            let heard = client.rest().await;
            assert!(heard.stdout().contains("130"), "{image} {query}: {}", heard.stdout());
            assert_eq!(heard.exit(), 5, "{image} {query}");
            container.is_left_alone().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shell_is_137_even_if_it_ignores_everything() {
    let world = World::start().await;
    let container = world.idle(PYTHON).await;
    for query in ["mode=shell", "mode=exec"] {
        let mut client = world.open(&container, query).await;
        client.type_in("trap '' INT TERM HUP QUIT; echo rea''dy\n").await;
        client.until("ready").await;
        for name in ["TERM", "SIGHUP", "KILL"] {
            client.signal(name).await;
        }
        assert_eq!(client.rest().await.exit(), 137, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_an_error_in_the_engines_words() {
    let world = World::start().await;
    let container = world.idle(BARE).await;
    for (query, field, words) in [
        ("mode=shell", "shell", "stat /bin/sh: no such file or directory"),
        ("mode=exec", "shell", "no such file or directory"),
        ("mode=exec&shell=/bin/fish", "shell", "stat /bin/fish: no such file or directory"),
        ("mode=exec&shell=fish", "shell", "not found in $PATH"),
        ("mode=shell&cwd=/nowhere&shell=/bin/sleep", "cwd", "no such file or directory"),
        ("mode=shell&user=nosuch", "user", "unable to find user nosuch"),
        ("mode=exec&user=0:nosuch", "user", "unable to find group nosuch"),
    ] {
        let heard = world.open(&container, query).await.rest().await;
        let [error, closed] = heard.others.as_slice() else { panic!("{query}: {heard:?}") };
        let error = &error["error"];
        assert!(error["message"].as_str().unwrap().contains(words), "{query}: {error}");
        assert_eq!((&error["status"], &error["code"]), (&json!(400), &json!("INVALID_QUERY")), "{query}: {error}");
        assert_eq!((&error["details"]["field"], &closed["code"]), (&json!(field), &json!(1000)), "{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_speaks_to_a_container_that_does_not_run_is_told_so() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let cuid = container.cuid.to_string();
    for (action, status) in [("pause", "paused"), ("stop?timeout=0", "exited")] {
        world.app.act(&cuid, action).await;
        let mut client = world.open(&container, "").await;
        client.type_in("echo hi\n").await;
        let heard = client.rest().await;
        let [error, closed] = heard.others.as_slice() else { panic!("{status}: {heard:?}") };
        let (error, details) = (&error["error"], &error["error"]["details"]);
        assert_eq!((&error["status"], &error["code"]), (&json!(422), &json!("INVALID_STATE")), "{error}");
        assert_eq!((&details["status"], &details["allowed"]), (&json!(status), &json!(["running"])), "{error}");
        assert_eq!(closed["code"], 1000);
    }
    // Deleted within its first half second.
    let mut client = world.open(&container, "").await;
    crate::harness::docker(&["rm", "--force", &cuid]);
    client.type_in("echo hi\n").await;
    assert_eq!(client.rest().await.others[0]["error"]["code"], "CONTAINER_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_make_no_sense_are_answered_and_dropped() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    assert_eq!(client.next().await["type"], "ready");
    for nonsense in [json!([]), json!({ "type": "resize", "cols": 0, "rows": 1 }), json!({ "type": "signal", "name": "STOP" })] {
        client.send(nonsense).await;
        assert_eq!(client.next().await["type"], "error");
    }
    client.type_in("exit 9\n").await;
    assert_eq!(client.rest().await.exit(), 9);
}
