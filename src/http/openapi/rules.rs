//! What is true of many calls, so that no handler has to say it: the parts of their paths, the headers that they take and give, and
//! how they fail.

use serde_json::{Map, Value, json};

use super::codes::ERRORS;

/// Methods that change something.
const CHANGES: [&str; 4] = ["post", "put", "patch", "delete"];

/// Completes the description that the handlers' annotations make.
pub(super) fn apply(document: &mut Value) {
    document["security"] = json!([{"basic": []}]);
    document["components"]["securitySchemes"]["basic"] = json!({"type": "http", "scheme": "basic"});
    for errors in ERRORS {
        document["components"]["responses"][errors.name()] = with_request_id(errors.response());
    }
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        let Some(item) = item.as_object_mut() else { continue };
        for (method, operation) in item.iter_mut() {
            complete(path, method, operation);
        }
        // A terminal is no document that could be asked after.
        if let Some(get) = item.get("get").filter(|get| get["responses"]["101"].is_null()) {
            let head = head(get);
            item.insert("head".to_owned(), head);
        }
    }
}

/// Completes what is said of one operation.
fn complete(path: &str, method: &str, operation: &mut Value) {
    operation["operationId"] = id(path, method).into();
    let mut parameters = operation["parameters"].take().as_array().cloned().unwrap_or_default();
    parameters.retain(|parameter| parameter["in"] != "path");
    for parameter in &mut parameters {
        without_null(&mut parameter["schema"]);
    }
    parameters.extend(path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(part));
    if matches!(method, "post" | "patch") {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A word of the client's own: whoever repeats the request with it within a day gets the first answer again.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            "example": "5f2b7c1e",
        }));
    }
    // A file may be empty.
    if operation["requestBody"]["content"]["application/octet-stream"].is_object() {
        operation["requestBody"]["required"] = false.into();
    }
    for status in failures(path, method, operation, &parameters) {
        let errors = ERRORS.iter().find(|errors| errors.status == status);
        let known = errors.filter(|errors| operation["responses"][errors.status.to_string()].is_null());
        if let Some(errors) = known {
            operation["responses"][status.to_string()] = json!({"$ref": format!("#/components/responses/{}", errors.name())});
        }
    }
    operation["parameters"] = parameters.into();
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if response["$ref"].is_null() {
            *response = with_request_id(response.take());
            if matches!(method, "post" | "patch") {
                let description = "true where it is the answer to an earlier request with the same Idempotency-Key";
                response["headers"]["Idempotency-Replayed"] = json!({"description": description, "schema": {"const": "true"}});
            }
        }
    }
}

/// A parameter may be absent, and is never null.
fn without_null(schema: &mut Value) {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
    }
    let kinds = schema.get_mut("oneOf").and_then(Value::as_array_mut).filter(|kinds| kinds.len() == 2);
    if let Some(kind) = kinds.filter(|kinds| kinds[0] == json!({"type": "null"})).and_then(Vec::pop) {
        *schema = kind;
    }
}

/// How an operation may fail. What is said to need no password has no errors of who has one.
fn failures(path: &str, method: &str, operation: &Value, parameters: &[Value]) -> Vec<u16> {
    let takes = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    let (changes, body) = (CHANGES.contains(&method), operation["requestBody"].is_object());
    let (open, of_container) =
        (operation["security"] == json!([]) || operation["security"] == json!([{}]), path.contains("{cuid}"));
    let terminal = !operation["responses"]["101"].is_null();
    // A log may be unreadable, and what does not run uses nothing.
    let looks_in = of_container && (path.ends_with("/logs") || path.ends_with("/stats"));
    let opens_files = path.contains("/files") || path.contains("/download");
    // All but what needs neither the engine nor the disk.
    let at_work = !open && !path.starts_with("/docs") && path != "/openapi.json";
    let rules = [
        (400, true),
        (401, !open),
        (403, (changes || terminal) && !open),
        (404, path.contains('{') || path == "/containers" && changes),
        (408, changes && at_work),
        (409, changes && (takes("overwrite") || opens_files || path == "/containers")),
        (412, takes("If-Match") || takes("If-None-Match")),
        (413, body),
        (416, takes("Range")),
        (422, matches!(method, "post" | "patch") || changes && of_container || terminal || looks_in),
        (429, !open),
        (500, at_work),
        (503, at_work),
        (507, changes && at_work),
    ];
    rules.into_iter().filter(|(_, so)| *so).map(|(status, _)| status).collect()
}

/// A part of a path that is a parameter.
fn part(name: &str) -> Value {
    let (schema, description, example) = match name {
        "cuid" => (json!({"$ref": "#/components/schemas/Cuid"}), "Which container", "c123e4567-e89b-42d3-a456-426614174000"),
        "session" => {
            (json!({"type": "string", "format": "uuid"}), "Which terminal's session", "7d444840-9dc0-41d1-b245-5ffdce74fad2")
        }
        "file" => (json!({"type": "string", "pattern": "^[a-z-]+\\.[a-z0-9]+$"}), "Which file", "swagger-ui.css"),
        _ => (json!({"type": "string"}), "", ""),
    };
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema, "example": example})
}

/// An operation's id: its method and the words of its path.
fn id(path: &str, method: &str) -> String {
    let words = path.split(['/', '.', '-']).map(|word| word.trim_matches(['{', '}'])).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| id + "_" + word)
}

/// What HEAD answers where GET answers so: the same without its body.
fn head(get: &Value) -> Value {
    let mut head = get.clone();
    let id = get["operationId"].as_str().unwrap_or_default().replacen("get", "head", 1);
    head["operationId"] = id.into();
    head["summary"] = format!("{}: the headers alone", get["summary"].as_str().unwrap_or_default()).into();
    for response in head["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    head
}

/// An answer with what every answer has.
fn with_request_id(mut response: Value) -> Value {
    let id =
        json!({"description": "The request's id, which the action log has, too", "schema": {"type": "string", "format": "uuid"}});
    response["headers"]["X-Request-Id"] = id;
    response
}
