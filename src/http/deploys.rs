//! Deploys: an archive into a container's mount, what was deployed, and going back.

use std::num::NonZeroU64;

use actix_web::{
    HttpRequest,
    web::{Data, Json as Answer, Payload},
};
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    App,
    containers::NoQuery,
    envelope::to_the_end,
    error::ApiResult,
    files::MountPath,
    lifecycle::grace,
    request::{CuidPath, Json, Query},
    terms::{IfMatch, OnTerms},
    uploads::{self, Archive, ArchiveForm},
};
use crate::{
    containers::{Deployed, Restart},
    domain::{id::Cuid, json as document, schema::described},
    error::{Error, Result},
    files::{
        deploy::{self, Deploy, History, Mode},
        path::RelPath,
    },
};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// The folder that it goes to; the mount itself where nothing is said.
    #[serde(default)]
    #[param(value_type = Option<MountPath>, inline, example = "static")]
    path: String,
    /// What becomes of files that the archive does not name: `merge`, which is also the default, lets them stay; `replace`
    /// does not.
    #[param(value_type = Option<Mode>, inline)]
    mode: Option<String>,
    /// Stop the container before, and start it afterwards; where it does not come up, what was before is put back.
    #[serde(default)]
    restart: bool,
    /// With `restart`: until the container's health check says that it is healthy.
    #[param(value_type = Option<Wait>, inline)]
    wait: Option<String>,
    /// With `restart`: seconds that the container may take to stop before it is killed; 10 where nothing is said.
    #[param(minimum = 0, maximum = 3600)]
    timeout: Option<u64>,
    /// With `restart`: write the project also where somebody edited it by hand.
    #[serde(default)]
    overwrite: bool,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RollbackQuery {
    /// Stop the container before, and start it afterwards; where it does not come up, what was before is put back.
    #[serde(default)]
    restart: bool,
    /// With `restart`: until the container's health check says that it is healthy.
    #[param(value_type = Option<Wait>, inline)]
    wait: Option<String>,
    /// With `restart`: seconds that the container may take to stop before it is killed; 10 where nothing is said.
    #[param(minimum = 0, maximum = 3600)]
    timeout: Option<u64>,
    /// With `restart`: write the project also where somebody edited it by hand.
    #[serde(default)]
    overwrite: bool,
}

/// What a restart may wait for.
struct Wait;

described! {
    Wait: {"type": "string", "enum": ["healthy"]}
}

/// Which deploy is gone back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object of deploy")]
#[schema(example = json!({"deploy": 1}))]
struct Rollback {
    /// Its number, from 1.
    #[schema(value_type = u64, minimum = 1)]
    deploy: NonZeroU64,
}

/// What came of a deploy.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployed, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "deploy": 1, "files": 3, "bytes": 2048, "mode": "merge",
    "restarted": false, "message": "The archive was unpacked",
}))]
pub(crate) struct DeployedView {
    cuid: Cuid,
    /// Its number.
    deploy: u64,
    /// Files and links that were unpacked.
    files: u64,
    bytes: u64,
    mode: Mode,
    restarted: bool,
    message: &'static str,
}

/// The deploys that are known, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Deploys, example = json!({"cuid": "c123e4567-e89b-42d3-a456-426614174000", "current": 1, "deploys": [{
    "deploy": 1, "at": "2024-01-20T15:30:00.000+01:00", "mode": "merge", "path": "", "files": 3, "bytes": 2048,
    "archive_bytes": 1024, "current": true, "kept": true,
}]}))]
pub(crate) struct DeploysView {
    cuid: Cuid,
    /// The one that the mount has; null where there is none.
    current: Option<u64>,
    deploys: Vec<DeployView>,
}

/// A deploy as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Deploy)]
struct DeployView {
    deploy: u64,
    #[schema(format = DateTime)]
    at: String,
    mode: Mode,
    /// The folder of the mount that it went to; empty for the mount itself.
    path: String,
    files: u64,
    bytes: u64,
    /// The archive's own size.
    archive_bytes: u64,
    /// Whether the mount has it now.
    current: bool,
    /// Whether it can be gone back to.
    kept: bool,
}

/// Unpacks an archive into a container's mount
///
/// Whole or not at all. The body is the zip itself, or a multipart form with one file.
#[utoipa::path(
    post,
    path = "/containers/{cuid}/upload-zip",
    tag = "deploys",
    params(UploadQuery, IfMatch),
    request_body(content(
        (Archive = "application/zip"),
        (ArchiveForm = "multipart/form-data"),
    )),
    responses((status = 200, description = "It is unpacked, and with restart=true the container is up", body = DeployedView)),
)]
pub(crate) async fn upload_zip(
    app: Data<App>,
    path: CuidPath,
    query: Query<UploadQuery>,
    terms: OnTerms,
    request: HttpRequest,
    body: Payload,
) -> ApiResult<Answer<DeployedView>> {
    let UploadQuery { path: to, mode, restart, wait, timeout, overwrite } = query.0;
    let (to, mode) = (RelPath::parse("path", &to)?, mode_of(mode.as_deref())?);
    let restart = restart_of(restart, wait.as_deref(), timeout, overwrite)?;
    let place = deploy::place(&app.containers.folder(path.0)?);
    let upload = uploads::archive(&request, body, &place, app.upload_bytes).await?;
    let terms = terms.overwriting(overwrite);
    let answer = async move {
        let done = app.containers.deploy(path.0, upload, to, mode, restart, terms).await?;
        Ok(described(path.0, &done, restart, "The archive was unpacked"))
    };
    Ok(Answer(to_the_end(&request, answer).await?))
}

/// Lists a container's deploys, the newest first
#[utoipa::path(
    get,
    path = "/containers/{cuid}/deploys",
    tag = "deploys",
    responses((status = 200, description = "Those that are known", body = DeploysView)),
)]
pub(crate) async fn list(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<DeploysView>> {
    let history = app.containers.deploys(path.0).await?;
    let deploys = history.deploys.iter().rev().map(|deploy| DeployView::new(deploy, &history)).collect();
    Ok(Answer(DeploysView { cuid: path.0, current: history.current, deploys }))
}

/// Goes back to a deploy
#[utoipa::path(
    post,
    path = "/containers/{cuid}/rollback",
    tag = "deploys",
    params(RollbackQuery, IfMatch),
    request_body = Rollback,
    responses((status = 200, description = "The mount is as it was after that deploy", body = DeployedView)),
)]
pub(crate) async fn rollback(
    app: Data<App>,
    path: CuidPath,
    query: Query<RollbackQuery>,
    terms: OnTerms,
    request: HttpRequest,
    body: Json,
) -> ApiResult<Answer<DeployedView>> {
    let RollbackQuery { restart, wait, timeout, overwrite } = query.0;
    let restart = restart_of(restart, wait.as_deref(), timeout, overwrite)?;
    let Rollback { deploy } = document::read(&body.0, |_| "INVALID_DEPLOY")?;
    let terms = terms.overwriting(overwrite);
    let answer = async move {
        let done = app.containers.rollback(path.0, deploy.get(), restart, terms).await?;
        Ok(described(path.0, &done, restart, "The deploy was put back"))
    };
    Ok(Answer(to_the_end(&request, answer).await?))
}

impl DeployView {
    fn new(deploy: &Deploy, history: &History) -> Self {
        Self {
            deploy: deploy.number,
            at: deploy.at.to_rfc3339_opts(SecondsFormat::Millis, false),
            mode: deploy.mode,
            path: deploy.path.clone(),
            files: deploy.files,
            bytes: deploy.bytes,
            archive_bytes: deploy.archive_bytes,
            current: history.current == Some(deploy.number),
            kept: deploy.is_kept(),
        }
    }
}

fn described(cuid: Cuid, done: &Deployed, restart: Option<Restart>, message: &'static str) -> DeployedView {
    let Deployed { deploy, unpacked } = done;
    DeployedView {
        cuid,
        deploy: deploy.number,
        files: unpacked.files,
        bytes: unpacked.bytes,
        mode: deploy.mode,
        restarted: restart.is_some(),
        message,
    }
}

fn mode_of(mode: Option<&str>) -> Result<Mode> {
    match mode {
        None | Some("merge") => Ok(Mode::Merge),
        Some("replace") => Ok(Mode::Replace),
        Some(other) => Err(Error::invalid("INVALID_QUERY", "mode", "mode is merge or replace", other)),
    }
}

/// What the query says of a restart. What means something only with one is refused without, as it would not be done.
fn restart_of(restart: bool, wait: Option<&str>, timeout: Option<u64>, overwrite: bool) -> Result<Option<Restart>> {
    if let Some(other) = wait.filter(|wait| *wait != "healthy") {
        return Err(Error::invalid("INVALID_QUERY", "wait", "wait can only be healthy", other));
    }
    let given = [("wait", wait.is_some()), ("timeout", timeout.is_some()), ("overwrite", overwrite)];
    match given.into_iter().find(|(_, given)| *given) {
        Some((field, _)) if !restart => {
            Err(Error::invalid("INVALID_QUERY", field, format!("{field} needs restart=true"), Value::Null))
        }
        _ if !restart => Ok(None),
        _ => Ok(Some(Restart { grace: grace(timeout, "INVALID_QUERY")?, wait: wait.is_some() })),
    }
}
