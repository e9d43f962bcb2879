//! Programs that somebody else has the engine start for us, as the docker CLI does, which keeps to itself by which id the engine knows
//! them. What it passes on is its user's detach keys: so ours are like nobody else's, and the program is known by them.

use std::collections::HashMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use uuid::Uuid;

use super::{Engine, Failure, exec::DETACH_KEYS, failed};
use crate::{
    domain::id::Cuid,
    error::{Error, Result},
};

/// Detach keys for the one program of this session, as the docker CLI's settings take them.
pub fn keys(session: Uuid) -> String {
    let digits = session.simple().to_string();
    digits.chars().fold(DETACH_KEYS.to_owned(), |keys, digit| format!("{keys},{digit}"))
}

impl Engine {
    /// Waits until a program with these detach keys is to be started in the container, and gives its id. One that was since `since`
    /// (see [`Engine::clock`]) is found, too, though it may be over.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn foreign_exec(&self, container: Cuid, keys: &str, since: Option<String>) -> Result<String> {
        let keys = BASE64_STANDARD.encode(codes(keys));
        let filters =
            [("type", "container".to_owned()), ("container", container.to_string()), ("event", "exec_create".to_owned())];
        let filters: HashMap<_, _> = filters.map(|(name, value)| (name.to_owned(), vec![value])).into();
        let mut events = self.docker()?.events(Some(EventsOptions { since, until: None, filters: Some(filters) }));
        while let Some(event) = events.next().await {
            let attributes = event.map_err(failed)?.actor.and_then(|actor| actor.attributes);
            let Some(id) = attributes.and_then(|mut attributes| attributes.remove("execID")) else { continue };
            match self.docker()?.inspect_exec(&id).await {
                Ok(exec) if exec.detach_keys.as_ref() == Some(&keys) => return Ok(id),
                Ok(_) | Err(Failure::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(failure) => return Err(failed(failure)),
            }
        }
        Err(Error::EngineUnavailable("its event stream ended".to_owned()))
    }
}

/// What the keys of [`keys`] send.
fn codes(keys: &str) -> Vec<u8> {
    let code = |key: &str| match key.strip_prefix("ctrl-").unwrap_or(key).as_bytes() {
        [code] if key.len() > 1 => Some(code & 0x1f),
        [code] => Some(*code),
        _ => None,
    };
    keys.split(',').filter_map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_session_s_own_and_begin_with_none_that_is_typed() {
        let session: Uuid = "00112233-4455-4677-8899-aabbccddeeff".parse().unwrap();
        let codes = codes(&keys(session));
        assert_eq!(codes[..4], [0x1e, 0, 0x1e, 0]);
        assert!(codes.ends_with(b"00112233445546778899aabbccddeeff"));
    }
}
