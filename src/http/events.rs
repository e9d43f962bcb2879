//! `GET /events`: what happens to containers, as it happens.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    error::ApiResult,
    request::{Flag, Query},
    stream::{Batch, Format, ServerSentEvent, answer},
};
use crate::{
    domain::id::Cuid,
    error::Error,
    events::{Event, EventId, Follower, KINDS, News},
};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events of these containers, with commas.
    #[param(
        example = "c123e4567-e89b-42d3-a456-426614174000",
        pattern = "^c[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,c[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})*$"
    )]
    cuid: Option<String>,
    /// Only events of these kinds, with commas.
    #[param(
        example = "status,deleted",
        pattern = "^(created|status|health|changed|deployed|rolled_back|deleted|session_started|session_ended|engine)(,(created|status|health|changed|deployed|rolled_back|deleted|session_started|session_ended|engine))*$"
    )]
    kind: Option<String>,
    /// The id of the last event that is known: what happened since comes first. The same as the header, which wins.
    after: Option<String>,
    /// Whether to wait for what happens; else the stream ends with what is known.
    #[param(value_type = Option<bool>, default = true)]
    follow: Option<Flag>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what a browser sends by itself")]
struct LastEventId {
    /// The id of the last event that the client has got.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}

/// The place that a stream begins at, or goes on from.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlaceView<'a> {
    #[schema(example = "ready")]
    kind: &'a str,
    #[schema(value_type = String, example = "19a6f3c21d8-17")]
    id: EventId,
}

/// What is let through.
struct Filter {
    cuids: Option<Vec<Cuid>>,
    kinds: Option<Vec<String>>,
}

/// Follows what happens to containers
///
/// As server-sent events, or lines where only `application/x-ndjson` is accepted. The first is `ready`, with the place to come back to. Where some can't be told any more, `missed` says so: look at everything anew.
#[utoipa::path(
    get, path = "/events", tag = "live", params(EventsQuery, LastEventId),
    responses((status = 200, description = "the events, without end", content(
        (ServerSentEvent = "text/event-stream"),
        (Event = "application/x-ndjson"),
    )))
)]
pub(crate) async fn follow(app: Data<App>, query: Query<EventsQuery>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let filter = Filter::parse(&query.0)?;
    let header = request.headers().get("Last-Event-ID").and_then(|id| id.to_str().ok());
    let follower = app.events.follow(header.or(query.0.after.as_deref()).filter(|after| !after.is_empty()));
    let format = format(&request);
    let follow = query.0.follow.is_none_or(|follow| follow.0);
    let state = (follower, filter, Some(format));
    let batches = stream::unfold(state, move |(mut follower, filter, first)| async move {
        let batch = match first {
            Some(format) => beginning(format, &follower),
            None if follow => news(format, follower.next().await, &filter),
            None => news(format, follower.known()?, &filter),
        };
        Some((Ok(batch), (follower, filter, None)))
    });
    Ok(answer(&app, &request, format, batches))
}

fn format(request: &HttpRequest) -> Format {
    let accepts = |kind: &str| {
        request.headers().get_all(header::ACCEPT).any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
    };
    if accepts("application/x-ndjson") && !accepts("text/event-stream") { Format::Lines } else { Format::Events }
}

/// The first words, which also give a client whose connection breaks before the first event a place to come back to.
fn beginning(format: Format, follower: &Follower) -> Batch {
    let mut batch = Batch::new(format);
    place(&mut batch, "ready", follower.place());
    batch
}

fn news(format: Format, news: News, filter: &Filter) -> Batch {
    let mut batch = Batch::new(format);
    match news {
        News::Missed(id) => place(&mut batch, "missed", id),
        News::Events(events) => {
            for event in events.iter().filter(|event| filter.lets_through(event)) {
                batch.push(Some(event.what.kind()), Some(&event.id.to_string()), &**event);
            }
            let passed_by = events.last().filter(|_| batch.is_empty() && events.iter().any(|event| event.id.is_milestone()));
            if let Some(last) = passed_by {
                batch.mark(&last.id.to_string());
            }
        }
    }
    batch
}

fn place(batch: &mut Batch, kind: &str, id: EventId) {
    let named = id.to_string();
    batch.push(Some(kind), Some(&named), &PlaceView { kind, id });
}

impl Filter {
    fn parse(query: &EventsQuery) -> Result<Self, Error> {
        let words = |list: &Option<String>| {
            list.as_ref().map(|list| list.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>())
        };
        let cuids = words(&query.cuid).map(|words| words.iter().map(|word| word.parse()).collect::<Result<Vec<Cuid>, _>>());
        let kinds = words(&query.kind);
        if let Some(other) = kinds.iter().flatten().find(|kind| !KINDS.contains(&kind.as_str())) {
            let takes = format!("kind: {} with commas", KINDS.join(", "));
            return Err(Error::invalid("INVALID_QUERY", "kind", takes, other.clone()));
        }
        Ok(Self { cuids: cuids.transpose()?, kinds })
    }

    fn lets_through(&self, event: &Event) -> bool {
        let cuid = self.cuids.as_ref().is_none_or(|wanted| event.cuid.is_some_and(|cuid| wanted.contains(&cuid)));
        let kind = self.kinds.as_ref().is_none_or(|wanted| wanted.iter().any(|kind| kind == event.what.kind()));
        cuid && kind
    }
}
