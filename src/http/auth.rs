//! Who may come in: HTTP Basic on every path but `/livez`, a brake on guessing, and no changes or terminals from foreign web pages.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::Data,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{
    App,
    envelope::User,
    error::{ApiError, ApiResult},
    line::SharedLine,
};
use crate::config::{Config, Secret};

/// How many failures an address may have within [`WINDOW`] before it is told to wait.
const FAILURES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// What anybody may ask: whoever restarts a server that is stuck has no password of it.
const ALIVE: &str = "/livez";

/// How many addresses are remembered before those that have been quiet are forgotten.
const ADDRESSES: usize = 10_000;

/// The credentials, and who failed to give them.
pub(crate) struct Gate {
    user: String,
    password: Secret,
    allowed_origins: Vec<String>,
    failures: Mutex<HashMap<IpAddr, VecDeque<Instant>>>,
}

/// `user:password`, as HTTP Basic has it; the scheme's name is written in any case (RFC 7617).
fn credentials(request: &ServiceRequest) -> Option<String> {
    let (scheme, encoded) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    String::from_utf8(decoded).ok()
}

/// Lets a request in, or answers it.
pub(crate) async fn gate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return Ok(answer(request, HttpResponse::InternalServerError().finish()));
    };
    if request.path() == ALIVE && reads(request.method()) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    match app.gate.admit(&request) {
        Ok(user) => {
            if let Some(line) = SharedLine::of(request.request()) {
                line.admitted(&user);
            }
            request.extensions_mut().insert(User(user));
            next.call(request).await.map(ServiceResponse::map_into_left_body)
        }
        Err(error) => Ok(answer(request, HttpResponse::from_error(error))),
    }
}

/// Whether it is a method that changes nothing.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Not `into_response`, which forgets the error that the response was made from.
fn answer<B>(request: ServiceRequest, response: HttpResponse) -> ServiceResponse<EitherBody<B>> {
    ServiceResponse::new(request.into_parts().0, response).map_into_right_body()
}

impl Gate {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            user: config.user.clone(),
            password: config.password.clone(),
            allowed_origins: config.allowed_origins.clone(),
            failures: Mutex::default(),
        }
    }

    /// The user that the request comes from.
    fn admit(&self, request: &ServiceRequest) -> ApiResult<String> {
        let user = self.authenticate(request).map_err(|error| self.brake(request.peer_addr().map(|peer| peer.ip()), error))?;
        self.check_origin(request)?;
        Ok(user)
    }

    fn authenticate(&self, request: &ServiceRequest) -> ApiResult<String> {
        let refused = |code, message: &str| {
            let error = ApiError::new(StatusCode::UNAUTHORIZED, "auth_error", code, message, json!({}));
            error.with_header(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"berth\""))
        };
        if !request.headers().contains_key(header::AUTHORIZATION) {
            return Err(refused("MISSING_CREDENTIALS", "Send a user name and a password by HTTP Basic"));
        }
        let wrong = || refused("INVALID_CREDENTIALS", "The user name or the password is wrong");
        let sent = credentials(request).ok_or_else(wrong)?;
        let (user, password) = sent.split_once(':').ok_or_else(wrong)?;
        let user = user.as_bytes().ct_eq(self.user.as_bytes());
        let password = password.as_bytes().ct_eq(self.password.expose().as_bytes());
        if bool::from(user & password) { Ok(self.user.clone()) } else { Err(wrong()) }
    }

    /// Counts a failure, and tells an address with too many to wait.
    fn brake(&self, address: Option<IpAddr>, error: ApiError) -> ApiError {
        let Some(address) = address else { return error };
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.retain(|_, times| times.back().is_some_and(|last| now.duration_since(*last) < WINDOW));
        }
        let times = failures.entry(address).or_default();
        times.retain(|time| now.duration_since(*time) < WINDOW);
        if times.len() < FAILURES {
            times.push_back(now);
            return error;
        }
        let wait = times.front().map_or(WINDOW, |first| WINDOW.saturating_sub(now.duration_since(*first)));
        let message = "Too many failed attempts from this address: wait before the next";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "TOO_MANY_FAILURES", message, json!({}));
        error.with_header(header::RETRY_AFTER, wait.as_secs() + 1)
    }

    /// A browser sends remembered credentials for any page, so a page of another origin changes nothing here.
    fn check_origin(&self, request: &ServiceRequest) -> ApiResult<()> {
        let headers = request.headers();
        let Some(origin) =
            headers.get(header::ORIGIN).filter(|_| !reads(request.method()) || headers.contains_key(header::UPGRADE))
        else {
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        let own = ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(&host));
        if own || self.allowed_origins.contains(&origin) {
            return Ok(());
        }
        let message = "Pages of this origin may not change anything here; ALLOWED_ORIGINS lists those that may";
        let details = json!({"field": "Origin", "provided": origin});
        Err(ApiError::new(StatusCode::FORBIDDEN, "permission_denied", "ORIGIN_NOT_ALLOWED", message, details))
    }
}
