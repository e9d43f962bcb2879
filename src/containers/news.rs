//! What of a container's state is worth telling, when it is another than it was.

use crate::{domain::status::Status, engine::state::State, events::Happening};

/// What happened between two looks, of which the second is the later. A run that nobody saw is told of, too: a container that is up anew was
/// down in between, and one that is down and has another start behind it was up.
pub(super) fn news(before: &State, now: &State) -> Vec<Happening> {
    let mut news = Vec::new();
    let mut last = before.status;
    let is_another_run = now.started_at.is_some() && now.started_at != before.started_at && !is_start_unknown(before);
    if is_another_run && !now.status.is_up() {
        let up = State { status: Status::Running, finished_at: None, exit_code: None, ..now.clone() };
        news.push(told(last, &up));
        last = Status::Running;
    }
    if now.status != last || is_another_run && now.status.is_up() {
        news.push(told(last, now));
    }
    if now.health != before.health && now.health.is_some() {
        news.push(Happening::Health { health: now.health.clone() });
    }
    news
}

/// Whether it is known from an event only that the container is, or was, up: the event does not tell since when.
fn is_start_unknown(state: &State) -> bool {
    state.started_at.is_none() && (state.status.is_up() || state.status == Status::Exited)
}

fn told(before: Status, now: &State) -> Happening {
    Happening::Status {
        status: now.status,
        before,
        started_at: now.started_at,
        finished_at: now.finished_at,
        exit_code: now.exit_code,
        restart_count: now.restart_count,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

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

    #[test]
    fn a_run_that_nobody_saw_is_told_as_its_start_and_its_end() {
        let at = |second| DateTime::from_timestamp(second, 0).map(|time| time.fixed_offset());
        let created = State { status: Status::Created, ..State::default() };
        let over =
            |second| State { status: Status::Exited, started_at: at(second), finished_at: at(second + 1), ..State::default() };
        let told = |before: &State, now: &State| -> Vec<_> {
            let status =
                |happening| if let Happening::Status { before, status, .. } = happening { (before, status) } else { panic!() };
            news(before, now).into_iter().map(status).collect()
        };
        use Status::{Created, Exited, Running};
        assert_eq!(told(&created, &over(1)), [(Created, Running), (Running, Exited)]);
        assert_eq!(told(&over(1), &over(3)), [(Exited, Running), (Running, Exited)]);
        // What events told before is not told again by the look that follows them.
        let heard = State { status: Status::Running, ..State::default() };
        assert_eq!(told(&over(1), &heard), [(Exited, Running)]);
        assert_eq!(told(&heard, &State { started_at: at(3), ..heard.clone() }), []);
        assert_eq!(told(&State { status: Status::Exited, ..heard.clone() }, &over(3)), []);
    }
}
