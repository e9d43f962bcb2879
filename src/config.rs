//! Every setting once: its name, default, what it takes, and what it is for. Read from `.env`, then from the
//! environment, which wins. Nothing else in berth reads either.

mod logs;
mod reader;
mod terminals;
mod variables;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use logs::{LogConfig, LogFormat};
use reader::Reader;
pub use terminals::{Record, TerminalConfig, Transport};
pub use variables::Variables;

use crate::domain::{
    owner::Owner,
    resources::{Cpus, Memory, Pids},
};

/// The value of `APP_PASS` in `.env.example`, with which the server refuses to start.
pub const PLACEHOLDER_PASSWORD: &str = "change-me";

/// What the server runs with.
#[derive(Clone, Debug)]
pub struct Config {
    pub user: String,
    pub password: Secret,
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub template_dir: PathBuf,
    /// Errors carry a stack trace.
    pub development: bool,
    /// Origins, besides the server's own, that a browser may send changes and open terminals from.
    pub allowed_origins: Vec<String>,
    /// Parts of the host that a container may have mounted, at or below them; empty: none.
    pub allowed_host_paths: Vec<PathBuf>,
    /// What `requirements.txt` names is installed before `boot.py` is run.
    pub install_requirements: bool,
    pub compose: ComposeConfig,
    pub defaults: Defaults,
    pub limits: Limits,
    pub terminals: TerminalConfig,
    /// Where the engine listens, as the docker CLI takes it.
    pub docker_host: String,
    pub logs: LogConfig,
}

/// How `docker compose` is run.
#[derive(Clone, Debug)]
pub struct ComposeConfig {
    /// The program; `None` looks for the plugin's own binary, then takes `docker compose`.
    pub program: Option<PathBuf>,
    pub timeout: Duration,
    pub pull_timeout: Duration,
    /// How many may run at once.
    pub concurrency: usize,
    /// The part of the environment that the CLI needs to reach the engine and registries; it gets nothing else.
    pub environment: Vec<(String, String)>,
}

/// What a container gets where its specification is silent.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The user of the main process and the owner of the mount's files.
    pub owner: Owner,
    pub cpus: Option<Cpus>,
    pub memory: Option<Memory>,
    pub pids: Option<Pids>,
    /// How many containers at most have their places on one shared network.
    pub network_containers: usize,
}

/// Bounds on uploads, and on what is kept of them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of an uploaded archive as sent.
    pub upload_bytes: u64,
    pub extracted: crate::files::archive::Limits,
    /// How many deploys of a container can be gone back to, the current one among them.
    pub keep_deploys: usize,
}

/// A value that no log shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The one line that a start ends with when a setting can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{name} is not set: {takes}")]
    Missing { name: &'static str, takes: &'static str },
    #[error("{name}={value:?} can't be used: it takes {takes}")]
    Unusable { name: &'static str, value: String, takes: &'static str },
    #[error("APP_PASS is still the placeholder of .env.example: set a password of your own")]
    Placeholder,
    #[error("{0}")]
    DotEnv(String),
}

impl ConfigError {
    /// The setting that it is about; `None` where that is the whole of `.env`.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Missing { name, .. } | Self::Unusable { name, .. } => Some(name),
            Self::Placeholder => Some("APP_PASS"),
            Self::DotEnv(_) => None,
        }
    }
}

/// The variables of the environment that the docker CLI and its compose plugin read to find the engine, registries and
/// their credentials.
const CLI_VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "DOCKER_CONFIG",
    "DOCKER_API_VERSION",
    "SSL_CERT_FILE",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

impl Config {
    /// Reads every setting through `lookup`, which is given its name and default; a value of nothing but spaces is as
    /// good as none.
    ///
    /// # Errors
    /// The first setting that can't be used.
    pub fn from_lookup(lookup: impl Fn(&'static str, &'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let read = Reader { lookup: &lookup };
        let password = read.required("APP_PASS", "it is the password that clients send")?;
        if password == PLACEHOLDER_PASSWORD {
            return Err(ConfigError::Placeholder);
        }
        Ok(Self {
            user: read.user()?,
            password: Secret(password),
            listen: SocketAddr::new(
                read.parsed::<IpAddr>("HOST", "0.0.0.0", "an IP address to listen on")?,
                read.parsed("PORT", "8080", "a port from 0 to 65535 (0: any free one)")?,
            ),
            data_dir: read.text("DATA_DIR", "./data").into(),
            template_dir: read.text("TEMPLATE_DIR", "./templates").into(),
            development: read.with("APP_ENV", "production", "production or development", |word| match word {
                "production" => Some(false),
                "development" => Some(true),
                _ => None,
            })?,
            allowed_origins: read.with(
                "ALLOWED_ORIGINS",
                "",
                "origins such as https://panel.example.org, with commas",
                origins,
            )?,
            allowed_host_paths: read.with("ALLOWED_HOST_PATHS", "", "absolute paths, with commas", host_paths)?,
            install_requirements: read.with("INSTALL_REQUIREMENTS", "off", "on or off", |word| match word {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            })?,
            compose: read.compose()?,
            defaults: read.defaults()?,
            limits: read.limits()?,
            terminals: read.terminals()?,
            docker_host: read.docker_host()?,
            logs: read.logs()?,
        })
    }
}

impl Reader<'_> {
    fn user(&self) -> Result<String, ConfigError> {
        let (name, takes) = ("APP_USER", "a user name without a colon, which ends it in HTTP Basic");
        let value = self.required(name, "it is the user name that clients send")?;
        if value.contains(':') { Err(ConfigError::Unusable { name, value, takes }) } else { Ok(value) }
    }

    fn compose(&self) -> Result<ComposeConfig, ConfigError> {
        let seconds = |value: &str| value.parse().ok().filter(|s| (1..=86_400).contains(s)).map(Duration::from_secs);
        let program = |value: &str| std::fs::canonicalize(value).ok().filter(|path| path.is_file());
        let mut environment: Vec<(String, String)> =
            CLI_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), (self.lookup)(name, "")?))).collect();
        // The CLI is to talk to the engine that is watched, and not to one of its own contexts.
        environment.push(("DOCKER_HOST".to_owned(), self.docker_host()?));
        Ok(ComposeConfig {
            program: self.optional("COMPOSE_BIN", "the path of a program", program)?,
            timeout: self.with("COMPOSE_TIMEOUT_S", "30", "seconds from 1 to 86400", seconds)?,
            pull_timeout: self.with("PULL_TIMEOUT_S", "600", "seconds from 1 to 86400", seconds)?,
            concurrency: self.with("COMPOSE_CONCURRENCY", "4", "a count from 1 to 256", |value| {
                value.parse().ok().filter(|count| (1..=256).contains(count))
            })?,
            environment,
        })
    }

    fn docker_host(&self) -> Result<String, ConfigError> {
        if let Some(value) = self.given("DOCKER_TLS_VERIFY", "") {
            let takes = "nothing: reach an engine behind TLS through a local socket, such as one forwarded by ssh";
            return Err(ConfigError::Unusable { name: "DOCKER_TLS_VERIFY", value, takes });
        }
        self.with("DOCKER_HOST", "unix:///var/run/docker.sock", "unix:///a/socket or tcp://host:port", |value| {
            (value.starts_with("unix:///") || value.starts_with("tcp://")).then(|| value.to_owned())
        })
    }

    fn defaults(&self) -> Result<Defaults, ConfigError> {
        Ok(Defaults {
            owner: self.parsed("DEFAULT_USER_UID", "1000:1000", "a numeric uid:gid such as 1000:1000")?,
            cpus: self.optional("DEFAULT_CPUS", "a number of processors such as 0.5", |value| {
                Cpus::try_from(value.parse::<f64>().ok()?).ok()
            })?,
            memory: self.optional("DEFAULT_MEMORY", "a size such as 512m", |value| Memory::try_from(value.to_owned()).ok())?,
            pids: self.optional("DEFAULT_PIDS", "a count from 1", |value| Pids::try_from(value.parse::<i64>().ok()?).ok())?,
            // A bridge of Linux has 1,024 ports.
            network_containers: self.with("NETWORK_CONTAINERS", "1000", "a count from 1 to 1000", |value| {
                value.parse().ok().filter(|count| (1..=1000).contains(count))
            })?,
        })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let count = |value: &str| value.parse().ok().filter(|count| *count > 0);
        Ok(Limits {
            upload_bytes: self.with("MAX_UPLOAD_BYTES", "2147483648", "a number of bytes from 1", count)?,
            extracted: crate::files::archive::Limits {
                extracted_bytes: self.with("MAX_EXTRACTED_BYTES", "8589934592", "a number of bytes from 1", count)?,
                extracted_files: self.with("MAX_EXTRACTED_FILES", "200000", "a number of files from 1", count)?,
            },
            keep_deploys: self.with("KEEP_DEPLOYS", "5", "a number of deploys from 0 to 1000", |value| {
                value.parse().ok().filter(|count| *count <= 1000)
            })?,
        })
    }
}

fn origins(list: &str) -> Option<Vec<String>> {
    let one = |origin: &str| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
        (!host.is_empty() && !host.contains('/')).then(|| origin.to_ascii_lowercase())
    };
    list.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(one).collect()
}

fn host_paths(list: &str) -> Option<Vec<PathBuf>> {
    let one = |path: &str| path.starts_with('/').then(|| PathBuf::from(path));
    list.split(',').map(str::trim).filter(|path| !path.is_empty()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn with<const N: usize>(set: [(&'static str, &str); N]) -> Result<Config, ConfigError> {
        let mut all = HashMap::from([("APP_USER", "admin"), ("APP_PASS", "secret")]);
        all.extend(set);
        Config::from_lookup(|name, _| all.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn an_unusable_setting_is_told_in_a_line_with_its_name_value_and_what_it_takes() {
        for (name, value) in [
            ("PORT", "http"),
            ("HOST", "localhost:80"),
            ("APP_ENV", "test"),
            ("COMPOSE_TIMEOUT_S", "0"),
            ("COMPOSE_CONCURRENCY", "many"),
            ("DEFAULT_USER_UID", "root"),
            ("DEFAULT_CPUS", "0"),
            ("DEFAULT_MEMORY", "lots"),
            ("DEFAULT_PIDS", "-1"),
            ("NETWORK_CONTAINERS", "1001"),
            ("MAX_UPLOAD_BYTES", "2G"),
            ("ALLOWED_ORIGINS", "panel.example.org"),
            ("ALLOWED_HOST_PATHS", "/srv,media"),
            ("APP_USER", "a:b"),
            ("COMPOSE_BIN", "/no/such"),
            ("MAX_EXTRACTED_FILES", "0"),
            ("KEEP_DEPLOYS", "all"),
            ("DOCKER_HOST", "ssh://host"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DEFAULT_USER_UID", "4294967295:0"),
            ("TERMINAL_TRANSPORT", "ssh"),
            ("SESSION_GRACE_S", "-1"),
            ("MAX_SESSIONS", "0"),
            ("RECORD_TERMINALS", "on"),
            ("INSTALL_REQUIREMENTS", "yes"),
            ("LOG_FORMAT", "xml"),
            ("RUST_LOG", "a=b=c"),
            ("ACTION_LOG_BYTES", "1"),
            ("ACTION_LOG_FILES", "0"),
        ] {
            let line = with([(name, value)]).unwrap_err().to_string();
            assert!(line.starts_with(&format!("{name}={value:?} can't be used: it takes ")) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_missing_or_placeholder_password_stops_the_start_and_is_not_shown() {
        assert!(with([("APP_PASS", " ")]).unwrap_err().to_string().starts_with("APP_PASS is not set"));
        assert!(with([("APP_USER", "")]).unwrap_err().to_string().starts_with("APP_USER is not set"));
        assert!(with([("APP_PASS", PLACEHOLDER_PASSWORD)]).unwrap_err().to_string().contains("placeholder"));
        assert!(!format!("{:?}", with([]).unwrap()).contains("secret\""));
    }

    /// `.env.example` shows every setting with its default, and no other.
    #[test]
    fn the_example_file_shows_every_setting_with_its_default() {
        let asked = std::cell::RefCell::new(std::collections::BTreeMap::new());
        Config::from_lookup(|name, default| {
            let mut asked = asked.borrow_mut();
            asked.insert(name, default);
            matches!(name, "APP_USER" | "APP_PASS").then(|| "x".to_owned())
        })
        .unwrap();
        let mut asked = asked.into_inner();
        asked.retain(|name, _| !CLI_VARIABLES.contains(name) && *name != "DOCKER_TLS_VERIFY");
        asked.extend([("APP_USER", "admin"), ("APP_PASS", PLACEHOLDER_PASSWORD)]);
        let example = include_str!("../.env.example");
        let shown: std::collections::BTreeMap<_, _> = example
            .lines()
            .map(|line| line.trim_start_matches('#'))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
            .filter_map(|line| line.split_once('='))
            .collect();
        assert_eq!(shown, asked);
    }
}
