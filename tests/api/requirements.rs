//! What `requirements.txt` names is installed before `boot.py` runs, from wheels in the mount, so that no index is asked.

use std::{fs, io::Write};

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{PYTHON, TestApp, docker, inspect, until},
    volumes::volumes,
};

const PYTHON_PIP: &str = "berth-test/python-pip";

/// Says what it finds, and stays.
const BOOT: &str = "import os, subprocess, time, x
print('x is', x.VERSION, 'and its tool says', subprocess.check_output(['x-tool'], text=True).strip(), flush=True)
print('behind it:', os.environ['PYTHONPATH'].split(':')[1:], flush=True)
time.sleep(1000)
";

async fn installing() -> TestApp {
    TestApp::start_with([("INSTALL_REQUIREMENTS", "on".to_owned())]).await
}

/// A wheel of the module `x`, with a script.
fn wheel(version: &str) -> Vec<u8> {
    let info = format!("x-{version}.dist-info");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [
        ("x.py".to_owned(), format!("VERSION = '{version}'\n")),
        (format!("x-{version}.data/scripts/x-tool"), "#!python\nimport x\nprint(x.VERSION)\n".to_owned()),
        (format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: x\nVersion: {version}\n")),
        (format!("{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned()),
        (format!("{info}/RECORD"), String::new()),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Puts a file into the mount.
fn put(app: &TestApp, cuid: &str, name: &str, content: impl AsRef<[u8]>) {
    let path = app.folder(cuid).join("app").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn require(app: &TestApp, cuid: &str, version: &str) {
    put(app, cuid, &format!("wheels/x-{version}-py3-none-any.whl"), wheel(version));
    put(app, cuid, "requirements.txt", format!("./wheels/x-{version}-py3-none-any.whl\n"));
}

/// A container with an app that needs the first `x`, not started.
async fn needing(app: &TestApp, image: &str) -> String {
    let cuid = app.create(&json!({"image": image, "env": {"PYTHONPATH": "/app/own"}})).await;
    put(app, &cuid, "boot.py", BOOT);
    require(app, &cuid, "1.0");
    cuid
}

/// What the container has said, on stdout and stderr.
#[expect(clippy::disallowed_methods, reason = "tests look at the engine with its own tool")]
fn logs(cuid: &str) -> String {
    let output = std::process::Command::new("docker").args(["logs", cuid]).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

async fn until_said(cuid: &str, words: &str, times: usize) {
    let told = async || logs(cuid).matches(words).count() == times;
    until(&format!("{words:?} is in the logs {times} times"), told).await;
}

/// What is in the volume.
fn installed(cuid: &str) -> Vec<String> {
    docker(&["exec", cuid, "ls", "-A", "/berth-packages"]).lines().map(str::to_owned).collect()
}

const INSTALLED: &str = "Successfully installed x-";

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_there_when_boot_py_runs_and_are_installed_again_only_when_the_file_changes() {
    let app = installing().await;
    let cuid = needing(&app, PYTHON_PIP).await;
    for name in ["pip.py", "tempfile.py", "hashlib.py"] {
        // The app's own modules are not Python's.
        put(&app, &cuid, name, "raise SystemExit('taken for a module of Python')");
    }
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0 and its tool says 1.0\nbehind it: ['/app/own']", 1).await;
    assert_eq!(logs(&cuid).matches(INSTALLED).count(), 1);
    assert!(docker(&["top", &cuid]).contains("-u /app/boot.py"), "nothing of the installation is left beside it");
    assert_eq!(app.get(&format!("/containers/{cuid}/drift")).await.json()["drifted"], false);

    let (container, folder) = (inspect(&cuid)["Id"].clone(), installed(&cuid));
    fs::remove_file(app.folder(&cuid).join("app/wheels/x-1.0-py3-none-any.whl")).unwrap();
    app.act(&cuid, "restart?timeout=0").await;
    until_said(&cuid, "x is 1.0", 2).await;
    assert_eq!((logs(&cuid).matches(INSTALLED).count(), installed(&cuid)), (1, folder.clone()));

    require(&app, &cuid, "2.0");
    app.act(&cuid, "restart?timeout=0").await;
    until_said(&cuid, "x is 2.0 and its tool says 2.0", 1).await;
    assert_eq!(inspect(&cuid)["Id"], container, "it is the same container");
    let now = installed(&cuid);
    assert!(now.len() == 1 && now != folder, "{now:?}");
    // Nothing is left anywhere else.
    let changed = docker(&["diff", &cuid]);
    assert!(!changed.contains("/tmp/") && !changed.contains(".cache"), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_installed_is_told_and_boot_py_does_not_run() {
    let app = installing().await;
    let cuid = needing(&app, PYTHON_PIP).await;
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0", 1).await;
    fs::remove_file(app.folder(&cuid).join("app/wheels/x-1.0-py3-none-any.whl")).unwrap();
    put(&app, &cuid, "requirements.txt", "./wheels/missing-1.0-py3-none-any.whl\n");
    app.post(&format!("/containers/{cuid}/restart?timeout=0")).await;
    app.until_status(&cuid, "exited").await;
    assert_eq!(app.status(&cuid).await["exit_code"], 1);
    let said = logs(&cuid);
    assert!(
        said.contains("missing-1.0-py3-none-any.whl") && said.contains("berth: requirements.txt could not be installed"),
        "{said}"
    );
    assert_eq!(said.matches("x is").count(), 1);
    // What was installed before is as it was.
    put(&app, &cuid, "requirements.txt", "./wheels/x-1.0-py3-none-any.whl\n");
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0", 2).await;
    assert_eq!((logs(&cuid).matches(INSTALLED).count(), installed(&cuid).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_cut_short_at_once_and_done_anew_the_next_time() {
    let app = installing().await;
    let cuid = needing(&app, PYTHON_PIP).await;
    // pip waits for somebody to write into it.
    let pipe = app.folder(&cuid).join("app/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o666), 0).unwrap();
    put(&app, &cuid, "requirements.txt", "-r pipe\n");
    for (end, code) in [("stop?timeout=60", 143), ("kill", 137)] {
        app.act(&cuid, "start").await;
        until("pip runs", async || docker(&["top", &cuid]).contains("__main__.py install")).await;
        assert_eq!(installed(&cuid).len(), 1, "what an earlier one left is gone");
        if end == "kill" {
            docker(&["kill", &cuid]);
            app.until_status(&cuid, "exited").await;
        } else {
            app.act(&cuid, end).await;
        }
        assert_eq!(app.status(&cuid).await["exit_code"], code, "{}", logs(&cuid));
    }
    require(&app, &cuid, "1.0");
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0", 1).await;
    assert_eq!(installed(&cuid).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_installed_unless_that_is_switched_on_and_the_image_has_pip() {
    let run = async |app: &TestApp, image: &str| {
        let cuid = needing(app, image).await;
        put(app, &cuid, "boot.py", "import sys\nprint('ran', 'x' in sys.modules)\n");
        app.act(&cuid, "start").await;
        until_said(&cuid, "ran False", 1).await;
        cuid
    };
    let off = TestApp::start().await;
    let cuid = run(&off, PYTHON_PIP).await;
    assert_eq!((volumes(&cuid), logs(&cuid)), (Vec::new(), "ran False\n".to_owned()));
    let on = installing().await;
    let cuid = run(&on, PYTHON).await;
    assert!(logs(&cuid).contains("berth: the image has no pip: requirements.txt is not installed\n"));
    let commanded = on.run(&json!({"image": PYTHON_PIP, "command": "sleep 1000"})).await;
    put(&on, &commanded, "boot.py", "");
    require(&on, &commanded, "1.0");
    on.act(&commanded, "restart?timeout=0").await;
    assert!(volumes(&commanded).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_runs_boot_py_can_have_packages_installed() {
    let app = installing().await;
    let cuid = needing(&app, PYTHON_PIP).await;
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0", 1).await;
    assert_eq!(volumes(&cuid), [format!("{cuid}__packages.1000.1000")]);
    for (user, volume) in [("7:8", "7.8"), ("nobody", "image"), ("image", "image"), ("0", "0.0")] {
        let answer = app.patch(&cuid, &json!({"user": user, "working_dir": "/"})).await;
        assert_eq!(answer.json()["status"], "running", "{answer:?}");
        until_said(&cuid, "x is 1.0", 1).await;
        assert_eq!(volumes(&cuid), [format!("{cuid}__packages.{volume}")], "{user}");
    }
    // A change that is taken back leaves the packages that the old configuration has.
    app.patch(&cuid, &json!({"user": "7:8", "command": "/no/such"})).await.refused(500, "COMPOSE_FAILED", "");
    until_said(&cuid, "x is 1.0", 1).await;
    assert_eq!(volumes(&cuid), [format!("{cuid}__packages.0.0")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_go_with_the_file_that_names_them_and_with_their_container() {
    let app = installing().await;
    let cuid = needing(&app, PYTHON_PIP).await;
    app.patch(&cuid, &json!({"volumes": [{"volume": "packages", "container_path": "/kept"}]})).await;
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0", 1).await;
    let requirements = app.folder(&cuid).join("app/requirements.txt");
    let text = fs::read(&requirements).unwrap();
    fs::remove_file(&requirements).unwrap();
    // One that ends and is started again by the engine has what it had.
    docker(&["restart", "--time", "0", &cuid]);
    until_said(&cuid, "No module named 'x'", 1).await;
    app.until_status(&cuid, "exited").await;
    assert!(app.get(&format!("/containers/{cuid}/drift")).await.json()["drifted"] == true);
    app.act(&cuid, "start").await;
    let kept = format!("{cuid}_packages");
    assert_eq!(volumes(&cuid), std::slice::from_ref(&kept));
    fs::write(&requirements, text).unwrap();
    app.until_status(&cuid, "exited").await;
    app.act(&cuid, "start").await;
    until_said(&cuid, "x is 1.0", 1).await;
    app.send(app.request(Method::DELETE, &format!("/containers/{cuid}?force=true"))).await;
    let left = volumes(&cuid);
    docker(&["volume", "rm", &kept]);
    assert_eq!(left, [kept]);
}
