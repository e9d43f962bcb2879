//! `Idempotency-Key`: a POST or PATCH that is repeated with the same key within a day is done once, and gets the first
//! answer again, byte for byte. The answers themselves are kept by `answers`.
//!
//! Requests with the same key, of the same user, are looked at one after the other: whoever comes while the first is still
//! running waits for its answer. What runs goes on when its client goes away. A kept answer is given only to the same request, by its
//! [`fingerprint`](super::fingerprint); another one with the same key is refused.
//!
//! Every answer is kept, errors too: who wants another try after an error sends another key. Not kept are those after which
//! nothing was done and the same request may soon succeed: 503, also in a row of a batch, what the gate answers (401, 403 for the origin, 429),
//! and whatever is answered to a body that did not come to its end. Where an answer is kept and can't be read, nothing is done: it
//! might be done twice. Where a crash comes between a change and the keeping of
//! its answer, the [`Mark`] that creations and changes of the configuration note tells them from new ones.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse,
    body::{BodySize, BoxBody, MessageBody, to_bytes},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use chrono::Local;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    App,
    answers::{Kept, Turn},
    envelope::{User, settled},
    error::{ApiError, ApiResult},
    fingerprint::{Tap, Unknown, digest},
    line::note_replay,
    places,
    request::Body,
    uploads::STALL,
};
use crate::{containers::terms::Mark, error::Error};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in characters.
const KEY_LENGTH: usize = 255;

/// Routes whose bodies are too large to be read before their handlers run.
const STREAMED: [&str; 1] = ["/containers/{cuid}/upload-zip"];

/// How much of a body that its handler left unread is read afterwards, in bytes, and how long that may take.
const LEFT: u64 = 1 << 20;
const LEFT_TIME: Duration = Duration::from_secs(10);

/// The headers that are kept with an answer; the others are every answer's own.
const HEADERS: [HeaderName; 5] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::RETRY_AFTER, header::ALLOW];

/// In the extensions of a request whose answer is not to be kept, although it is no 503 itself.
pub(crate) struct Unkept;

/// The innermost middleware.
pub(crate) async fn once(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let key = match key(&request) {
        Ok(Some(key)) => key,
        Ok(None) => return next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(error) => return Ok(answered(request, HttpResponse::from_error(error))),
    };
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        let error = Error::io("find the answers")(std::io::Error::other("there are none"));
        return Ok(answered(request, HttpResponse::from_error(ApiError::from(error))));
    };
    let tap = Tap::on(&mut request);
    match look(&app, &mut request, &key, &tap).await {
        Err(error) => Ok(answered(request, HttpResponse::from_error(error))),
        Ok(Found::Answer(response)) => Ok(answered(request, response)),
        Ok(Found::NothingToDo) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Ok(Found::Nothing(turn)) => {
            let ran = app.run_apart(run(request, next, tap, turn)).await;
            ran.unwrap_or_else(|panic| Err(ApiError::from(Error::io("finish the request")(std::io::Error::other(panic))).into()))
        }
    }
}

/// Not `into_response`, which forgets the error that the response was made from.
fn answered(request: ServiceRequest, response: HttpResponse) -> ServiceResponse<BoxBody> {
    ServiceResponse::new(request.into_parts().0, response)
}

/// The key of a request that may have one.
fn key(request: &ServiceRequest) -> ApiResult<Option<String>> {
    // What anybody may ask changes nothing, and keeps nothing.
    if !matches!(*request.method(), Method::POST | Method::PATCH) || !request.extensions().contains::<User>() {
        return Ok(None);
    }
    let mut keys = request.headers().get_all(KEY);
    let Some(key) = keys.next() else { return Ok(None) };
    let readable = key.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    match readable.filter(|key| (1..=KEY_LENGTH).contains(&key.len())) {
        Some(key) if keys.next().is_none() => Ok(Some(key.to_owned())),
        _ => {
            let message = "Idempotency-Key is one key of 1 to 255 visible ASCII characters";
            let provided = String::from_utf8_lossy(key.as_bytes()).into_owned();
            Err(Error::invalid("INVALID_IDEMPOTENCY_KEY", "Idempotency-Key", message, provided).into())
        }
    }
}

/// Whether there is anything that would be done: another request's key doesn't change that a path, or its method, is not there.
fn is_route(request: &ServiceRequest) -> bool {
    static ALLOWED: LazyLock<HashMap<&str, &str>> =
        LazyLock::new(|| places().into_iter().map(|(path, allow, _)| (path, allow)).collect());
    let allowed = request.match_pattern().and_then(|path| ALLOWED.get(&*path).copied());
    allowed.is_some_and(|methods| methods.split(", ").any(|method| method == request.method().as_str()))
}

/// What there is under a key.
enum Found {
    Answer(HttpResponse),
    /// Another request's answer, while this one is to nothing that there is.
    NothingToDo,
    Nothing(Turn),
}

/// Waits for the key's turn and looks for a kept answer. Without one the request is ready to be run.
async fn look(app: &App, request: &mut ServiceRequest, key: &str, tap: &Tap) -> ApiResult<Found> {
    let user = request.extensions().get::<User>().map(|user| user.0.clone()).unwrap_or_default();
    let slot = digest(&[&user, key]);
    request.set_payload(tap.payload());
    if !request.match_pattern().is_some_and(|route| STREAMED.contains(&&*route)) {
        let body = request.extract::<Body>().await?.0;
        request.set_payload(Payload::from(body));
        let fingerprint = tap.fingerprint(0, STALL).await.map_err(unreadable)?;
        request.extensions_mut().insert(Mark { digest: digest(&[&slot, &fingerprint]), at: Local::now() });
    }
    let turn = app.answers.turn(&slot).await;
    let Some(kept) = turn.kept().await? else { return Ok(Found::Nothing(turn)) };
    // What is longer than any body that was taken is another one.
    match tap.fingerprint(app.upload_bytes.saturating_add(LEFT), STALL).await {
        Ok(fingerprint) if fingerprint == kept.fingerprint => {
            note_replay(request, kept.status, &kept.body);
            Ok(Found::Answer(replay(&kept)))
        }
        Ok(_) | Err(Unknown::TooLong) if !is_route(request) => Ok(Found::NothingToDo),
        Ok(_) | Err(Unknown::TooLong) => {
            let message = "Another request was sent with this Idempotency-Key: a request of its own has a key of its own";
            let details = json!({"field": "Idempotency-Key", "provided": key});
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", "IDEMPOTENCY_MISMATCH", message, details))
        }
        Err(unknown) => Err(unreadable(unknown)),
    }
}

fn unreadable(_: Unknown) -> ApiError {
    Error::invalid("INVALID_REQUEST", "body", "the body did not come to its end", Value::Null).into()
}

/// Runs the request, and keeps its answer before anybody gets it.
async fn run(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    tap: Tap,
    mut turn: Turn,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let answer = settled(next.call(request).await?.map_into_boxed_body());
    let endless = matches!(answer.response().body().size(), BodySize::Stream);
    let unkept = answer.request().extensions().contains::<Unkept>();
    if endless || unkept || answer.status() == StatusCode::SERVICE_UNAVAILABLE {
        return Ok(answer);
    }
    let Ok(Ok(fingerprint)) = timeout(LEFT_TIME, tap.fingerprint(LEFT, LEFT_TIME)).await else { return Ok(answer) };
    let (request, response) = answer.into_parts();
    let (response, body) = response.into_parts();
    let body = to_bytes(body).await.map_err(ActixError::from)?;
    let header = |name: &HeaderName| Some((name.to_string(), response.headers().get(name)?.to_str().ok()?.to_owned()));
    let headers = HEADERS.iter().filter_map(header).collect();
    turn.keep(Kept { fingerprint, status: response.status().as_u16(), headers, body: body.clone() }).await;
    Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(body))))
}

/// The kept answer, as the first client got it.
fn replay(kept: &Kept) -> HttpResponse {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::with_body(status, BoxBody::new(kept.body.clone()));
    for (name, value) in &kept.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
