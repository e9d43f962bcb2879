//! What of a container's state is worth telling, when it is another than it was.

use crate::{engine::state::State, events::Happening};

/// What happened between two looks, of which the second is the later. A container that is up anew was down in between, whether or not
/// that was seen.
pub(super) fn news(before: &State, now: &State) -> Vec<Happening> {
    let mut news = Vec::new();
    let is_up_anew = now.status.is_up() && now.started_at != before.started_at;
    if now.status != before.status || is_up_anew {
        news.push(Happening::Status {
            status: now.status,
            before: before.status,
            started_at: now.started_at,
            finished_at: now.finished_at,
            exit_code: now.exit_code,
            restart_count: now.restart_count,
        });
    }
    if now.health != before.health && now.health.is_some() {
        news.push(Happening::Health { health: now.health.clone() });
    }
    news
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::status::Status;

    #[test]
    fn what_is_no_news_is_not_told() {
        let at = |second| DateTime::from_timestamp(second, 0).map(|time| time.fixed_offset());
        let up = State { status: Status::Running, started_at: at(1), ..State::default() };
        let told = |before: &State, now: &State| news(before, now).iter().map(Happening::kind).collect::<Vec<_>>();
        assert!(told(&up, &State { ip_address: Some("172.18.0.2".into()), ..up.clone() }).is_empty());
        assert_eq!(told(&up, &State { started_at: at(2), restart_count: 1, ..up.clone() }), ["status"]);
        assert_eq!(told(&up, &State { status: Status::Exited, finished_at: at(2), ..up.clone() }), ["status"]);
        let well = State { health: Some("healthy".into()), ..up.clone() };
        assert_eq!(told(&up, &well), ["health"]);
        assert!(told(&well, &up).is_empty());
        assert_eq!(told(&State::default(), &well), ["status", "health"]);
    }
}
