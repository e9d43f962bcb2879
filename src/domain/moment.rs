//! Moments as clients write them, for what was since or until then.

use chrono::{DateTime, TimeDelta, Utc};

use super::health::Span;

/// The last second of the year 9999.
const END: i64 = 253_402_300_799;

/// The moment that `text` names: in RFC 3339, as seconds since 1970 with or without a fraction, or as a time back from `now`, such as `10m`.
pub fn parse(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    if let Ok(span) = Span::try_from(text.to_owned()) {
        return now.checked_sub_signed(TimeDelta::from_std(span.duration()).ok()?);
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds = seconds.parse().ok().filter(|seconds| *seconds <= END)?;
    DateTime::from_timestamp(seconds, format!("{fraction:0<9}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_three_ways() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        for (text, expected) in [
            ("1970-01-01T01:00:00.000000001+01:00", "1970-01-01T00:00:00.000000001Z"),
            ("1000", "1970-01-01T00:16:40Z"),
            ("1000.5", "1970-01-01T00:16:40.5Z"),
            ("0.000000001", "1970-01-01T00:00:00.000000001Z"),
            ("10m", "1970-01-12T13:36:40Z"),
            ("1h30m", "1970-01-12T12:16:40Z"),
        ] {
            assert_eq!(parse(text, now), Some(DateTime::parse_from_rfc3339(expected).unwrap().to_utc()), "{text}");
        }
        let bad =
            ["", "yesterday", "-1", "1.", ".5", "1.0000000001", "10 m", "2026-01-01", "999999999999999", "1e3", "10d", "+5"];
        for text in bad {
            assert_eq!(parse(text, now), None, "{text:?}");
        }
    }
}
