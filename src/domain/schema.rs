//! What a type takes, in JSON Schema, where a derive can't tell it.

use serde_json::Value;
use utoipa::openapi::{
    RefOr, Schema,
    extensions::Extensions,
    schema::{Object, SchemaType},
};

/// A piece of the API's description from its JSON. What is no object describes anything.
pub fn of(schema: Value) -> RefOr<Schema> {
    let Value::Object(keywords) = schema else { return RefOr::T(Schema::Object(Object::with_type(SchemaType::AnyValue))) };
    let mut object = Object::with_type(SchemaType::AnyValue);
    // The builder of extensions would put an `x-` before each, which these are not.
    object.extensions = Some(Extensions::from_iter(keywords));
    RefOr::T(Schema::Object(object))
}

/// Describes types by their JSON Schemas, under their own names.
macro_rules! described {
    ($($name:ident: $schema:tt)+) => {$(
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::domain::schema::of(serde_json::json!($schema))
            }
        }
        impl utoipa::ToSchema for $name {}
    )+};
}
pub(crate) use described;
