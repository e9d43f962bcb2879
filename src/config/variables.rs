//! Where settings come from: `.env` in the working directory, and the environment, which wins.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError, reader::Reader};

/// What names in a `.env` begin with that are there for other programs.
const OTHERS: [&str; 3] = ["COMPOSE_", "DOCKER_", "RUST_"];

/// All variables, and which of them `.env` names.
#[derive(Debug)]
pub struct Variables {
    all: HashMap<String, String>,
    in_file: Vec<String>,
}

impl Variables {
    /// Reads `.env`, if there is one, and the environment.
    ///
    /// # Errors
    /// A `.env` that can't be read.
    #[expect(clippy::disallowed_methods, reason = "this file owns the environment")]
    pub fn load() -> Result<Self, ConfigError> {
        let mut all = HashMap::new();
        match dotenvy::from_path_iter(Path::new(".env")) {
            Ok(lines) => {
                for line in lines {
                    all.extend([line.map_err(|error| ConfigError::DotEnv(unreadable(&error)))?]);
                }
            }
            Err(dotenvy::Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => (),
            Err(error) => return Err(ConfigError::DotEnv(unreadable(&error))),
        }
        let in_file = all.keys().cloned().collect();
        // What is not UTF-8 is none of ours.
        all.extend(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))));
        Ok(Self { all, in_file })
    }

    /// What is set under a name.
    pub fn get(&self, name: &str) -> Option<String> {
        self.all.get(name).cloned()
    }

    /// `LOG_DIR`, which needs no other setting.
    pub fn log_dir(&self) -> PathBuf {
        Reader { lookup: &|name, _| self.get(name) }.log_dir()
    }

    /// Every setting, with defaults in the place of those that can't be used; and what is wrong with these. Without defaults of their
    /// own, the user and the password are empty then.
    pub fn survey(&self) -> (Option<Config>, Vec<ConfigError>) {
        let mut wrong: Vec<ConfigError> = Vec::new();
        loop {
            let read = Config::from_lookup(|name, default| {
                let is_wrong = wrong.iter().any(|error| error.name() == Some(name));
                let stand_in = if default.is_empty() { "-" } else { default };
                match name {
                    "APP_USER" | "APP_PASS" if is_wrong => Some(stand_in.to_owned()),
                    _ => self.get(name).filter(|_| !is_wrong),
                }
            });
            match read {
                Ok(config) => return (Some(config), wrong),
                Err(error) if error.name().is_none() || wrong.iter().any(|known| known.name() == error.name()) => {
                    wrong.push(error);
                    return (None, wrong);
                }
                Err(error) => wrong.push(error),
            }
        }
    }

    /// What `.env` names and nobody reads: most likely a slip.
    pub fn unknown(&self) -> Vec<&str> {
        let asked = RefCell::new(Vec::new());
        let _ = Config::from_lookup(|name, _| {
            asked.borrow_mut().push(name);
            matches!(name, "APP_USER" | "APP_PASS").then(|| "-".to_owned())
        });
        let asked = asked.into_inner();
        let is_known = |name: &str| asked.contains(&name) || OTHERS.iter().any(|start| name.starts_with(start));
        let mut unknown: Vec<&str> = self.in_file.iter().map(String::as_str).filter(|name| !is_known(name)).collect();
        unknown.sort_unstable();
        unknown
    }
}

/// What is wrong with `.env`, without repeating a line of it: it may be the password's.
fn unreadable(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let name = line.split('=').next().unwrap_or_default().trim();
            format!(".env can't be read: put the value of {name} in 'single quotes'")
        }
        error => format!(".env can't be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<const N: usize>(set: [(&str, &str); N]) -> Variables {
        let all: HashMap<_, _> = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Variables { in_file: all.keys().cloned().collect(), all }
    }

    #[test]
    fn every_setting_that_can_t_be_used_is_told_at_once() {
        let (config, wrong) =
            variables([("PORT", "http"), ("APP_PASS", "change-me"), ("KEEP_DEPLOYS", "all"), ("HOST", "127.0.0.1")]).survey();
        let mut names: Vec<_> = wrong.iter().filter_map(ConfigError::name).collect();
        names.sort_unstable();
        assert_eq!(names, ["APP_PASS", "APP_USER", "KEEP_DEPLOYS", "PORT"]);
        assert_eq!(config.unwrap().listen.to_string(), "127.0.0.1:8080");
        let (config, wrong) = variables([("APP_PASS", "x"), ("APP_USER", "y")]).survey();
        assert!(config.is_some() && wrong.is_empty());
    }

    #[test]
    fn a_slip_in_a_name_is_noticed() {
        let variables =
            variables([("PROT", "80"), ("PORT", "80"), ("COMPOSE_PROJECT_NAME", "x"), ("APP_USERNAME", "x"), ("HOME", "/")]);
        assert_eq!(variables.unknown(), ["APP_USERNAME", "PROT"]);
    }
}
