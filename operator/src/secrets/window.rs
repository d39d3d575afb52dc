//! When a restart for new values may begin. UTC, because the image has no table of time zones. Pure.

use crds::{ChangeWindow, Reason, Weekday};
use k8s_openapi::jiff::Timestamp;
use render::Problem;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// In the order of a week that begins on the first day of 1970.
const DAYS: [Weekday; 7] =
    [Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun, Weekday::Mon, Weekday::Tue, Weekday::Wed];

/// When one of them opens; nothing while one is open, or where there is none.
pub fn opens_at(windows: &[ChangeWindow], now: Timestamp) -> Option<Timestamp> {
    let (second, today) = (now.as_second(), now.as_second().div_euclid(DAY));
    // One that began yesterday may end today, and the next of one day a week is seven days away.
    let all = windows.iter().flat_map(|window| (-1..=7).filter_map(move |day| on(window, today + day)));
    let mut next = None::<i64>;
    for (begin, end) in all {
        if (begin..end).contains(&second) {
            return None;
        }
        if begin > second {
            next = next.into_iter().chain([begin]).min();
        }
    }
    next.and_then(|begin| Timestamp::from_second(begin).ok())
}

/// What is said outside of them.
pub fn closed(opens: Timestamp) -> Problem {
    Problem {
        reason: Reason::OutsideChangeWindow,
        message: format!(
            "values changed, and spec.secrets.changeWindows opens at {opens}; until then what the workload has stays"
        ),
    }
}

/// Its begin and end on a day since 1970, in seconds.
fn on(window: &ChangeWindow, day: i64) -> Option<(i64, i64)> {
    let weekday = usize::try_from(day.rem_euclid(7)).ok().and_then(|index| DAYS.get(index))?;
    if !window.days.is_empty() && !window.days.contains(weekday) {
        return None;
    }
    let (from, to) = (minutes(&window.from)?, minutes(&window.to)?);
    let over_midnight = if to <= from { DAY } else { 0 };
    Some((day * DAY + from * MINUTE, day * DAY + to * MINUTE + over_midnight))
}

/// `HH:MM`.
fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    Some(hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Weekday], from: &str, to: &str) -> ChangeWindow {
        ChangeWindow { days: days.into(), from: from.into(), to: to.into() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn within_a_window_and_without_one_nothing_waits() {
        let nights = [window(&[], "02:00", "04:00")];
        assert_eq!(opens_at(&[], at("2026-11-28T12:00:00Z")), None);
        assert_eq!(opens_at(&nights, at("2026-11-28T02:00:00Z")), None);
        assert_eq!(opens_at(&nights, at("2026-11-28T03:59:59Z")), None);
    }

    #[test]
    fn outside_the_next_one_is_told() {
        // 28 November 2026 is a Saturday.
        let nights = window(&[], "02:00", "04:00");
        let monday = window(&[Weekday::Mon], "09:00", "17:00");
        let now = at("2026-11-28T04:00:00Z");
        assert_eq!(opens_at(std::slice::from_ref(&nights), now), Some(at("2026-11-29T02:00:00Z")));
        assert_eq!(opens_at(std::slice::from_ref(&monday), now), Some(at("2026-11-30T09:00:00Z")));
        assert_eq!(opens_at(&[monday, nights], now), Some(at("2026-11-29T02:00:00Z")));
        let saturday = window(&[Weekday::Sat], "01:00", "02:00");
        assert_eq!(opens_at(&[saturday], now), Some(at("2026-12-05T01:00:00Z")));
    }

    #[test]
    fn one_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let friday = [window(&[Weekday::Fri], "22:00", "02:00")];
        assert_eq!(opens_at(&friday, at("2026-11-27T23:00:00Z")), None);
        assert_eq!(opens_at(&friday, at("2026-11-28T01:59:00Z")), None);
        assert_eq!(opens_at(&friday, at("2026-11-28T02:00:00Z")), Some(at("2026-12-04T22:00:00Z")));
        assert_eq!(opens_at(&friday, at("2026-11-28T23:00:00Z")), Some(at("2026-12-04T22:00:00Z")));
    }
}
