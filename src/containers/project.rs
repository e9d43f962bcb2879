//! A container's compose project: rendered to the disk, its image and network at hand, and the CLI's failures in the
//! domain's words.

use std::time::Duration;

use super::{Containers, on_disk};
use crate::{
    compose::{self, render},
    domain::{id::Cuid, port::PortMapping, spec::Spec, text::Image},
    error::{Error, Result},
    files::{path::RelPath, root::Mount},
};

/// The network that all containers share: a bridge on which they reach the world and not each other.
const NETWORK: &str = "berth";

/// A project of its own that makes the shared network: Compose makes networks only for services, so it has one that
/// never gets a container.
const NETWORK_PROJECT: &str = r#"services:
  none:
    image: berth-network
    pull_policy: never
    deploy: {replicas: 0}
    networks: [shared]
networks:
  shared:
    name: berth
    driver_opts: {com.docker.network.bridge.enable_icc: "false"}
"#;

impl Containers {
    /// The project as it should stand on the disk now: `boot.py` may have come or gone.
    pub(super) async fn render(&self, cuid: Cuid, spec: &Spec) -> Result<String> {
        let folder = self.0.store.folder(cuid);
        let boot = spec.command.is_none() && on_disk(move || Ok(has_boot(&folder))).await?;
        let project = render::Project { cuid, spec, boot, defaults: &self.0.defaults, network: NETWORK };
        Ok(project.render(&self.0.template))
    }

    /// Writes the project, and says whether that changed it.
    pub(super) async fn write_project(&self, cuid: Cuid, text: String) -> Result<bool> {
        let store = self.0.store.clone();
        on_disk(move || {
            let changed = store.project(cuid)?.as_ref() != Some(&text);
            if changed {
                store.write_project(cuid, &text)?;
            }
            Ok(changed)
        })
        .await
    }

    /// Runs `docker compose` in the container's folder.
    pub(super) async fn compose(&self, cuid: Cuid, command: &[&str], extra: Duration) -> Result<()> {
        let (folder, name) = (self.0.store.folder(cuid), cuid.to_string());
        self.0.compose.run(&compose::cli::Project { folder: &folder, name: &name }, command, extra).await
    }

    /// Creates or recreates the container without starting it, whose project has been written and whose image is there.
    pub(super) async fn compose_create(&self, cuid: Cuid) -> Result<()> {
        self.ensure_network().await?;
        self.compose(cuid, &["create", "--no-build", "--pull", "never"], Duration::ZERO).await
    }

    /// Creates or recreates the container, whose project has been written and whose image is there, and starts it. `grace`
    /// is how long a running one may take to stop.
    pub(super) async fn compose_up(&self, cuid: Cuid, spec: &Spec, grace: Duration) -> Result<()> {
        self.ensure_network().await?;
        let seconds = grace.as_secs().to_string();
        let command = ["up", "--detach", "--no-build", "--pull", "never", "--timeout", &seconds];
        self.compose(cuid, &command, grace).await.map_err(|error| self.port_conflict(cuid, spec, error))
    }

    /// Pulls the image where the engine does not have it.
    pub(super) async fn ensure_image(&self, image: &Image) -> Result<()> {
        if self.0.engine.image(image.as_str()).await?.is_some() {
            return Ok(());
        }
        tracing::info!(image = image.as_str(), "pulling an image");
        self.0.compose.pull_text("berth-pull", &render::image_only(image)).await.map_err(|error| match error {
            Error::ComposeFailed { stderr, .. } => {
                let reason = stderr.trim().lines().last().unwrap_or("it can't be pulled").to_owned();
                Error::ImageNotFound { image: image.as_str().to_owned(), reason }
            }
            error => error,
        })
    }

    /// Makes the shared network where it is missing.
    pub(super) async fn ensure_network(&self) -> Result<()> {
        if self.0.engine.has_network(NETWORK).await? {
            return Ok(());
        }
        let made = self.0.compose.up_text("berth-network", NETWORK_PROJECT).await;
        // Two at once: one of them fails, and the network is there.
        if made.is_err() && self.0.engine.has_network(NETWORK).await? { Ok(()) } else { made }
    }

    /// A start that failed because a port of the host is taken, told as that.
    pub(super) fn port_conflict(&self, cuid: Cuid, spec: &Spec, error: Error) -> Error {
        let Error::ComposeFailed { stderr, .. } = &error else { return error };
        match taken_port(stderr, &spec.ports) {
            Some(mapping) => Error::PortConflict {
                port: mapping.host,
                protocol: mapping.protocol.as_str(),
                holder: self.0.index.port_holder(cuid, spec, mapping.host),
            },
            None => error,
        }
    }
}

fn has_boot(folder: &std::path::Path) -> bool {
    RelPath::parse("path", "boot.py").and_then(|path| Mount::open(folder)?.open_file(&path)).is_ok()
}

/// Which of the ports the engine says is taken, as the last of these has it: `Bind for 0.0.0.0:8080 failed: port is
/// already allocated`, `listen tcp4 0.0.0.0:8080: bind: address already in use`.
fn taken_port<'a>(stderr: &str, ports: &'a [PortMapping]) -> Option<&'a PortMapping> {
    let taken = |line: &&str| line.contains("port is already allocated") || line.contains("address already in use");
    let line = stderr.lines().rfind(taken)?;
    let names = |port: u16| {
        let wanted = format!(":{port}");
        line.match_indices(&wanted).any(|(at, _)| !line[at + wanted.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    ports.iter().find(|mapping| mapping.host != 0 && names(mapping.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_words_for_a_taken_port_are_understood() {
        let ports: Vec<PortMapping> =
            serde_json::from_str(r#"[{"container":1,"host":808},{"container":80,"host":8080}]"#).unwrap();
        for line in [
            "Error response from daemon: driver failed programming external connectivity on endpoint c2 (f4f13): Bind for 127.0.0.1:8080 failed: port is already allocated",
            "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
            "failed to set up container networking: failed to bind host port for 0.0.0.0:8080/tcp: address already in use",
            "failed to bind port [::]:8080/tcp: address already in use",
        ] {
            assert_eq!(taken_port(line, &ports).map(|port| port.host), Some(8080), "{line}");
        }
        assert_eq!(taken_port("No such image: a:8080", &ports), None);
    }
}
