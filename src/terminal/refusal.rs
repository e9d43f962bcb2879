//! What the engine's refusal of a terminal means to its client: mostly something that the client asked for is not there, or the
//! container's status changed meanwhile. Known refusals become the same errors that a refused request has.

use serde_json::Value;

use crate::{
    domain::status::{Action, Status},
    engine::Engine,
    error::Error,
    terminal::{Mode, Open},
};

/// The program that starts a terminal unless another was asked for.
pub(super) const SH: &str = "/bin/sh";

/// The error for a session of this mode that the engine refused in these words; it is asked how the container is by now.
pub(super) async fn explained(engine: &Engine, open: &Open, mode: Option<Mode>, words: String) -> Error {
    let action = if mode == Some(Mode::Attach) { Action::Attach } else { Action::Exec };
    match engine.state(&open.cuid.to_string()).await.map(|state| state.status) {
        Ok(Status::Missing) => return Error::ContainerNotFound(open.cuid),
        Ok(status) => {
            if let Err(error) = action.check(status) {
                return error;
            }
        }
        // Then the refusal is all that is known.
        Err(_) => {}
    }
    let Some(field) = field(&words, open.shell.as_deref().unwrap_or(SH)) else { return Error::EngineRefused(words) };
    let provided = match field {
        "user" => &open.user,
        "cwd" => &open.cwd,
        _ => &open.shell,
    };
    Error::invalid("INVALID_QUERY", field, words, provided.clone().map_or(Value::Null, Value::from))
}

/// Which parameter the engine speaks of, where `program` was to be run.
pub(super) fn field(words: &str, program: &str) -> Option<&'static str> {
    let user = ["unable to find user", "unable to find group", "uids and gids must be"];
    // The runtime quotes a program that it could not find, and not one that the kernel would not take.
    let shell = [format!("exec: {program:?}"), format!("exec {program}:")];
    if user.iter().any(|beginning| words.starts_with(beginning)) {
        Some("user")
    } else if words.contains("chdir to cwd") {
        Some("cwd")
    } else if shell.iter().any(|part| words.contains(part)) {
        Some("shell")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_words_tell_what_is_wrong() {
        for (words, expected) in [
            ("unable to find user nosuch: no matching entries in passwd file", Some("user")),
            ("unable to find group x: no matching entries in group file", Some("user")),
            ("uids and gids must be in range 0-2147483647", Some("user")),
            ("OCI runtime exec failed: chdir to cwd (\"/nope\") set in config.json failed: not a directory", Some("cwd")),
            ("OCI runtime exec failed: exec: \"/bin/fish\": stat /bin/fish: no such file or directory", Some("shell")),
            ("OCI runtime exec failed: exec /bin/fish: exec format error", Some("shell")),
            ("OCI runtime exec failed: fork/exec /proc/self/exe: resource temporarily unavailable", None),
            ("OCI runtime exec failed: exec: \"/bin/other\": stat /bin/other: no such file or directory", None),
        ] {
            assert_eq!(field(words, "/bin/fish"), expected, "{words}");
        }
    }
}
