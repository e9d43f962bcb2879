//! Many at once: everybody is served, in turn.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{BUSYBOX, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_creations_at_once_all_succeed_and_reads_go_on_meanwhile() {
    let app = TestApp::start().await;
    let first = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let (done, reading) = (std::sync::atomic::AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    let creations = async {
        let specs: Vec<_> =
            (0..50).map(|at| json!({"image": BUSYBOX, "command": "sleep 1000", "name": format!("n{at}")})).collect();
        let answers = join_all(specs.iter().map(|spec| app.post_json("/containers", spec))).await;
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        answers
    };
    let reads = async {
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(app.get(&format!("/containers/{first}/status")).await.status, StatusCode::OK);
            reading.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let (answers, ()) = tokio::join!(creations, reads);
    for answer in answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
    // One a creation at the least: no read waits for all of them.
    assert!(reading.into_inner() > 50);
    assert_eq!(app.get("/containers?limit=1").await.json()["total"], 51);
    assert_eq!(app.data_entries().iter().filter(|name| !name.starts_with('.')).count(), 51);
}
