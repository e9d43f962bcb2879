//! How answers show a container: its specification as it was asked for, its state, and its ports as they really are.

use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, FixedOffset, Local};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use crate::{
    containers::{EngineState, container::Container},
    domain::{
        id::Cuid,
        port::{PortMapping, Protocol},
        status::Status,
    },
    engine::state::{Published, State},
};

/// A container as every answer shows it: its specification as it was asked for, and its state.
#[derive(Serialize)]
pub(crate) struct ContainerView {
    cuid: Cuid,
    #[serde(flatten)]
    spec: SpecView,
    created_at: DateTime<Local>,
    revision: u64,
    #[serde(flatten)]
    state: StateView,
}

#[derive(Serialize)]
struct SpecView {
    #[serde(flatten)]
    spec: Value,
    ports: Vec<PortView>,
}

/// What `status` answers, and part of every container.
#[derive(Serialize, ToSchema)]
#[schema(as = State)]
pub(crate) struct StateView {
    status: Status,
    started_at: Option<DateTime<FixedOffset>>,
    finished_at: Option<DateTime<FixedOffset>>,
    exit_code: Option<i64>,
    /// Docker's word for what its health check says; null without one.
    #[schema(example = "healthy")]
    health: Option<String>,
    restart_count: i64,
    ip_address: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ContainerStatus, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "status": "running", "started_at": "2024-01-20T15:30:02+01:00", "finished_at": null,
    "exit_code": null, "health": null, "restart_count": 0, "ip_address": "10.64.0.2",
}))]
pub(crate) struct StatusView {
    pub(crate) cuid: Cuid,
    #[serde(flatten)]
    pub(crate) state: StateView,
}

/// Where the engine went away: that it did, and how long ago it said what an answer shows. Else nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = Engine)]
pub(crate) struct EngineView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "unavailable")]
    engine: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
}

/// An answer of a read: what it shows, and how much that can be relied on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Read<T> {
    #[serde(flatten)]
    pub(crate) shown: T,
    #[serde(flatten)]
    pub(crate) engine: EngineView,
}

/// A published port; where the engine picks the host's, it is known while the container runs.
#[derive(Serialize, ToSchema)]
#[schema(as = Port)]
pub(super) struct PortView {
    container: u16,
    host: Option<u16>,
    protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    host_ip: Option<IpAddr>,
}

/// A container as lists show it, which is written once and not for every list.
pub(crate) fn written(container: &Container) -> &RawValue {
    container.written(|container| serde_json::value::to_raw_value(&ContainerView::from(container)).unwrap_or_default())
}

impl From<EngineState> for EngineView {
    fn from(state: EngineState) -> Self {
        let age_ms = state.age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Self { engine: age_ms.map(|_| "unavailable"), age_ms }
    }
}

impl From<&Container> for ContainerView {
    fn from(container: &Container) -> Self {
        let record = &container.record;
        let mut spec = serde_json::to_value(&record.spec).unwrap_or_default();
        spec.as_object_mut().and_then(|fields| fields.remove("ports"));
        Self {
            cuid: record.cuid,
            spec: SpecView { spec, ports: ports(&record.spec.ports, &container.state) },
            created_at: record.created_at,
            revision: record.revision,
            state: StateView::from(&*container.state),
        }
    }
}

impl From<&State> for StateView {
    fn from(state: &State) -> Self {
        Self {
            status: state.status,
            started_at: state.started_at,
            finished_at: state.finished_at,
            exit_code: state.exit_code,
            health: state.health.clone(),
            restart_count: state.restart_count,
            ip_address: state.ip_address.clone(),
        }
    }
}

/// The ports as they were asked for, each that the engine picks with what it picked.
fn ports(asked: &[PortMapping], state: &State) -> Vec<PortView> {
    let asked_by_number =
        |published: &Published| asked.iter().any(|mapping| mapping.host == published.host && serves(published, mapping));
    let mut picked: Vec<&Published> = state.published.iter().filter(|published| !asked_by_number(published)).collect();
    let mut host_of = |mapping: &PortMapping| {
        let at = picked.iter().position(|published| serves(published, mapping))?;
        let host = picked[at].host;
        // Both addresses of one publication, the old kind and the new.
        picked.retain(|published| published.host != host);
        Some(host)
    };
    let view = |mapping: &PortMapping| PortView {
        container: mapping.container.get(),
        host: if mapping.host == 0 { host_of(mapping) } else { Some(mapping.host) },
        protocol: mapping.protocol,
        host_ip: mapping.host_ip,
    };
    asked.iter().map(view).collect()
}

/// Whether a published port can be what the mapping asks for.
fn serves(published: &Published, mapping: &PortMapping) -> bool {
    let address = published.host_ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let address_fits = mapping.host_ip.map_or(address.is_unspecified(), |wanted| wanted == address);
    address_fits && published.container == mapping.container.get() && published.protocol == mapping.protocol.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picked_port_is_shown_at_its_own_mapping() {
        let asked: Vec<PortMapping> = serde_json::from_str(
            r#"[{"container":80},{"container":80,"host":18183},{"container":80,"host_ip":"127.0.0.1"},{"container":80,"protocol":"udp"}]"#,
        )
        .unwrap();
        let published = |host_ip: &str, host, protocol: &str| Published {
            container: 80,
            protocol: protocol.into(),
            host_ip: host_ip.into(),
            host,
        };
        let state = State {
            published: vec![
                published("0.0.0.0", 18183, "tcp"),
                published("::", 18183, "tcp"),
                published("0.0.0.0", 32773, "tcp"),
                published("::", 32773, "tcp"),
                published("127.0.0.1", 32772, "tcp"),
                published("0.0.0.0", 32774, "udp"),
            ],
            ..State::default()
        };
        let shown: Vec<Option<u16>> = ports(&asked, &state).iter().map(|view| view.host).collect();
        assert_eq!(shown, [Some(32773), Some(18183), Some(32772), Some(32774)]);
        assert!(ports(&asked, &State::default()).iter().filter(|view| view.host.is_some()).count() == 1);
    }
}
