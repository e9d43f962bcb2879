//! The server's orderly end: nothing that is under way is cut.

use std::fs;

use reqwest::Method;
use serde_json::json;

use crate::harness::{BUSYBOX, TestApp, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_download_and_a_command_under_way_are_finished_and_who_comes_later_is_refused() {
    let mut app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let content: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(256 * 1024);
    fs::write(app.folder(&cuid).join("app/large"), &content).unwrap();
    let request = app.request(Method::GET, &format!("/containers/{cuid}/download?path=large"));
    // More than fits into what is between the two, so the server still has some to send.
    let mut response = request.send().await.unwrap();
    let mut got = response.chunk().await.unwrap().unwrap().to_vec();
    let command = json!({"command": "touch /app/begun; sleep 2; echo done"});
    let exec = app.request(Method::POST, &format!("/containers/{cuid}/exec")).json(&command);
    let exec = tokio::spawn(async move { exec.send().await.unwrap().text().await.unwrap() });
    until("the command runs", async || app.folder(&cuid).join("app/begun").exists()).await;
    let at = app.base.trim_start_matches("http://").to_owned();
    let ending = tokio::spawn(async move { app.shut_down().await });
    until("no more connections are taken", async || tokio::net::TcpStream::connect(&at).await.is_err()).await;
    assert!(!ending.is_finished() && !exec.is_finished());
    while let Some(chunk) = response.chunk().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == content, "{} of {} bytes", got.len(), content.len());
    let said = exec.await.unwrap();
    assert!(said.contains(r#""stdout":"done\n""#), "{said}");
    ending.await.unwrap();
}
