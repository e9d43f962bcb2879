//! The description of the API, made of the handlers' own annotations and types.

use actix_web::{HttpResponse, web::Data};
use utoipa::OpenApi;

use super::{
    App, actions, containers::NoQuery, error::ApiResult, events, exec, health, inspect, logs, metrics, request::Query, stats,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "berth"),
    paths(
        actions::list,
        health::show,
        health::alive,
        metrics::show,
        events::follow,
        show,
        logs::show,
        exec::run,
        stats::show,
        stats::all,
        inspect::show
    )
)]
struct Description;

/// `GET /openapi.json`
#[utoipa::path(get, path = "/openapi.json", tag = "server", responses((status = 200, description = "this description", content_type = "application/json")))]
pub(crate) async fn show(_: Data<App>, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(Description::openapi()))
}
