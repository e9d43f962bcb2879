//! How the description shows what is made of a specification: a container, which has more fields, and a patch, which needs none.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::view::{ContainerView, PortView, StateView};
use crate::domain::{id::Cuid, schema, spec::Spec};

/// The specification without what it needs, whose names null takes away.
pub(crate) struct SpecPatch;

impl PartialSchema for SpecPatch {
    fn schema() -> RefOr<Schema> {
        let mut patch = described::<Spec>();
        for keyword in ["required", "description"] {
            patch.as_object_mut().and_then(|patch| patch.remove(keyword));
        }
        let values = patch["properties"]["env"]["additionalProperties"].take();
        patch["properties"]["env"]["additionalProperties"] = json!({"oneOf": [{"type": "null"}, values]});
        patch["example"] = json!({"env": {"PORT": 8001, "DEBUG": null}, "resources": {"memory": "256m"}});
        schema::of(patch)
    }
}

impl ToSchema for SpecPatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Spec::schemas(schemas);
    }
}

/// The specification, which has more fields here than it takes.
impl PartialSchema for ContainerView {
    fn schema() -> RefOr<Schema> {
        let (mut container, state) = (described::<Spec>(), described::<StateView>());
        container.as_object_mut().and_then(|container| container.remove("additionalProperties"));
        let own = [
            ("cuid", json!({"$ref": "#/components/schemas/Cuid"})),
            ("created_at", json!({"type": "string", "format": "date-time"})),
            ("revision", json!({"type": "integer", "minimum": 1, "description": "It moves with the configuration."})),
            ("ports", json!({"type": "array", "items": {"$ref": "#/components/schemas/Port"}})),
        ];
        let state = state["properties"].as_object().cloned().unwrap_or_default();
        for (name, schema) in own.into_iter().map(|(name, schema)| (name.to_owned(), schema)).chain(state) {
            container["properties"][name] = schema;
        }
        container["required"] = container["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
        container["description"] = "A container: its specification as it was asked for, and its state.".into();
        container["example"] = json!({
            "cuid": "c123e4567-e89b-42d3-a456-426614174000", "image": "python:3.12-slim", "name": "web-1", "command": null,
            "env": {"PORT": "8000"}, "tags": [], "labels": {}, "resources": {"memory": "512m"},
            "ports": [{"container": 8000, "host": 32768, "protocol": "tcp"}], "volumes": [], "network": null,
            "health_check": null, "restart_policy": null, "user": null, "working_dir": null, "log": null,
            "created_at": "2024-01-20T15:30:00+01:00", "revision": 1, "status": "running",
            "started_at": "2024-01-20T15:30:02+01:00", "finished_at": null, "exit_code": null, "health": null,
            "restart_count": 0, "ip_address": "10.64.0.2",
        });
        schema::of(container)
    }
}

impl ToSchema for ContainerView {
    fn name() -> Cow<'static, str> {
        "Container".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Spec::schemas(schemas);
        StateView::schemas(schemas);
        schemas.extend([(Cuid::name().into(), Cuid::schema()), (PortView::name().into(), PortView::schema())]);
    }
}

/// A type's schema as JSON.
fn described<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}
