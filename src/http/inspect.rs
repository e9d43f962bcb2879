//! `/containers/{cuid}/inspect`: what the engine has to say of a container, in its own words.

use actix_web::{HttpResponse, web::Data};

use super::{
    App,
    containers::NoQuery,
    error::ApiResult,
    request::{CuidPath, Query},
};
use crate::error::Error;

/// The engine's own document of a container
///
/// As `docker inspect` shows it, environment included. One that the engine has lost is 404 `CONTAINER_MISSING`.
#[utoipa::path(
    get,
    path = "/containers/{cuid}/inspect",
    tag = "live",
    params(("cuid" = String, Path)),
    responses((status = 200, description = "the document", body = Object, content_type = "application/json", example = json!({"Id": "4fa6e0f0c678", "Name": "/c123e4567-e89b-42d3-a456-426614174000", "State": {"Status": "running"}})))
)]
pub(crate) async fn show(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    app.containers.get(path.0).await?;
    let document = app.engine.document(&path.0.to_string()).await?.ok_or(Error::ContainerMissing(path.0))?;
    Ok(HttpResponse::Ok().content_type("application/json").body(document))
}
