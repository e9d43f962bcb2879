//! Fields of the specification, each as the engine shows it once it has arrived. Volumes and networks have files of their own.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{BARE, BUSYBOX, PYTHON, TestApp, archive, docker, inspect, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_arrives_and_owns_the_mount_and_what_is_uploaded() {
    let app = TestApp::start().await;
    for (user, shown, ids, owner) in [
        (json!(null), "1000:1000", "1000 1000", "1000:1000"),
        (json!("1234:5678"), "1234:5678", "1234 5678", "1234:5678"),
        (json!("1234"), "1234", "1234 0", "1234:0"),
        (json!("root"), "root", "0 0", "0:0"),
        (json!("0"), "0", "0 0", "0:0"),
        (json!("image"), "", "0 0", "1000:1000"),
    ] {
        let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "user": user})).await;
        assert_eq!(inspect(&cuid)["Config"]["User"], shown);
        assert_eq!(docker(&["exec", &cuid, "sh", "-c", "echo $(id -u) $(id -g)"]).trim(), ids, "{user}");
        app.upload(&cuid, archive(&[("folder/file", "")])).await;
        for path in [".", "folder", "folder/file"] {
            let found = docker(&["exec", &cuid, "stat", "-c", "%u:%g", &format!("/app/{path}")]);
            assert_eq!(found.trim(), owner, "{path} of {user}");
        }
        app.delete(&cuid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_the_user_gives_the_mount_away_and_back_where_it_fails() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let owner = || docker(&["exec", &cuid, "stat", "-c", "%u:%g", "/app"]).trim().to_owned();
    assert_eq!(app.patch(&cuid, &json!({"user": "1234:5678"})).await.json()["user"], "1234:5678");
    assert_eq!(owner(), "1234:5678");
    assert_eq!(docker(&["exec", &cuid, "id", "-u"]).trim(), "1234");
    let failed = app.patch(&cuid, &json!({"user": "7:7", "command": ["/no/such"]})).await;
    failed.refused(500, "COMPOSE_FAILED", "");
    assert_eq!(owner(), "1234:5678");
    app.patch(&cuid, &json!({"user": "nobody-knows"})).await.refused(400, "INVALID_USER", "user");
    app.patch(&cuid, &json!({"user": "1:nobody-knows"})).await.refused(400, "INVALID_USER", "user");
    assert_eq!((app.status(&cuid).await["status"].clone(), owner()), ("running".into(), "1234:5678".into()));
    assert_eq!(app.patch(&cuid, &json!({"user": null})).await.json()["user"], Value::Null);
    assert_eq!(owner(), "1000:1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_and_cpu_shares_arrive_and_can_be_changed() {
    let app = TestApp::start().await;
    let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "working_dir": "/srv/a b", "resources": {"cpu_shares": 512}});
    let cuid = app.run(&spec).await;
    assert_eq!(docker(&["exec", &cuid, "pwd"]).trim(), "/srv/a b");
    let shown = inspect(&cuid);
    assert_eq!((&shown["Config"]["WorkingDir"], &shown["HostConfig"]["CpuShares"]), (&"/srv/a b".into(), &512.into()));
    let body = app.patch(&cuid, &json!({"working_dir": null, "resources": {"cpu_shares": 2, "pids": 99}})).await.json();
    assert_eq!((&body["working_dir"], &body["resources"]), (&Value::Null, &json!({"pids": 99, "cpu_shares": 2})));
    assert_eq!(docker(&["exec", &cuid, "pwd"]).trim(), "/app");
    assert_eq!(inspect(&cuid)["HostConfig"]["CpuShares"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_driver_and_its_options_arrive_and_what_the_engine_refuses_is_told() {
    let app = TestApp::start().await;
    let log = |driver: &str, options: Value| json!({"image": BUSYBOX, "command": "sleep 1000", "log": {"driver": driver, "options": options}});
    let cuid = app.run(&log("json-file", json!({"max-size": "1m", "max-file": 2, "compress": true, "tag": "$x {{.ID}}"}))).await;
    let shown = inspect(&cuid)["HostConfig"]["LogConfig"].clone();
    let options = json!({"max-size": "1m", "max-file": "2", "compress": "true", "tag": "$x {{.ID}}"});
    assert_eq!(shown, json!({"Type": "json-file", "Config": options}));
    assert_eq!(app.get(&format!("/containers/{cuid}")).await.json()["log"], json!({"driver": "json-file", "options": options}));
    for (driver, options, field) in [
        ("nosuch", json!({}), "log.driver"),
        ("json-file", json!({"bogus": "1"}), "log"),
        ("syslog", json!({"syslog-address": "foo://x"}), "log"),
    ] {
        app.post_json("/containers", &log(driver, options.clone())).await.refused(400, "INVALID_LOG", field);
        let patch = json!({"log": {"driver": driver, "options": options}});
        app.patch(&cuid, &patch).await.refused(400, "INVALID_LOG", field);
    }
    // What the engine finds only when it starts the container.
    app.patch(&cuid, &json!({"log": {"driver": "json-file", "options": {"max-size": "x"}}})).await.refused(
        400,
        "INVALID_LOG",
        "log",
    );
    assert_eq!(inspect(&cuid)["HostConfig"]["LogConfig"], shown);
    assert_eq!((app.status(&cuid).await["status"].clone(), app.data_entries()), ("running".into(), vec![cuid.clone()]));
    app.patch(&cuid, &json!({"log": {"driver": "none"}})).await;
    assert_eq!(inspect(&cuid)["HostConfig"]["LogConfig"], json!({"Type": "none", "Config": {}}));
    app.patch(&cuid, &json!({"log": null})).await;
    assert_eq!(inspect(&cuid)["HostConfig"]["LogConfig"]["Config"]["max-size"], "10m", "the site's own is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_policy_starts_what_failed_and_leaves_what_was_stopped() {
    let app = TestApp::start().await;
    let spec =
        |policy: Value, command: &str| json!({"image": BUSYBOX, "command": ["sh", "-c", command], "restart_policy": policy});
    for policy in [json!({"type": "no"}), json!({"type": "unless-stopped"})] {
        let cuid = app.create(&spec(policy.clone(), "true")).await;
        assert_eq!(inspect(&cuid)["HostConfig"]["RestartPolicy"]["Name"], policy["type"]);
    }
    let failing = app.run(&spec(json!({"type": "on-failure", "max_retries": 2}), "exit 3")).await;
    let shown = &inspect(&failing)["HostConfig"]["RestartPolicy"];
    assert_eq!(*shown, json!({"Name": "on-failure", "MaximumRetryCount": 2}));
    until("it was started again twice, and then left", async || {
        let status = app.status(&failing).await;
        status["restart_count"] == 2 && status["status"] == "exited" && status["exit_code"] == 3
    })
    .await;

    let always = app.run(&spec(json!({"type": "always"}), "sleep 1000")).await;
    docker(&["exec", "--user", "0", &always, "sh", "-c", "kill -9 $(pidof sleep)"]);
    until("it was started again", async || {
        let status = app.status(&always).await;
        status["restart_count"] == 1 && status["status"] == "running"
    })
    .await;
    app.act(&always, "stop?timeout=0").await;
    // Whatever the engine had begun is over once it has started and ended another.
    let other = app.run(&spec(json!(null), "true")).await;
    app.until_status(&other, "exited").await;
    assert_eq!(app.status(&always).await["status"], "exited");
    assert_eq!(inspect(&always)["State"]["Status"], "exited");
    assert_eq!(app.patch(&always, &json!({"restart_policy": null})).await.json()["restart_policy"], Value::Null);
    assert_eq!(inspect(&always)["HostConfig"]["RestartPolicy"]["Name"], "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_shows_in_the_status() {
    let app = TestApp::start().await;
    let check =
        json!({"test": "test -e /app/well", "interval": "100ms", "timeout": "1m30s", "retries": 2, "start_period": "1ms"});
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "health_check": check})).await;
    assert_eq!(
        inspect(&cuid)["Config"]["Healthcheck"],
        json!({"Test": ["CMD-SHELL", "test -e /app/well"], "Interval": 100_000_000, "Timeout": 90_000_000_000_u64,
            "Retries": 2, "StartPeriod": 1_000_000})
    );
    let health = async |word: &str| app.status(&cuid).await["health"] == word;
    until("unhealthy", async || health("unhealthy").await).await;
    app.upload(&cuid, archive(&[("well", "")])).await;
    until("healthy", async || health("healthy").await).await;
    // Everything but resources and env is replaced.
    let body = app.patch(&cuid, &json!({"health_check": {"test": ["NONE"]}})).await.json();
    assert_eq!((&body["health_check"], &body["health"]), (&json!({"test": ["NONE"]}), &Value::Null));
    assert_eq!(inspect(&cuid)["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_asked_with_what_the_image_has() {
    let app = TestApp::start().await;
    let busybox = ["sh", "-c", BUSYBOX_SERVER];
    let python = ["python3", "-c", PYTHON_SERVER];
    for (image, command) in [(BUSYBOX, &busybox[..]), (PYTHON, &python[..])] {
        for (path, expected) in [("/ok?a='$X'", "healthy"), ("/missing", "unhealthy"), ("/cgi-bin/away", "healthy")] {
            let check = json!({"endpoint": format!("http://127.0.0.1:8000{path}"), "interval": "300ms", "retries": 3});
            let cuid = app.run(&json!({"image": image, "command": command, "health_check": check})).await;
            until(&format!("{path} in {image} is {expected}"), async || app.status(&cuid).await["health"] == expected).await;
            app.delete(&cuid).await;
        }
    }
    // Without a shell nothing can ask.
    let check = json!({"endpoint": "http://127.0.0.1/", "interval": "100ms", "retries": 1});
    let bare = app.run(&json!({"image": BARE, "command": ["/bin/sleep", "1000"], "health_check": check})).await;
    until("unhealthy", async || app.status(&bare).await["health"] == "unhealthy").await;
}

/// Answers `/ok`, sends `/cgi-bin/away` elsewhere, and knows nothing else.
const BUSYBOX_SERVER: &str = r#"
mkdir -p /tmp/w/cgi-bin && cd /tmp/w && touch ok
printf '#!/bin/sh\nprintf "Status: 302 Found\\r\\nLocation: http://127.0.0.1:1/\\r\\n\\r\\n"\n' > cgi-bin/away
chmod +x cgi-bin/away
exec httpd -f -p 8000 -h .
"#;

/// The same.
const PYTHON_SERVER: &str = "
import http.server as h
class H(h.BaseHTTPRequestHandler):
    def do_GET(self):
        away = self.path == '/cgi-bin/away'
        self.send_response(302 if away else 200 if self.path.startswith('/ok') else 404)
        if away: self.send_header('Location', 'http://127.0.0.1:1/')
        self.end_headers()
h.HTTPServer(('', 8000), H).serve_forever()
";

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_a_field_is_told_and_leaves_nothing_behind() {
    let app = TestApp::start().await;
    for (field, value, code, path) in [
        (
            "volumes",
            json!([{"volume": "v", "container_path": "/a"}, {"host_path": "x", "container_path": "/b"}]),
            "INVALID_VOLUME",
            "volumes[1].host_path",
        ),
        ("network", json!("container:x"), "INVALID_NETWORK", "network"),
        ("health_check", json!({"test": "x", "timeout": "soon"}), "INVALID_HEALTH_CHECK", "health_check.timeout"),
        ("restart_policy", json!({"type": "always", "max_retries": 1}), "INVALID_RESTART_POLICY", "restart_policy.max_retries"),
        ("user", json!(1000), "INVALID_USER", "user"),
        ("working_dir", json!("here"), "INVALID_WORKING_DIR", "working_dir"),
        ("log", json!({"driver": "json-file", "options": {"a b": "c"}}), "INVALID_LOG", "log.options.a b"),
        ("resources", json!({"cpu_shares": 1}), "INVALID_RESOURCES", "resources.cpu_shares"),
    ] {
        app.post_json("/containers", &json!({"image": BUSYBOX, field: value})).await.refused(400, code, path);
    }
    assert!(app.data_entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_means_exited_in_a_list() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "true"})).await;
    app.until_status(&cuid, "exited").await;
    app.create(&json!({"image": BUSYBOX})).await;
    let stopped = app.get("/containers?status=stopped").await;
    assert_eq!((stopped.status, &stopped.json()["total"]), (StatusCode::OK, &1.into()));
    assert_eq!(stopped.json()["containers"][0]["cuid"], *cuid);
}
