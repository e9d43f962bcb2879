//! The description of the API, and the page to read it on.

use reqwest::{Method, StatusCode};

use crate::harness::TestApp;

#[tokio::test]
async fn the_description_is_read_with_a_password_and_says_what_answers_are() {
    let app = TestApp::start().await;
    let anonymous = app.send(app.client.get(format!("{}/openapi.json", app.base))).await;
    anonymous.refused(401, "MISSING_CREDENTIALS", "");
    let document = app.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let health = document["paths"]["/healthz"]["get"]["responses"]["200"].clone();
    assert_eq!(health["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Health");
    app.get("/openapi.json?x=1").await.refused(400, "INVALID_QUERY", "x");
}

#[tokio::test]
async fn the_page_and_its_files_come_from_the_server_and_load_nothing_else() {
    let app = TestApp::start().await;
    let page = app.get("/docs").await;
    assert_eq!((page.status, &page.headers["content-type"]), (StatusCode::OK, &"text/html".parse().unwrap()));
    let text = page.text();
    let named = text.split(['"']).filter(|word| word.starts_with("docs/")).collect::<Vec<_>>();
    assert!(named.len() >= 4 && !text.contains("://") && !text.contains("<style"), "{text}");
    for path in ["/docs".to_owned()].into_iter().chain(named.iter().map(|name| format!("/{name}"))) {
        let answer = app.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        let again = app.request(Method::GET, &path).header("if-none-match", &answer.headers["etag"]);
        let again = app.send(again).await;
        assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        let head = app.send(app.request(Method::HEAD, &path)).await;
        assert_eq!((head.status, &head.headers["etag"], head.bytes.len()), (StatusCode::OK, &answer.headers["etag"], 0));
    }
    for other in ["index.html", "swagger-initializer.js", "x"] {
        assert_eq!(app.get(&format!("/docs/{other}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_list_is_no_object_and_a_whole_number_may_be_written_with_a_fraction() {
    let app = TestApp::start().await;
    for body in [r#"["berth-test/busybox"]"#, "[]", "1", "null"] {
        let answer = app.send(app.request(Method::POST, "/containers").body(body)).await;
        answer.refused(400, "INVALID_JSON", "body");
    }
    assert!(app.data_entries().is_empty());
    let body = r#"{"image":"berth-test/busybox","ports":[{"container":80.0}],"resources":{"pids":6.4e1}}"#;
    let made = app.send(app.request(Method::POST, "/containers").body(body)).await;
    assert_eq!((made.status, made.json()["resources"]["pids"].as_i64()), (StatusCode::CREATED, Some(64)), "{made:?}");
}

#[tokio::test]
async fn a_method_that_is_not_there_is_told_whatever_the_idempotency_key() {
    let app = TestApp::start().await;
    let spec = serde_json::json!({"image": "berth-test/busybox"});
    let made = app.post_keyed("/containers", "k", &spec).await;
    for (method, path, status) in
        [(Method::PATCH, "/healthz", 405), (Method::POST, "/nothing", 404), (Method::PATCH, "/containers", 405)]
    {
        let answer = app.send(app.request(method, path).header("idempotency-key", "k")).await;
        assert_eq!((answer.status.as_u16(), answer.is_replayed()), (status, false), "{path}");
    }
    app.post_keyed("/containers", "k", &spec).await.repeats(&made);
}
