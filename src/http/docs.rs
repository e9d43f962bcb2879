//! `/docs`: a page to read the description on, and to try it. All of it comes from the binary, and the page may load nothing else.

use std::{borrow::Cow, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag, Header, IfNoneMatch},
    web::{Data, Path},
};
use sha2::{Digest, Sha256};
use utoipa_swagger_ui::Config;

use super::{App, containers::NoQuery, error::ApiResult, request::Query};
use crate::error::Error;

const PAGE: &str = include_str!("docs/page.html");

/// Files of our own, and those of Swagger UI that the page needs.
const OWN: [(&str, &str, &str); 2] =
    [("start.js", "text/javascript", include_str!("docs/start.js")), ("page.css", "text/css", include_str!("docs/page.css"))];
const LIBRARY: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// Nothing from anywhere else, and no script or style that stands in the page. The library draws its icons from `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shows a page to try the API on
#[utoipa::path(
    get,
    path = "/docs",
    tag = "server",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html", headers(
            ("ETag" = String, description = "For If-None-Match"),
        )),
        (status = 304, description = "The page is the one that the client has"),
    ),
)]
pub(crate) async fn page(_: Data<App>, _: Query<NoQuery>, request: HttpRequest) -> ApiResult<HttpResponse> {
    Ok(sent(&request, "text/html", Cow::Borrowed(PAGE.as_bytes())))
}

/// Gives a file of that page
#[utoipa::path(
    get,
    path = "/docs/{file}",
    tag = "server",
    responses(
        (status = 200, description = "The file", content(
            (String = "text/css"), (String = "text/javascript"), (super::files::Content = "image/png"),
        ), headers(
            ("ETag" = String, description = "For If-None-Match"),
        )),
        (status = 304, description = "The file is the one that the client has"),
    ),
)]
pub(crate) async fn file(_: Data<App>, name: Path<String>, _: Query<NoQuery>, request: HttpRequest) -> ApiResult<HttpResponse> {
    if let Some((_, kind, text)) = OWN.iter().find(|(own, ..)| *own == *name) {
        return Ok(sent(&request, kind, Cow::Borrowed(text.as_bytes())));
    }
    let found = LIBRARY.contains(&name.as_str()).then(|| utoipa_swagger_ui::serve(&name, Arc::new(Config::default())));
    match found.and_then(Result::ok).flatten() {
        Some(file) => Ok(sent(&request, &file.content_type, file.bytes)),
        None => Err(Error::FileNotFound(name.into_inner()).into()),
    }
}

/// A file, unless the client has it.
fn sent(request: &HttpRequest, kind: &str, bytes: Cow<'static, [u8]>) -> HttpResponse {
    let tag = EntityTag::new_strong(format!("{:x}", bytes::Bytes::copy_from_slice(&Sha256::digest(&bytes)[..16])));
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header(header::ETag(tag)).insert_header((header::CACHE_CONTROL, "no-cache"));
    response.insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if known { response.finish() } else { response.content_type(kind).body(bytes.into_owned()) }
}
