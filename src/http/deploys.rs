//! Deploys: an archive into a container's mount, what was deployed, and going back.

use actix_web::{
    HttpRequest,
    web::{Data, Json as Answer, Payload},
};
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    containers::{NoQuery, grace},
    envelope::to_the_end,
    error::ApiResult,
    request::{CuidPath, Json, Query},
    terms::OnTerms,
    uploads,
};
use crate::{
    containers::{Deployed, Restart},
    domain::id::Cuid,
    error::{Error, Result},
    files::{
        deploy::{self, Deploy, History, Mode},
        path::RelPath,
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadQuery {
    #[serde(default)]
    path: String,
    /// What becomes of files that the archive does not name: `merge`, which is also the default, lets them stay; `replace`
    /// does not.
    mode: Option<String>,
    #[serde(default)]
    restart: bool,
    wait: Option<String>,
    timeout: Option<u64>,
    #[serde(default)]
    overwrite: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackQuery {
    #[serde(default)]
    restart: bool,
    wait: Option<String>,
    timeout: Option<u64>,
    #[serde(default)]
    overwrite: bool,
}

/// A deploy as it is shown.
#[derive(Serialize)]
struct DeployView<'a> {
    deploy: u64,
    at: String,
    mode: Mode,
    path: &'a str,
    files: u64,
    bytes: u64,
    archive_bytes: u64,
    /// Whether the mount has it now.
    current: bool,
    /// Whether it can be gone back to.
    kept: bool,
}

/// `POST /containers/{cuid}/upload-zip`
pub(crate) async fn upload_zip(
    app: Data<App>,
    path: CuidPath,
    query: Query<UploadQuery>,
    terms: OnTerms,
    request: HttpRequest,
    body: Payload,
) -> ApiResult<Answer<Value>> {
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

/// `GET /containers/{cuid}/deploys`: those that are known, the newest first.
pub(crate) async fn list(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Value>> {
    let history = app.containers.deploys(path.0).await?;
    let deploys: Vec<_> = history.deploys.iter().rev().map(|deploy| DeployView::new(deploy, &history)).collect();
    Ok(Answer(json!({"cuid": path.0, "current": history.current, "deploys": deploys})))
}

/// `POST /containers/{cuid}/rollback`
pub(crate) async fn rollback(
    app: Data<App>,
    path: CuidPath,
    query: Query<RollbackQuery>,
    terms: OnTerms,
    request: HttpRequest,
    body: Json,
) -> ApiResult<Answer<Value>> {
    let RollbackQuery { restart, wait, timeout, overwrite } = query.0;
    let restart = restart_of(restart, wait.as_deref(), timeout, overwrite)?;
    let (number, terms) = (deploy_only(&body.0)?, terms.overwriting(overwrite));
    let answer = async move {
        let done = app.containers.rollback(path.0, number, restart, terms).await?;
        Ok(described(path.0, &done, restart, "The deploy was put back"))
    };
    Ok(Answer(to_the_end(&request, answer).await?))
}

impl<'a> DeployView<'a> {
    fn new(deploy: &'a Deploy, history: &History) -> Self {
        Self {
            deploy: deploy.number,
            at: deploy.at.to_rfc3339_opts(SecondsFormat::Millis, false),
            mode: deploy.mode,
            path: &deploy.path,
            files: deploy.files,
            bytes: deploy.bytes,
            archive_bytes: deploy.archive_bytes,
            current: history.current == Some(deploy.number),
            kept: deploy.is_kept(),
        }
    }
}

fn described(cuid: Cuid, done: &Deployed, restart: Option<Restart>, message: &str) -> Value {
    let Deployed { deploy, unpacked } = done;
    json!({
        "cuid": cuid,
        "deploy": deploy.number,
        "files": unpacked.files,
        "bytes": unpacked.bytes,
        "mode": deploy.mode,
        "restarted": restart.is_some(),
        "message": message,
    })
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

/// The number in a body that has nothing else.
fn deploy_only(body: &Value) -> Result<u64> {
    let Some(fields) = body.as_object() else {
        return Err(Error::invalid("INVALID_JSON", "body", "the body is an object of deploy", body.clone()));
    };
    if let Some((name, value)) = fields.iter().find(|(name, _)| *name != "deploy") {
        return Err(Error::invalid("UNKNOWN_FIELD", name, format!("{name}: there is no such field"), value.clone()));
    }
    let number = fields.get("deploy").and_then(Value::as_u64).filter(|number| *number > 0);
    number.ok_or_else(|| {
        let provided = fields.get("deploy").cloned().unwrap_or_default();
        Error::invalid("INVALID_DEPLOY", "deploy", "deploy is the number of a deploy, from 1", provided)
    })
}
