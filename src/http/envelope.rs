//! What every answer has, whoever made it: a request id, the contract's body where it is an error, and a line in the
//! action log once it is sent.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use futures_util::{Stream, TryStreamExt};
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{
    App,
    error::{ApiError, ApiResult},
    line::SharedLine,
};
use crate::{
    action_log::{Failure, redact},
    error::Error,
    logging::REQUEST,
};

/// The id of a request, in its extensions.
#[derive(Clone, Copy)]
pub(crate) struct RequestId(pub(crate) Uuid);

/// The request's id.
pub(crate) fn request_id(request: &HttpRequest) -> Uuid {
    request.extensions().get::<RequestId>().map_or_else(Uuid::new_v4, |id| id.0)
}

/// The user that a request was authenticated as, in its extensions.
#[derive(Clone)]
pub(crate) struct User(pub(crate) String);

/// The outermost middleware.
pub(crate) async fn envelope(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Logged>, actix_web::Error> {
    let id = Uuid::new_v4();
    let app = request.app_data::<Data<App>>().cloned();
    let received = count_body(&mut request);
    let line = SharedLine::begin(&request, id, received, app);
    request.extensions_mut().insert(RequestId(id));
    request.extensions_mut().insert(line.clone());
    // Whatever is logged meanwhile has the id, where the log's format shows it; elsewhere it costs nothing.
    let span = tracing::error_span!(target: REQUEST, "request", request_id = %id);

    let answer = next.call(request).instrument(span.clone()).await?;
    let (request, mut response) = span.in_scope(|| settled(answer.map_into_boxed_body())).into_parts();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    request.extensions_mut().remove::<SharedLine>();
    Ok(ServiceResponse::new(request, response.map_body(|_, body| Logged { body, line, span })))
}

/// The answer with the contract's body where it is an error, and what is known of it noted in the request's line. An answer
/// that is settled stays as it is.
pub(crate) fn settled(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, mut response) = answer.into_parts();
    let id = request_id(&request);
    let development = request.app_data::<Data<App>>().is_some_and(|app| app.development);
    let mut failure = None;
    if let Some((told, body)) = rendered(&response, id, development) {
        failure = Some(told);
        let headers = std::mem::replace(response.headers_mut(), HeaderMap::new());
        // A new one, which has its body and not the error any more.
        response = HttpResponse::with_body(response.status(), BoxBody::new(body));
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let message = "the health check failed".to_owned();
        failure = Some(Failure { error: "unavailable".into(), code: "ENGINE_UNAVAILABLE".into(), message });
    }
    if let Some(line) = SharedLine::of(&request) {
        line.answered(&request, response.status(), failure);
    }
    ServiceResponse::new(request, response)
}

/// Runs a change to its end, with its outcome in the request's line of the log, also when the client goes away meanwhile.
pub(crate) async fn to_the_end<T: 'static>(
    request: &HttpRequest,
    change: impl Future<Output = Result<T, Error>> + 'static,
) -> ApiResult<T> {
    let (line, request) = (SharedLine::of(request), request.clone());
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return Err(Error::io("begin the change")(std::io::Error::other("there is nobody to make it")).into());
    };
    let ran = app.run_apart(async move {
        let done = change.await.map_err(ApiError::from);
        if let Some(line) = line {
            line.changed(&request, done.as_ref().err());
        }
        done
    });
    ran.await.unwrap_or_else(|panic| Err(Error::io("finish the change")(std::io::Error::other(panic)).into()))
}

/// Counts the body's bytes as they are read.
fn count_body(request: &mut ServiceRequest) -> Rc<Cell<u64>> {
    let received = Rc::new(Cell::new(0));
    let counter = received.clone();
    match request.take_payload() {
        Payload::None => (),
        body => {
            let counted = body.inspect_ok(move |chunk| counter.set(counter.get() + chunk.len() as u64));
            request.set_payload(Payload::from(Box::pin(counted) as Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>));
        }
    }
    received
}

/// The error that the response stands for, as the log and the client get it. One of the framework's own is put in our
/// words.
fn rendered(response: &HttpResponse, id: Uuid, development: bool) -> Option<(Failure, Vec<u8>)> {
    let render = |error: &ApiError| {
        if error.status.is_server_error() {
            tracing::error!(request_id = %id, code = error.code, error = &*redact(&error.message), "request failed");
        }
        (error.failure(), serde_json::to_vec(&error.body(id, development)).unwrap_or_default())
    };
    let status = response.status();
    match response.error() {
        Some(error) => Some(match error.as_error::<ApiError>() {
            Some(error) => render(error),
            None => render(&ApiError::from_framework(status, &error.to_string())),
        }),
        // Without a body it is the framework's; `/healthz` has its own.
        None if status.as_u16() >= 400 && matches!(response.body().size(), BodySize::None | BodySize::Sized(0)) => {
            Some(render(&ApiError::from_framework(status, "")))
        }
        None => None,
    }
}

/// A body that counts what is sent, and has the request's line until it is sent or given up.
pub(crate) struct Logged {
    body: BoxBody,
    line: SharedLine,
    span: Span,
}

impl MessageBody for Logged {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let span = self.span.clone();
        let polled = span.in_scope(|| Pin::new(&mut self.body).poll_next(cx));
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.line.sent(bytes.len());
        }
        polled
    }
}
