//! The server dies, as by `kill -9`, at each step of each change, and is started again: the container is as before or as
//! asked, nothing is orphaned, and another container doesn't notice.

use std::{fs, path::PathBuf};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, PYTHON, TestApp, docker, until};

/// More steps than any change has.
pub(crate) const STEPS: u32 = 60;

pub(crate) struct Crashing {
    pub(crate) app: TestApp,
    /// See `berth::crash`.
    file: PathBuf,
    bystander: String,
    /// What the bystander is like, for as long as nobody touches it.
    untouched: String,
    /// The steps at which it died.
    pub(crate) steps: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Crashing {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crash");
        let app = TestApp::start_process_with([("BERTH_CRASH", file.display().to_string())]).await;
        let bystander = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "name": "bystander"})).await;
        let untouched = look(&app, &bystander);
        Self { app, file, bystander, untouched, steps: Vec::new(), _folder: folder }
    }

    /// Sends the request to a server that dies at step `step` of it, and starts another. Which step it was; `None` where
    /// the request was answered before that.
    pub(crate) async fn crash(&mut self, step: u32, request: RequestBuilder) -> Option<String> {
        fs::write(&self.file, step.to_string()).unwrap();
        let answer = request.send().await;
        let point = fs::read_to_string(&self.file).unwrap();
        fs::remove_file(&self.file).unwrap();
        if let Ok(answer) = answer {
            assert!(answer.status().is_success(), "{answer:?}");
            return None;
        }
        assert!(point.parse::<u32>().is_err(), "the server died by itself");
        self.app.kill();
        self.app.spawn().await;
        until(&format!("nothing half-done is left of a crash {point}"), async || self.half_done().is_none()).await;
        assert_eq!(look(&self.app, &self.bystander), self.untouched, "{point}");
        assert_eq!(self.app.status(&self.bystander).await["status"], "running", "{point}");
        Some(point)
    }

    /// Whether the change was over before it got to the step at which the server was to die.
    pub(crate) fn was_the_last(&mut self, point: Option<String>) -> bool {
        let last = point.is_none();
        self.steps.extend(point);
        last
    }

    /// That there were steps to die at, and an end to them.
    pub(crate) fn died_at_least(&self, times: usize) {
        assert!((times..STEPS as usize).contains(&self.steps.len()), "{:?}", self.steps);
    }

    /// A file or a container that no whole container has.
    fn half_done(&self) -> Option<String> {
        let expected = ["container.json", "compose.yaml", "app"];
        for cuid in self.app.data_entries().into_iter().filter(|name| !name.starts_with('.')) {
            let entries = fs::read_dir(self.app.folder(&cuid)).ok()?;
            let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
            let whole = expected.iter().all(|name| names.iter().any(|there| there == name));
            names.retain(|name| !expected.contains(&name.as_str()) && name != "deploys");
            let uploads = fs::read_dir(self.app.folder(&cuid).join("deploys")).into_iter().flatten().flatten();
            let uploads = uploads.map(|entry| entry.file_name().into_string().unwrap());
            names.extend(uploads.filter(|name| name.starts_with('.')));
            if !whole || !names.is_empty() {
                return Some(format!("{cuid}: {names:?}"));
            }
        }
        None
    }

    /// The cuids of all containers that the engine has with this label.
    fn labelled(&self, label: &str) -> Vec<String> {
        let names = docker(&["ps", "--all", "--format", "{{.Names}}", "--filter", &format!("label={label}")]);
        names.lines().map(str::to_owned).collect()
    }

    pub(crate) fn act(&self, method: Method, cuid: &str, path: &str) -> RequestBuilder {
        self.app.request(method, &format!("/containers/{cuid}{path}"))
    }
}

/// All that a change of a container would move.
fn look(app: &TestApp, cuid: &str) -> String {
    let files = ["container.json", "compose.yaml"].map(|name| fs::read_to_string(app.folder(cuid).join(name)).unwrap());
    docker(&["inspect", "--format", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}", cuid]) + &files.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_is_whole_or_leaves_nothing() {
    let mut world = Crashing::start().await;
    let label = format!("crashes={}", uuid::Uuid::new_v4());
    let (key, value) = label.split_once('=').unwrap();
    let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "name": "new", "labels": {key: value}});
    for step in 0..STEPS {
        let point = world.crash(step, world.app.request(Method::POST, "/containers").json(&spec)).await;
        let there: Vec<String> = world.app.data_entries().into_iter().filter(|cuid| *cuid != world.bystander).collect();
        assert_eq!(world.labelled(&label), there, "{point:?}");
        for cuid in there {
            assert_eq!(world.app.act(&cuid, "start").await["status"], "running", "{point:?}");
            assert_eq!(world.app.delete(&cuid).await.status, StatusCode::OK);
        }
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_repeated_with_its_key_is_made_once() {
    let mut world = Crashing::start().await;
    let label = format!("crashes={}", uuid::Uuid::new_v4());
    let (key, value) = label.split_once('=').unwrap();
    let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "name": "new", "labels": {key: value}});
    for step in 0..STEPS {
        let key = format!("create-{step}");
        let request = world.app.request(Method::POST, "/containers").header("idempotency-key", &key).json(&spec);
        let point = world.crash(step, request).await;
        let again = world.app.post_keyed("/containers", &key, &spec).await;
        assert_eq!(again.status, StatusCode::CREATED, "{point:?}: {again:?}");
        let cuid = again.json()["cuid"].as_str().unwrap().to_owned();
        assert_eq!(world.labelled(&label), [cuid.as_str()], "{point:?}");
        assert_eq!(world.app.data_entries().len(), 2, "{point:?}");
        assert_eq!(world.app.delete(&cuid).await.status, StatusCode::OK);
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_repeated_with_its_key_is_made_once() {
    let mut world = Crashing::start().await;
    let cuid = world.app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    for step in 0..STEPS {
        let patch = json!({"env": {"STEP": step}});
        let keyed = |world: &Crashing| {
            let request = world.act(Method::PATCH, &cuid, "").header("idempotency-key", format!("patch-{step}")).json(&patch);
            request.header("if-match", format!("\"{}\"", step + 1))
        };
        let point = world.crash(step, keyed(&world)).await;
        let again = world.app.send(keyed(&world)).await;
        assert_eq!(again.status, StatusCode::OK, "{point:?}: {again:?}");
        let (env, revision) = (&again.json()["env"]["STEP"], &again.json()["revision"]);
        assert_eq!((env, revision), (&step.to_string().into(), &(step + 2).into()), "{point:?}");
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_whole_or_has_not_begun() {
    let mut world = Crashing::start().await;
    for step in 0..STEPS {
        let cuid = world.app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
        let point = world.crash(step, world.act(Method::DELETE, &cuid, "?force=true")).await;
        let there = world.app.get(&format!("/containers/{cuid}")).await.status == StatusCode::OK;
        assert_eq!(world.labelled(&format!("berth.cuid={cuid}")).len(), usize::from(there), "{point:?}");
        assert_eq!(world.app.folder(&cuid).exists(), there, "{point:?}");
        if there {
            assert_eq!(world.app.status(&cuid).await["status"], "running", "{point:?}");
            world.app.delete(&cuid).await;
        }
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(5);
}

/// Crashes at each step of a PATCH of a running container from `before` to `after`, which `shows` tells apart at the engine.
async fn patch(patch: Value, before: &str, after: &str, shows: impl Fn(&str) -> String) {
    let mut world = Crashing::start().await;
    let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}, "resources": {"memory": "64m"}});
    for step in 0..STEPS {
        let cuid = world.app.run(&spec).await;
        let point = world.crash(step, world.act(Method::PATCH, &cuid, "").json(&patch)).await;
        let body = world.app.get(&format!("/containers/{cuid}")).await.json();
        let asked = body["revision"] == 2;
        assert_eq!(shows(&cuid), if asked { after } else { before }, "{point:?}: {body}");
        assert_eq!((&body["status"], asked || point.is_some()), (&"running".into(), true), "{point:?}");
        let spec = format!("{} {}", body["env"]["A"].as_str().unwrap(), body["resources"]["memory"].as_str().unwrap());
        assert_eq!(spec, if asked { after } else { before }, "{point:?}");
        world.app.delete(&cuid).await;
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(6);
}

/// The variable A and the limit of memory, as the engine has them.
fn configuration(cuid: &str) -> String {
    let environ = docker(&["exec", cuid, "env"]);
    let a = environ.lines().find_map(|line| line.strip_prefix("A=")).unwrap_or_default().to_owned();
    let memory: u64 = docker(&["inspect", "--format", "{{.HostConfig.Memory}}", cuid]).trim().parse().unwrap();
    format!("{a} {}m", memory >> 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_leaves_the_old_configuration_running_or_the_new_one() {
    patch(json!({"env": {"A": "new"}}), "old 64m", "new 64m", configuration).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_the_image_leaves_the_old_one_running_or_the_new_one() {
    let mut world = Crashing::start().await;
    let image = |cuid: &str| docker(&["inspect", "--format", "{{.Config.Image}}", cuid]).trim().to_owned();
    for step in 0..STEPS {
        let cuid = world.app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
        let point = world.crash(step, world.act(Method::PATCH, &cuid, "").json(&json!({"image": PYTHON}))).await;
        let body = world.app.get(&format!("/containers/{cuid}")).await.json();
        assert_eq!((&body["image"], &body["status"]), (&image(&cuid).into(), &"running".into()), "{point:?}");
        assert_eq!(body["image"], if body["revision"] == 2 { PYTHON } else { BUSYBOX }, "{point:?}");
        world.app.delete(&cuid).await;
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_limits_leaves_the_old_ones_or_the_new_ones() {
    patch(json!({"resources": {"memory": "128m"}}), "old 64m", "old 128m", configuration).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_done_or_has_not_begun_and_can_be_done_again() {
    let mut world = Crashing::start().await;
    for (action, before, after) in
        [("start", "created", "running"), ("restart?timeout=0", "running", "running"), ("stop?timeout=0", "running", "exited")]
    {
        for step in 0..STEPS {
            let cuid = world.app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
            if before == "running" {
                world.app.act(&cuid, "start").await;
            }
            let point = world.crash(step, world.act(Method::POST, &cuid, &format!("/{action}"))).await;
            let status = world.app.status(&cuid).await["status"].clone();
            assert!(status == before || status == after, "{action} {point:?}: {status}");
            assert_eq!(world.app.act(&cuid, action).await["status"], after, "{action} {point:?}");
            world.app.delete(&cuid).await;
            if world.was_the_last(point) {
                break;
            }
        }
    }
    world.died_at_least(6);
}
