//! The description of the API, made of the handlers' own annotations and types. What is true of many calls is added by rules.

mod codes;
mod rules;

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{Bytes, Data},
};
use serde_json::Value;
use utoipa::OpenApi;

use super::{
    App, actions, batch, containers, containers::NoQuery, deploys, docs, entries, error::ApiResult, events, exec, files, health,
    inspect, lifecycle, list, logs, metrics, recordings, request::Query, sessions, stats, terminal,
};

/// Every handler that is described, and what errors look like.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "berth",
        description = "Turns one machine with Docker into a place where programs put programs: containers, files and terminals over REST and WebSocket.\n\nEvery call but `/livez` wants HTTP Basic, every answer has an `X-Request-Id`, and every failure the body `Error`. A method that a path does not have is 405, with `Allow`. Any POST or PATCH may carry an `Idempotency-Key`, and is done once then. What is no HTTP request is answered by a bare 400 before any of this.",
    ),
    tags(
        (name = "server", description = "The server itself"),
        (name = "containers", description = "What containers are, and their lives"),
        (name = "batch", description = "The same for many containers at once"),
        (name = "deploys", description = "Archives into a container's mount, and back"),
        (name = "files", description = "Single files and folders of a container's mount"),
        (name = "terminals", description = "Terminals, and what was recorded of them"),
        (name = "live", description = "What containers do now"),
    ),
    components(schemas(super::error::ErrorBody<'_>)),
    paths(
        health::show,
        health::alive,
        metrics::show,
        show,
        docs::page,
        docs::file,
        list::list,
        containers::create,
        containers::show,
        containers::patch,
        containers::delete,
        containers::drift,
        containers::status,
        containers::patch_ports,
        lifecycle::start,
        lifecycle::stop,
        lifecycle::restart,
        lifecycle::pause,
        lifecycle::unpause,
        batch::start,
        batch::stop,
        batch::restart,
        batch::pause,
        batch::unpause,
        batch::delete,
        deploys::upload_zip,
        deploys::list,
        deploys::rollback,
        files::download,
        files::download_zip,
        entries::list,
        entries::write,
        entries::delete,
        entries::mkdir,
        entries::rename,
        sessions::list,
        sessions::end,
        recordings::list,
        recordings::download,
        recordings::remove,
        terminal::open,
        logs::show,
        stats::show,
        stats::all,
        exec::run,
        inspect::show,
        events::follow,
        actions::list,
    ),
)]
struct Description;

/// The description as it is sent.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

fn document() -> Value {
    let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
    rules::apply(&mut document);
    document
}

/// Describes the API
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    responses((status = 200, description = "This description, as OpenAPI 3.1", body = Value)),
)]
pub(crate) async fn show(_: Data<App>, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT.clone()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every operation: its path, its method, and what is said of it.
    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        let methods = paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |found| (path, found)));
        methods.map(|(path, (method, operation))| (path.clone(), method.to_uppercase(), operation)).collect()
    }

    /// What a reference leads to, or the thing itself.
    fn resolved<'a>(document: &'a Value, thing: &'a Value) -> &'a Value {
        let target = thing["$ref"].as_str().map(|target| document.pointer(target.trim_start_matches('#')));
        target.map_or(thing, |target| target.unwrap_or_else(|| panic!("{thing} leads nowhere")))
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let routed: BTreeSet<(String, String)> = crate::http::places()
            .into_iter()
            .flat_map(|(path, allow, routes)| {
                let methods: Vec<&str> = allow.split(", ").collect();
                let answered = methods.iter().filter(|method| **method != "HEAD").count();
                assert_eq!(routes.len(), answered, "{path} says that it has {allow}");
                methods.into_iter().map(move |method| (path.to_owned(), method.to_owned())).collect::<Vec<_>>()
            })
            .collect();
        let document = document();
        let described = operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
        assert_eq!(routed, described);
    }

    #[test]
    fn every_operation_says_what_it_does_takes_and_gives() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let who = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{who}: its id is another's");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{who}: no summary, or no tag");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["schema"].is_object(), "{who}: {parameter}");
            }
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['1', '2'])), "{who}: no success");
            for (status, response) in responses {
                let response = resolved(&document, response);
                assert!(response["description"].is_string(), "{who}: {status} has no description");
                assert!(response["headers"]["X-Request-Id"].is_object(), "{who}: {status} has no request id");
                let Some(content) = response["content"].get("application/json") else { continue };
                let schema = resolved(&document, &content["schema"]);
                let parts = schema["allOf"].as_array().into_iter().flatten().map(|part| resolved(&document, part));
                let shown = |part: &Value| !part["example"].is_null() || !part["examples"].is_null();
                let told = shown(content) || shown(schema) || parts.into_iter().any(shown);
                assert!(told || path == "/openapi.json", "{who}: {status} has no example");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn follow(document: &Value, value: &Value) {
            resolved(document, value);
            match value {
                Value::Array(items) => items.iter().for_each(|item| follow(document, item)),
                Value::Object(fields) => fields.values().for_each(|field| follow(document, field)),
                _ => (),
            }
        }
        let document = document();
        follow(&document, &document);
    }
}
