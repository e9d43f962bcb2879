//! `/containers`: create, show, change, delete.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header,
    web::{Data, Json as Answer},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    App,
    envelope::to_the_end,
    error::ApiResult,
    line::note_created,
    request::{CuidPath, Json, Query},
    shape::SpecPatch,
    terms::{IfMatch, OnTerms, etag, unconditional},
    view::{ContainerView, Read, StateView, StatusView},
};
use crate::{
    containers::{Drift, container::Container, terms::Terms},
    domain::{id::Cuid, json as document, port::PortMapping, spec::Spec},
    error::Error,
};

/// What writes a project may overwrite one that someone edited.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverwriteQuery {
    /// Write the project also where somebody edited it by hand.
    #[serde(default)]
    pub(super) overwrite: bool,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Delete also a container that runs.
    #[serde(default)]
    force: bool,
    /// Delete its volumes, too.
    #[serde(default)]
    remove_volumes: bool,
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// The answer to a deletion.
#[derive(Serialize, ToSchema)]
#[schema(as = Deleted, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "status": "deleted", "message": "The container was deleted",
}))]
pub(crate) struct DeletedView {
    cuid: Cuid,
    status: &'static str,
    message: &'static str,
}

/// What `PATCH /containers/{cuid}/ports` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object of ports")]
#[schema(example = json!({"ports": [{"container": 8000}]}))]
struct PortsPatch {
    #[schema(max_items = 100)]
    ports: Vec<PortMapping>,
}

/// Creates a container
///
/// It is created and not started. An image that is not on the host is pulled; where it can't be had, nothing is left behind.
#[utoipa::path(
    post,
    path = "/containers",
    tag = "containers",
    request_body = Spec,
    responses((
        status = 201,
        description = "The container, which is there and not started",
        body = ContainerView,
        headers(
            ("Location" = String, description = "Where it is shown"),
            ("ETag" = String, description = "The revision of its configuration, for If-Match"),
        ),
    )),
)]
pub(crate) async fn create(
    request: HttpRequest,
    app: Data<App>,
    _: Query<NoQuery>,
    terms: OnTerms,
    body: Json,
) -> ApiResult<HttpResponse> {
    unconditional(request.headers(), "a container that is yet to be made")?;
    let (spec, terms, made_by) = (Spec::from_json(&body.0)?, terms.0, request.clone());
    let creation = async move {
        let container = app.containers.create(spec, terms).await?;
        note_created(&made_by, container.record.cuid);
        Ok(container)
    };
    let container = to_the_end(&request, creation).await?;
    let location = format!("/containers/{}", container.record.cuid);
    Ok(shown(HttpResponse::Created().insert_header((header::LOCATION, location)), &container))
}

/// Shows a container
///
/// Its specification as it was asked for, and its state, from memory. While the engine is away `engine` and `age_ms` say so.
#[utoipa::path(
    get,
    path = "/containers/{cuid}",
    tag = "containers",
    responses((status = 200, description = "The container", body = Read<ContainerView>, headers(("ETag" = String, description = "The revision of its configuration, for If-Match")))),
)]
pub(crate) async fn show(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    let container = app.containers.get(path.0).await?;
    let shown = ContainerView::from(&container);
    Ok(tagged(&mut HttpResponse::Ok(), &container, &Read { shown, engine: app.containers.engine_state().into() }))
}

/// A container as a change left it.
fn shown(response: &mut HttpResponseBuilder, container: &Container) -> HttpResponse {
    tagged(response, container, &ContainerView::from(container))
}

/// An answer with the tag of the container's revision. The tag is for `If-Match` alone: the state that is shown moves without
/// it, so a GET is never answered by 304.
fn tagged(response: &mut HttpResponseBuilder, container: &Container, view: &impl Serialize) -> HttpResponse {
    response.insert_header((header::ETAG, etag(container.record.revision))).json(view)
}

/// Shows a container's state
#[utoipa::path(
    get,
    path = "/containers/{cuid}/status",
    tag = "containers",
    responses((status = 200, description = "Its state", body = Read<StatusView>)),
)]
pub(crate) async fn status(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Read<StatusView>>> {
    let container = app.containers.get(path.0).await?;
    let shown = StatusView { cuid: path.0, state: StateView::from(&*container.state) };
    Ok(Answer(Read { shown, engine: app.containers.engine_state().into() }))
}

/// Compares a container with what was asked for
///
/// What differs between its specification, its `compose.yaml`, and what the engine has.
#[utoipa::path(
    get,
    path = "/containers/{cuid}/drift",
    tag = "containers",
    responses((status = 200, description = "What differs", body = Drift)),
)]
pub(crate) async fn drift(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Drift>> {
    Ok(Answer(app.containers.drift(path.0).await?))
}

/// Changes a container's configuration
///
/// `env` and `resources` merge, and null removes a name; every other field replaces what was there. A container that runs is
/// made anew and runs again, but for a change of `resources` alone. Where the new configuration does not come up, the old one is put back.
#[utoipa::path(
    patch,
    path = "/containers/{cuid}",
    tag = "containers",
    params(OverwriteQuery, IfMatch),
    request_body = SpecPatch,
    responses((status = 200, description = "The container as it is now", body = ContainerView, headers(("ETag" = String, description = "The revision of its configuration, for If-Match")))),
)]
pub(crate) async fn patch(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<OverwriteQuery>,
    terms: OnTerms,
    body: Json,
) -> ApiResult<HttpResponse> {
    let terms = terms.overwriting(query.0.overwrite);
    let container = to_the_end(&request, async move { app.containers.patch(path.0, body.0, terms).await }).await?;
    Ok(shown(&mut HttpResponse::Ok(), &container))
}

/// Replaces a container's ports
#[utoipa::path(
    patch,
    path = "/containers/{cuid}/ports",
    tag = "containers",
    params(OverwriteQuery, IfMatch),
    request_body = PortsPatch,
    responses((status = 200, description = "The container as it is now", body = ContainerView, headers(("ETag" = String, description = "The revision of its configuration, for If-Match")))),
)]
pub(crate) async fn patch_ports(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<OverwriteQuery>,
    terms: OnTerms,
    body: Json,
) -> ApiResult<HttpResponse> {
    let PortsPatch { ports } = document::read(&body.0, |_| "INVALID_PORT")?;
    patch(request, app, path, query, terms, Json(json!({"ports": ports}))).await
}

/// Deletes a container
///
/// Its folder goes with it, and its volumes where that is asked for. One that runs is deleted only by force.
#[utoipa::path(
    delete,
    path = "/containers/{cuid}",
    tag = "containers",
    params(DeleteQuery, IfMatch),
    responses((status = 200, description = "It is gone", body = DeletedView)),
)]
pub(crate) async fn delete(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<DeleteQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<DeletedView>> {
    let DeleteQuery { force, remove_volumes } = query.0;
    let deletion = async move { deleted(&app, path.0, force, remove_volumes, terms.0).await };
    to_the_end(&request, deletion).await.map(Answer)
}

/// A deletion, and its answer.
pub(crate) async fn deleted(
    app: &App,
    cuid: Cuid,
    force: bool,
    remove_volumes: bool,
    terms: Terms,
) -> Result<DeletedView, Error> {
    app.containers.delete(cuid, force, remove_volumes, terms).await?;
    Ok(DeletedView { cuid, status: "deleted", message: "The container was deleted" })
}
