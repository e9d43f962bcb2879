//! The networks that containers share: bridges on which they reach the world and not each other. A bridge of Linux has 1,024
//! ports, and each container that runs takes one, so there is another network for every so many containers. A network a
//! container would end at some 30, with the engine's own address pools.

use std::time::Duration;

use super::Containers;
use crate::{
    domain::{id::Cuid, spec::Spec},
    error::Result,
};

/// Which of the shared networks a container is on: the first is 0.
pub(super) type SharedNetwork = u16;

/// What the engine knows a shared network by.
pub(super) fn name(network: SharedNetwork) -> String {
    if network == 0 { "berth".to_owned() } else { format!("berth-{}", network + 1) }
}

/// A project of its own that makes a shared network: Compose makes networks only for services, so it has one that never
/// gets a container.
fn project(name: &str) -> String {
    format!(
        r#"services:
  none:
    image: berth-network
    pull_policy: never
    deploy: {{replicas: 0}}
    networks: [shared]
networks:
  shared:
    name: {name}
    driver_opts: {{com.docker.network.bridge.enable_icc: "false"}}
"#
    )
}

impl Containers {
    /// That the container's network is there; a shared one is made where it is missing.
    pub(super) async fn ensure_network(&self, cuid: Cuid, spec: &Spec) -> Result<()> {
        if spec.network.is_some() {
            return self.check_network(spec).await;
        }
        let name = name(self.0.index.shared_network(cuid));
        if self.0.engine.has_network(&name).await? {
            return Ok(());
        }
        let made =
            self.0.compose.run_text(&format!("{name}-network"), &project(&name), &["up", "--detach"], Duration::ZERO).await;
        // Two at once: one of them fails, and the network is there.
        if made.is_err() && self.0.engine.has_network(&name).await? { Ok(()) } else { made }
    }
}
