//! What a specification asks of this machine, checked before anything is touched: processors, log drivers, networks, and parts of
//! the host's disk. What can be seen in the specification alone is `domain::spec`'s.

use std::path::{Path, PathBuf};

use super::{Containers, on_disk};
use crate::{
    domain::{
        network::Network,
        resources::Cpus,
        spec::Spec,
        volume::{HostPath, Source},
    },
    engine::site::Site,
    error::{Error, Result},
};

impl Containers {
    /// That this machine has what the specification asks for.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::HostPathNotAllowed`], [`Error::NetworkNotFound`], and those of the engine.
    pub(super) async fn check_at_hand(&self, spec: &Spec) -> Result<()> {
        let cpus = spec.resources.cpus.or(self.0.defaults.cpus);
        if cpus.is_some() || spec.log.is_some() {
            let site = self.0.engine.site().await?;
            check_processors(cpus, &site)?;
            check_log_driver(spec, &site)?;
        }
        self.check_network(spec).await?;
        let (this, spec) = (self.clone(), spec.clone());
        on_disk(move || this.0.host_paths.resolve(spec).map(drop)).await
    }

    /// That a running container of this specification could be put back, should a change of it fail.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(super) async fn could_come_back(&self, old: &Spec) -> Result<()> {
        let (this, old) = (self.clone(), old.clone());
        let resolved = on_disk(move || Ok(this.0.host_paths.resolve(old).map(drop))).await?;
        resolved.map_err(|_| {
            let message = "volumes: the container runs with a host path that can't be mounted any more, so that it could not be put back \
                           after a failure; stop it to change it";
            Error::invalid("INVALID_VOLUME", "volumes", message, ())
        })
    }

    /// That the engine takes the options of the specification's log, whose image is there.
    ///
    /// # Errors
    /// [`Error::Invalid`], and those of the engine.
    pub(super) async fn check_log(&self, spec: &Spec) -> Result<()> {
        let Some(log) = &spec.log else { return Ok(()) };
        match self.0.engine.refuses_log(spec.image.as_str(), log).await? {
            None => Ok(()),
            Some(why) => Err(Error::invalid("INVALID_LOG", "log", format!("log: {why}"), ())),
        }
    }

    /// That there is the network that the specification names.
    ///
    /// # Errors
    /// [`Error::NetworkNotFound`], and those of the engine.
    pub(super) async fn check_network(&self, spec: &Spec) -> Result<()> {
        match &spec.network {
            Some(Network::Named(name)) if !self.0.engine.can_join(name).await? => Err(Error::NetworkNotFound(name.clone())),
            _ => Ok(()),
        }
    }
}

/// The engine refuses more processors than the machine has; that is the caller's mistake, not the project's failure.
fn check_processors(cpus: Option<Cpus>, site: &Site) -> Result<()> {
    match cpus.map(Cpus::get) {
        Some(cpus) if cpus > site.processors => {
            let message = format!("resources.cpus: the machine has {} processors", site.processors);
            Err(Error::invalid("INVALID_RESOURCES", "resources.cpus", message, cpus))
        }
        _ => Ok(()),
    }
}

fn check_log_driver(spec: &Spec, site: &Site) -> Result<()> {
    match spec.log.as_ref().map(|log| log.driver.as_str()) {
        Some(driver) if !site.log_drivers.iter().any(|there| there == driver) => {
            let message = format!("log.driver: the engine has {}", site.log_drivers.join(", "));
            Err(Error::invalid("INVALID_LOG", "log.driver", message, driver))
        }
        _ => Ok(()),
    }
}

/// Which parts of the host may be mounted.
pub(super) struct HostPaths {
    allowed: Vec<PathBuf>,
    /// The server's own folders: whoever can write to them has all containers.
    own: Vec<PathBuf>,
}

impl HostPaths {
    pub(super) fn new(allowed: Vec<PathBuf>, own: &[&Path]) -> Self {
        Self { allowed, own: own.iter().map(|path| path.to_path_buf()).collect() }
    }

    /// The specification with each host path as it is now, without links. To be called again before every use: what was a folder
    /// may be a link by then.
    ///
    /// # Errors
    /// [`Error::HostPathNotAllowed`]; [`Error::Invalid`] where there is nothing at an allowed path.
    pub(super) fn resolve(&self, mut spec: Spec) -> Result<Spec> {
        for (index, volume) in spec.volumes.iter_mut().enumerate() {
            if let Source::Host(path) = &mut volume.source {
                *path = self.resolved(path, &format!("volumes[{index}].host_path"))?;
            }
        }
        Ok(spec)
    }

    fn resolved(&self, asked: &HostPath, field: &str) -> Result<HostPath> {
        let refused = || Error::HostPathNotAllowed { field: field.to_owned(), provided: asked.as_str().to_owned() };
        let invalid = |why: &str| Error::invalid("INVALID_VOLUME", field, format!("{field}: {why}"), asked.as_str());
        let Ok(path) = Path::new(asked.as_str()).canonicalize() else {
            // Whether there is something where nothing may be mounted is not told.
            let there = Path::new(asked.as_str()).ancestors().find_map(|above| above.canonicalize().ok());
            let may_know = there.is_some_and(|above| self.allows(&above));
            return Err(if may_know { invalid("there is nothing at this path") } else { refused() });
        };
        if !self.allows(&path) {
            return Err(refused());
        }
        let text = path.into_os_string().into_string().ok();
        text.and_then(|text| HostPath::try_from(text).ok()).ok_or_else(|| invalid("it leads to a path that is not UTF-8"))
    }

    /// Whether a path without links may be mounted.
    fn allows(&self, path: &Path) -> bool {
        let below = |allowed: &PathBuf| allowed.canonicalize().is_ok_and(|allowed| path.starts_with(allowed));
        let near = |own: &PathBuf| {
            let own = own.canonicalize().unwrap_or_else(|_| own.clone());
            path.starts_with(&own) || own.starts_with(path)
        };
        self.allowed.iter().any(below) && !self.own.iter().any(near)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use serde_json::json;

    use super::*;

    fn resolve(paths: &HostPaths, path: &Path) -> Result<PathBuf> {
        let volumes = json!([{"host_path": path, "container_path": "/x"}]);
        let spec = paths.resolve(Spec::from_json(&json!({"image": "a", "volumes": volumes})).unwrap())?;
        match &spec.volumes[0].source {
            Source::Host(path) => Ok(path.as_str().into()),
            Source::Volume(_) => unreachable!(),
        }
    }

    #[test]
    fn only_what_is_really_below_an_allowed_path_can_be_mounted() {
        let world = tempfile::tempdir().unwrap();
        let at = |path: &str| world.path().canonicalize().unwrap().join(path);
        for folder in ["srv/in", "srv/data/c1", "srv/templates", "srv-not", "real"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("srv/file"), "").unwrap();
        symlink(at("srv/in"), at("srv/inside")).unwrap();
        symlink(at("srv-not"), at("srv/outside")).unwrap();
        symlink("../srv/data", at("srv/to-data")).unwrap();
        symlink(at("real"), at("allowed-link")).unwrap();
        let paths = HostPaths::new(vec![at("srv"), at("allowed-link"), at("none")], &[&at("srv/data"), &at("srv/templates")]);
        for (path, expected) in [
            ("srv/in", "srv/in"),
            ("srv/inside", "srv/in"),
            ("srv/file", "srv/file"),
            ("srv/in/../in", "srv/in"),
            ("real", "real"),
            ("allowed-link", "real"),
        ] {
            assert_eq!(resolve(&paths, &at(path)).unwrap(), at(expected), "{path}");
        }
        for path in [
            "",
            "srv",
            "srv/data",
            "srv/data/c1",
            "srv/templates",
            "srv/to-data",
            "srv-not",
            "srv/outside",
            "srv/in/../..",
            "nowhere",
            "none",
            "srv/outside/nowhere",
        ] {
            let refused = resolve(&paths, &at(path));
            assert!(
                matches!(&refused, Err(Error::HostPathNotAllowed { field, .. }) if field == "volumes[0].host_path"),
                "{path}"
            );
        }
        assert!(
            matches!(resolve(&paths, &at("srv/in/nowhere")), Err(Error::Invalid(invalid)) if invalid.code == "INVALID_VOLUME")
        );
        let nothing = HostPaths::new(Vec::new(), &[&at("srv/data")]);
        assert!(matches!(resolve(&nothing, &at("srv/in")), Err(Error::HostPathNotAllowed { .. })));
    }
}
