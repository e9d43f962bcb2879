//! `GET /containers`: the list, its filters, and its pages.

use actix_web::{HttpResponse, web::Data};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    App,
    error::ApiResult,
    request::Query,
    view::{ContainerView, Read, written},
};
use crate::{
    containers::listing::{Filter, Place},
    domain::status::Status,
    error::Error,
};

/// A page of the list.
#[derive(Serialize, ToSchema)]
#[schema(as = ContainerList, example = json!({"containers": [], "total": 0, "limit": 20, "next_cursor": null}))]
pub(crate) struct ListView<'a> {
    #[schema(value_type = Vec<ContainerView>)]
    containers: Vec<&'a RawValue>,
    /// How many the filters leave in.
    total: usize,
    limit: usize,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only containers in one of these statuses, with commas between them; `stopped` is the same as `exited`.
    #[param(
        pattern = "^(?:(?:created|running|paused|restarting|exited|stopped|dead|missing)?(?:,|$))*$",
        example = "running,paused"
    )]
    status: Option<String>,
    /// Only containers with this tag.
    #[param(example = "web")]
    tag: Option<String>,
    /// Only containers with this label, as key=value.
    #[param(pattern = "=", example = "team=a")]
    label: Option<String>,
    /// How many there are on a page; 20 where nothing is said.
    #[param(minimum = 1, maximum = 100, example = 20)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before. No container that exists throughout is missed or given twice.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// Lists containers, the newest first
#[utoipa::path(
    get,
    path = "/containers",
    tag = "containers",
    params(ListQuery),
    responses((status = 200, description = "A page of them", body = Read<ListView>)),
)]
pub(crate) async fn list(app: Data<App>, query: Query<ListQuery>) -> ApiResult<HttpResponse> {
    let (filter, after, limit) = query.0.parse()?;
    let page = app.containers.list(&filter, after, limit).await?;
    let shown = ListView {
        containers: page.containers.iter().map(written).collect(),
        total: page.total,
        limit,
        next_cursor: page.next.map(cursor),
    };
    let engine = app.containers.engine_state().into();
    Ok(HttpResponse::Ok().json(Read { shown, engine }))
}

impl ListQuery {
    /// What it leaves in, where it begins, and how many it wants.
    fn parse(self) -> Result<(Filter, Option<Place>, usize), Error> {
        let refuse = |field: &'static str, takes: &str, given: &str| {
            Error::invalid("INVALID_QUERY", field, format!("{field}: {takes}"), given)
        };
        let words = self.status.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty());
        let takes = "created, running, paused, restarting, exited (or stopped), dead, missing, with commas";
        let statuses =
            words.map(|word| Status::parse(word).ok_or_else(|| refuse("status", takes, word))).collect::<Result<_, _>>()?;
        let label = self.label.map(|label| match label.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(refuse("label", "a label is key=value", &label)),
        });
        let after =
            self.cursor.map(|text| place(&text).ok_or_else(|| refuse("cursor", "a next_cursor of an earlier answer", &text)));
        let limit = self.limit.unwrap_or(20);
        if !(1..=100).contains(&limit) {
            return Err(refuse("limit", "a number from 1 to 100", &limit.to_string()));
        }
        Ok((Filter { statuses, tag: self.tag, label: label.transpose()? }, after.transpose()?, limit))
    }
}

/// A place in the list as an opaque word.
fn cursor((created_at, cuid): Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {cuid}", created_at.to_rfc3339()))
}

fn place(cursor: &str) -> Option<Place> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (created_at, cuid) = text.split_once(' ')?;
    Some((DateTime::parse_from_rfc3339(created_at).ok()?.into(), cuid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use chrono::Local;

    use super::*;
    use crate::domain::id::Cuid;

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let here = (Local::now(), Cuid::new());
        assert_eq!(place(&cursor(here)), Some(here));
        for bad in ["", "x", "====", &URL_SAFE_NO_PAD.encode("2024 c1")] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
