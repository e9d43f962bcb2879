//! The calls on the files of one container.

use std::fs;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    harness::{BUSYBOX, TestApp},
};

/// The calls on the files of one container.
pub(crate) struct Files<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) cuid: String,
}

impl Files<'_> {
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("/containers/{}/{rest}", self.cuid)
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        rest: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.app.request(method, &self.url(rest)).body(body);
        self.app.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub(crate) async fn put(&self, path: &str, content: &str) -> Answer {
        self.call(Method::PUT, &format!("files?path={path}"), &[], content.to_owned()).await
    }

    pub(crate) async fn list(&self, query: &str) -> Value {
        let answer = self.app.get(&self.url(&format!("files?{query}"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }

    pub(crate) async fn delete(&self, query: &str) -> Answer {
        self.call(Method::DELETE, &format!("files?{query}"), &[], "").await
    }

    pub(crate) async fn rename(&self, body: &Value) -> Answer {
        self.app.post_json(&self.url("files/move"), body).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.app.get(&self.url(&format!("download?path={path}"))).await.text()
    }

    /// What stands in the container's folder.
    pub(crate) fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.app.folder(&self.cuid)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Those of a new container that does not run.
pub(crate) async fn created(app: &TestApp) -> Files<'_> {
    Files { app, cuid: app.create(&json!({"image": BUSYBOX})).await }
}
