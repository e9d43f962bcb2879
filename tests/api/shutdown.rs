//! The server's orderly end: nothing that is under way is cut.

use std::fs;

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUSYBOX, TestApp, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_download_under_way_is_finished_before_the_server_ends() {
    let mut app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    let content: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(256 * 1024);
    fs::write(app.folder(&cuid).join("app/large"), &content).unwrap();
    let request = app.request(Method::GET, &format!("/containers/{cuid}/download?path=large"));
    // More than fits into what is between the two, so the server still has some to send.
    let mut response = request.send().await.unwrap();
    let mut got = response.chunk().await.unwrap().unwrap().to_vec();
    let at = app.base.trim_start_matches("http://").to_owned();
    let ending = tokio::spawn(async move { app.shut_down().await });
    until("no more connections are taken", async || tokio::net::TcpStream::connect(&at).await.is_err()).await;
    assert!(!ending.is_finished());
    while let Some(chunk) = response.chunk().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == content, "{} of {} bytes", got.len(), content.len());
    ending.await.unwrap();
}
