//! Every error that a client may get: its status, its id and its codes; and how the description shows them.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{domain::schema, http::error::ErrorBody};

/// The errors of one status.
pub(super) struct Errors {
    pub(super) status: u16,
    /// What the status means here.
    pub(super) meaning: &'static str,
    /// The `error` ids of the body.
    ids: &'static [&'static str],
    codes: &'static [&'static str],
    /// The header that the answer has beside the request's id, and what it says.
    header: Option<(&'static str, &'static str)>,
}

/// Every error. A test holds it against the code.
pub(super) const ERRORS: &[Errors] = &[
    Errors {
        status: 400,
        meaning: "What was sent can't be taken; `details.field` names it",
        ids: &["validation_error"],
        codes: &[
            "INVALID_COMMAND",
            "INVALID_CUID",
            "INVALID_CUIDS",
            "INVALID_DEPLOY",
            "INVALID_ENV",
            "INVALID_FORCE",
            "INVALID_FRAME",
            "INVALID_HEALTH_CHECK",
            "INVALID_IDEMPOTENCY_KEY",
            "INVALID_IF_MATCH",
            "INVALID_IF_NONE_MATCH",
            "INVALID_IMAGE",
            "INVALID_JSON",
            "INVALID_LABELS",
            "INVALID_LOG",
            "INVALID_NAME",
            "INVALID_NETWORK",
            "INVALID_PATH",
            "INVALID_PORT",
            "INVALID_QUERY",
            "INVALID_REMOVE_VOLUMES",
            "INVALID_REQUEST",
            "INVALID_RESOURCES",
            "INVALID_RESTART_POLICY",
            "INVALID_SESSION",
            "INVALID_STDIN",
            "INVALID_TAGS",
            "INVALID_TIMEOUT",
            "INVALID_USER",
            "INVALID_VOLUME",
            "INVALID_WORKING_DIR",
            "INVALID_ZIP",
            "MISSING_IMAGE",
            "STDIN_FULL",
            "UNKNOWN_FIELD",
        ],
        header: None,
    },
    Errors {
        status: 401,
        meaning: "There are no credentials, or not the right ones",
        ids: &["auth_error"],
        codes: &["INVALID_CREDENTIALS", "MISSING_CREDENTIALS"],
        header: Some(("WWW-Authenticate", "Basic, with the realm")),
    },
    Errors {
        status: 403,
        meaning: "A page of another origin may not do this, or a path of the host may not be mounted",
        ids: &["permission_denied"],
        codes: &["HOST_PATH_NOT_ALLOWED", "ORIGIN_NOT_ALLOWED"],
        header: None,
    },
    Errors {
        status: 404,
        meaning: "It is not there",
        ids: &["not_found"],
        codes: &[
            "CONTAINER_MISSING",
            "CONTAINER_NOT_FOUND",
            "DEPLOY_NOT_FOUND",
            "FILE_NOT_FOUND",
            "IMAGE_NOT_FOUND",
            "NETWORK_NOT_FOUND",
            "RECORDING_NOT_FOUND",
            "ROUTE_NOT_FOUND",
            "SESSION_NOT_FOUND",
        ],
        header: None,
    },
    Errors {
        status: 405,
        meaning: "The path has no such method",
        ids: &["method_not_allowed"],
        codes: &["METHOD_NOT_ALLOWED"],
        header: Some(("Allow", "The methods that it has")),
    },
    Errors {
        status: 408,
        meaning: "It took too long",
        ids: &["timeout"],
        codes: &["COMPOSE_TIMEOUT", "EXEC_TIMEOUT"],
        header: None,
    },
    Errors {
        status: 409,
        meaning: "Something that is there stands in the way; `details` says what",
        ids: &["conflict"],
        codes: &["CONTAINER_ALREADY_EXISTS", "DRIFTED", "FILE_EXISTS", "FOLDER_NOT_EMPTY", "PORT_CONFLICT", "VOLUME_MOUNTED"],
        header: None,
    },
    Errors {
        status: 412,
        meaning: "It is not as the request expects it",
        ids: &["precondition_failed"],
        codes: &["PRECONDITION_FAILED", "REVISION_MISMATCH"],
        header: None,
    },
    Errors {
        status: 413,
        meaning: "It is larger than may be",
        ids: &["payload_too_large"],
        codes: &["BODY_TOO_LARGE", "ZIP_BOMB", "ZIP_TOO_LARGE"],
        header: None,
    },
    Errors {
        status: 416,
        meaning: "There is no such part of it",
        ids: &["validation_error"],
        codes: &["INVALID_RANGE"],
        header: Some(("Content-Range", "How long it is")),
    },
    Errors {
        status: 422,
        meaning: "The container's state does not allow it, or the `Idempotency-Key` is another request's",
        ids: &["state_error", "validation_error"],
        codes: &[
            "CONTAINER_RUNNING",
            "DEPLOY_FAILED",
            "IDEMPOTENCY_MISMATCH",
            "INVALID_STATE",
            "LOG_UNREADABLE",
            "SESSION_RUNNING",
        ],
        header: None,
    },
    Errors {
        status: 429,
        meaning: "There was or is too much of it",
        ids: &["rate_limited"],
        codes: &["TOO_MANY_COMMANDS", "TOO_MANY_FAILURES", "TOO_MANY_SESSIONS"],
        header: Some(("Retry-After", "Seconds until another try makes sense")),
    },
    Errors {
        status: 500,
        meaning: "It failed on the server; `docker compose` and its output are in `details` where it was that",
        ids: &["compose_error", "io_error"],
        codes: &["COMPOSE_FAILED", "ENGINE_REFUSED", "IO_FAILED"],
        header: None,
    },
    Errors {
        status: 503,
        meaning: "The Docker Engine does not answer, or the server stops",
        ids: &["unavailable"],
        codes: &["ENGINE_UNAVAILABLE", "SERVER_STOPPING"],
        header: Some(("Retry-After", "Seconds until another try makes sense")),
    },
    Errors { status: 507, meaning: "The disk is full", ids: &["io_error"], codes: &["STORAGE_FULL"], header: None },
];

impl Errors {
    /// The answer's name among the description's components.
    pub(super) fn name(&self) -> String {
        format!("Error{}", self.status)
    }

    /// The answer, but for what every answer has.
    pub(super) fn response(&self) -> Value {
        let Self { status, meaning, ids, codes, header } = self;
        let error = json!({"allOf": [{"$ref": "#/components/schemas/Error"}, {"type": "object", "properties": {
            "status": {"const": status}, "error": {"enum": ids}, "code": {"enum": codes},
        }}]});
        let names = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
        let mut response = json!({
            "description": format!("{meaning}: {names}"),
            "content": {"application/json": {"schema": error, "example": example(*status, ids[0], codes[0], meaning)}},
        });
        if let Some((name, description)) = header {
            response["headers"][*name] = json!({"description": description, "schema": {"type": "string"}});
        }
        response
    }
}

fn example(status: u16, id: &str, code: &str, message: &str) -> Value {
    json!({
        "error": id, "code": code, "message": message, "status": status, "request_id": "7d444840-9dc0-41d1-b245-5ffdce74fad2",
        "timestamp": "2024-01-20T15:30:00.000+01:00", "details": {},
    })
}

impl PartialSchema for ErrorBody<'_> {
    fn schema() -> RefOr<Schema> {
        let all = |list: fn(&Errors) -> &'static [&'static str]| {
            let mut all: Vec<_> = ERRORS.iter().flat_map(|errors| list(errors).iter().copied()).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        schema::of(json!({
            "type": "object",
            "description": "Every failure has this body.",
            "required": ["error", "code", "message", "status", "request_id", "timestamp", "details"],
            "properties": {
                "error": {"type": "string", "description": "What kind of failure it is.", "enum": all(|errors| errors.ids)},
                "code": {"type": "string", "description": "What failed.", "enum": all(|errors| errors.codes)},
                "message": {"type": "string", "description": "It, in a sentence."},
                "status": {"type": "integer", "description": "The HTTP status.", "minimum": 400, "maximum": 599},
                "request_id": {"type": "string", "format": "uuid"},
                "timestamp": {"type": "string", "format": "date-time"},
                "details": {"type": "object", "description": "Facts; `field` names the part of the request that it is about."},
                "stacktrace": {"type": "string", "description": "Only with `APP_ENV=development`."},
            },
            "example": example(400, "validation_error", "MISSING_IMAGE", "Image is required"),
        }))
    }
}

impl ToSchema for ErrorBody<'_> {
    fn name() -> Cow<'static, str> {
        "Error".into()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// Words that look like codes and are none.
    const OTHERS: [&str; 6] =
        ["BERTH_SESSION", "CARGO_PKG_VERSION", "CONTAINER_UID", "DOCKER_CONFIG", "DOCKER_HOST", "XDG_RUNTIME_DIR"];

    /// Every word in capitals that stands in quotes in the code below `folder`, without its tests.
    fn words(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                words(&path, found);
            } else if !path.ends_with("openapi/codes.rs") {
                let text = fs::read_to_string(path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
                let is_code = |word: &&str| {
                    word.len() > 2 && word.contains('_') && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                };
                found.extend(quoted.filter(is_code).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_code_in_the_code_is_described_and_every_described_one_is_there() {
        let (src, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), BTreeSet::new());
        for room in ["containers", "domain", "engine", "files", "http", "terminal"] {
            words(&src.join(room), &mut found);
        }
        found.retain(|word| !OTHERS.contains(&word.as_str()) && !word.starts_with("DOCKER_"));
        // One word could be anything.
        let described = ERRORS.iter().flat_map(|errors| errors.codes).filter(|code| code.contains('_'));
        let described = described.map(|code| (*code).to_owned()).collect();
        assert_eq!(found, described);
    }
}
