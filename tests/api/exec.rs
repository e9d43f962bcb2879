//! Commands that are run in containers to their end.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    harness::{BARE, BUSYBOX, TestApp, docker, until},
};

async fn exec(app: &TestApp, cuid: &str, body: &Value) -> Answer {
    app.post_json(&format!("/containers/{cuid}/exec"), body).await
}

async fn ran(app: &TestApp, cuid: &str, body: &Value) -> Value {
    let answer = exec(app, cuid, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

async fn idle(app: &TestApp, image: &str) -> String {
    app.run(&json!({"image": image, "command": ["/bin/sleep", "3600"]})).await
}

/// Whether a program of these arguments runs in the container.
fn runs(cuid: &str, arguments: &str) -> bool {
    let begins = |line: &str| {
        line.trim_start()
            .split_once(' ')
            .is_some_and(|(_, args)| args.trim_start().trim_start_matches("/bin/").starts_with(arguments))
    };
    docker(&["top", cuid, "-eo", "pid,args"]).lines().any(begins)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_as_it_is_asked_for() {
    let app = TestApp::start().await;
    let cuid = idle(&app, BUSYBOX).await;
    let answer =
        ran(&app, &cuid, &json!({"command": ["sh", "-c", "echo \"$1\"; echo oh >&2; exit 3", "sh", "a  b'$HOME"]})).await;
    assert_eq!((&answer["exit_code"], &answer["encoding"], &answer["truncated"]), (&3.into(), &"utf8".into(), &false.into()));
    assert_eq!((&answer["stdout"], &answer["stderr"]), (&"a  b'$HOME\n".into(), &"oh\n".into()));
    assert!(answer["duration_ms"].is_u64());
    let line = json!({
        "command": "pwd | tr a-z A-Z; id -u; echo $A-$B; cat; kill -9 $$", "env": [{"name": "A", "value": 1}, {"name": "B", "value": "$A"}],
        "working_dir": "/tmp", "user": "7:8", "stdin": "read\n"
    });
    let answer = ran(&app, &cuid, &line).await;
    assert_eq!((&answer["stdout"], &answer["exit_code"]), (&"/TMP\n7\n1-$A\nread\n".into(), &137.into()));
    let more = "x".repeat(500_000);
    let answer = ran(&app, &cuid, &json!({"command": ["cat"], "stdin": more, "env": {"A": true}})).await;
    assert_eq!(answer["stdout"], *more, "it is read while it is written");
    let answer = ran(&app, &cuid, &json!({"command": "true", "stdin": more})).await;
    assert_eq!(answer["exit_code"], 0, "nobody has to read it");
    let answer = ran(&app, &cuid, &json!({"command": "printf 'a\\377'; printf b >&2"})).await;
    assert_eq!([&answer["stdout"], &answer["stderr"], &answer["encoding"]], ["Yf8=", "Yg==", "base64"]);
    let answer = ran(&app, &cuid, &json!({"command": "yes | head -c 11000000; echo end >&2"})).await;
    assert_eq!((answer["stdout"].as_str().unwrap().len(), &answer["truncated"]), (10 << 20, &true.into()));
    assert_eq!((&answer["stderr"], &answer["exit_code"]), (&"end\n".into(), &0.into()), "the rest was read, too");
    assert!(!app.actions().iter().any(|line| line.to_string().contains("$A")), "no value of env is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_every_variable_whatever_its_name() {
    let app = TestApp::start().await;
    let own = json!({"discovery.type": "single node", "UID": "5", "my-own": "0"});
    let cuid = app.run(&json!({"image": BUSYBOX, "command": ["/bin/sleep", "3600"], "env": own})).await;
    let env = json!({"a.b": "1", "my-own": "2", "-i": "x\ny", "IFS": ",", "1": "=", "PLAIN": "a b"});
    let printed = ran(&app, &cuid, &json!({"command": ["env", "-0"], "env": env})).await;
    let printed = printed["stdout"].as_str().unwrap().split('\0').collect::<Vec<_>>();
    for variable in ["discovery.type=single node", "UID=5", "a.b=1", "my-own=2", "-i=x\ny", "IFS=,", "1==", "PLAIN=a b"] {
        assert!(printed.contains(&variable), "{variable} {printed:?}");
    }
    docker(&["exec", &cuid, "rm", "/bin/env"]);
    let printed = ran(&app, &cuid, &json!({"command": ["sh", "-c", "echo $PLAIN"], "env": env})).await;
    assert_eq!(printed["stdout"], "a b\n", "without env it has what a shell can hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_of_many_commands_comes_whole() {
    let app = TestApp::start().await;
    let cuid = idle(&app, BUSYBOX).await;
    let large = json!({"command": "head -c 3000000 /dev/zero"});
    let all = futures_util::future::join_all((0..8).map(|_| exec(&app, &cuid, &large))).await;
    for answer in all {
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.status);
        assert_eq!(answer.headers["content-length"].to_str().unwrap(), answer.bytes.len().to_string());
        let answer = answer.json();
        assert_eq!(
            (&answer["encoding"], &answer["truncated"]),
            (&"base64".into(), &false.into()),
            "as text it would be six times as much"
        );
        assert_eq!(answer["stdout"].as_str().unwrap().len(), 4_000_000);
    }
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(ran(&app, &cuid, &json!({"command": "kill -9 $$"})).await["exit_code"], 137);
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_ended_is_said_to_go_on() {
    let app = TestApp::start().await;
    let cuid = idle(&app, BUSYBOX).await;
    let body = json!({"command": "echo begun; sleep 7301", "timeout": 2});
    let pausing = async {
        until("it runs", async || runs(&cuid, "sleep 7301")).await;
        docker(&["pause", &cuid]);
    };
    let (late, ()) = tokio::join!(exec(&app, &cuid, &body), pausing);
    let goes_on = runs(&cuid, "sleep 7301");
    docker(&["unpause", &cuid]);
    late.refused(408, "EXEC_TIMEOUT", "");
    let late = late.json();
    assert_eq!((&late["details"]["ended"], &late["details"]["stdout"]), (&(!goes_on).into(), &"begun\n".into()), "{late}");
    assert_eq!(late["message"].as_str().unwrap().contains("may go on"), goes_on, "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_is_ended_and_not_waited_for() {
    let app = TestApp::start().await;
    let cuid = idle(&app, BUSYBOX).await;
    let began = Instant::now();
    // One that keeps the output open, one in a session of its own, and one that nothing tells where it came from.
    let leaving = "sleep 7001 & nohup setsid sleep 7002 & env -i setsid sh -c 'sleep 7003 & exec sleep 7004' & echo done";
    let answer = ran(&app, &cuid, &json!({"command": leaving})).await;
    assert_eq!((&answer["exit_code"], answer["stdout"].as_str().unwrap().trim()), (&0.into(), "done"));
    assert!(!runs(&cuid, "sleep 700"), "{}", docker(&["top", &cuid]));
    let hurried = "env -i setsid sleep 7005 & exec sleep 7006";
    let answer = exec(&app, &cuid, &json!({"command": ["sh", "-c", format!("echo begun; {hurried}")], "timeout": 0.7})).await;
    answer.refused(408, "EXEC_TIMEOUT", "");
    assert_eq!(answer.json()["details"]["stdout"], "begun\n");
    assert!(!runs(&cuid, "sleep 700"), "{}", docker(&["top", &cuid]));
    assert!(runs(&cuid, "sleep 3600"), "only that");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_run_is_named() {
    let app = TestApp::start().await;
    let created = app.create(&json!({"image": BUSYBOX})).await;
    exec(&app, &created, &json!({"command": "true"})).await.refused(422, "INVALID_STATE", "");
    for image in [BUSYBOX, BARE] {
        let cuid = idle(&app, image).await;
        for (body, code, field) in [
            (json!({"command": ["nosuch", "a"]}), "INVALID_COMMAND", "command"),
            // What only a shell has, or takes for an option of its own, and what can't be executed.
            (json!({"command": ["cd"]}), "INVALID_COMMAND", "command"),
            (json!({"command": ["exit"]}), "INVALID_COMMAND", "command"),
            (json!({"command": ["--", "ls"]}), "INVALID_COMMAND", "command"),
            (json!({"command": ["-v", "ls"]}), "INVALID_COMMAND", "command"),
            (json!({"command": ["/etc/passwd"]}), "INVALID_COMMAND", "command"),
            (json!({"command": ["true"], "user": "nosuch"}), "INVALID_USER", "user"),
            (json!({"command": ["true"], "env": {"BERTH_SESSION": "mine"}}), "INVALID_ENV", "env.BERTH_SESSION"),
            (json!({"command": ["true"], "timeout": -1}), "INVALID_TIMEOUT", "timeout"),
            (json!({"command": ["true"], "tty": true}), "UNKNOWN_FIELD", "tty"),
        ] {
            exec(&app, &cuid, &body).await.refused(400, code, field);
        }
        if image == BARE {
            exec(&app, &cuid, &json!({"command": "true"})).await.refused(400, "INVALID_COMMAND", "command");
            assert_eq!(ran(&app, &cuid, &json!({"command": ["/bin/sleep", "0"], "stdin": "x"})).await["exit_code"], 0);
        } else {
            let folder = json!({"command": "true", "working_dir": "/bin/sh"});
            exec(&app, &cuid, &folder).await.refused(400, "INVALID_WORKING_DIR", "working_dir");
            app.act(&cuid, "pause").await;
            exec(&app, &cuid, &json!({"command": "true"})).await.refused(422, "INVALID_STATE", "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_goes_ends_its_commands_and_a_client_that_goes_does_not() {
    let app = TestApp::start().await;
    let (stopped, deleted) = tokio::join!(idle(&app, BUSYBOX), idle(&app, BUSYBOX));
    let body = json!({"command": "echo begun; sleep 7100"});
    let both = async {
        until("both run", async || runs(&stopped, "sleep 7100") && runs(&deleted, "sleep 7100")).await;
        tokio::join!(app.act(&stopped, "restart"), app.delete(&deleted));
    };
    let (cut, gone, ()) = tokio::join!(exec(&app, &stopped, &body), exec(&app, &deleted, &body), both);
    cut.refused(422, "INVALID_STATE", "");
    assert_eq!(cut.json()["details"]["stdout"], "begun\n");
    // It is stopped first, and then removed.
    assert!(matches!(gone.status, StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY), "{gone:?}");

    let request = app.request(Method::POST, &format!("/containers/{stopped}/exec"));
    let request = request.json(&json!({"command": "sleep 1; touch /tmp/done"})).timeout(Duration::from_millis(500));
    assert!(request.send().await.is_err());
    let done = json!({"command": ["test", "-e", "/tmp/done"]});
    until("it was done all the same", async || ran(&app, &stopped, &done).await["exit_code"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_that_it_cut_a_command_short() {
    let mut app = TestApp::start_process().await;
    let cuid = idle(&app, BUSYBOX).await;
    let request = app.request(Method::POST, &format!("/containers/{cuid}/exec"));
    let request = tokio::spawn(request.json(&json!({"command": "echo begun; sleep 7401", "timeout": 200})).send());
    until("it runs", async || runs(&cuid, "sleep 7401")).await;
    app.end(rustix::process::Signal::TERM);
    let answer = request.await.unwrap().unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["code"], &answer["details"]["stdout"]), (&"SERVER_STOPPING".into(), &"begun\n".into()), "{answer}");
    assert!(!runs(&cuid, "sleep 7401"));
    app.spawn().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_leaves_is_ended_by_the_next() {
    let mut app = TestApp::start_process().await;
    let cuid = idle(&app, BUSYBOX).await;
    let request = app.request(Method::POST, &format!("/containers/{cuid}/exec"));
    let request = request.json(&json!({"command": "env -i setsid sleep 7201 & setsid sleep 7202 & sleep 7203"})).send();
    let request = tokio::spawn(request);
    until("it runs", async || (1..=3).all(|number| runs(&cuid, &format!("sleep 720{number}")))).await;
    app.kill();
    assert!(request.await.unwrap().is_err());
    assert!(runs(&cuid, "sleep 7203"));
    app.spawn().await;
    until("nothing is left", async || !runs(&cuid, "sleep 720")).await;
    assert!(runs(&cuid, "sleep 3600"));
}
