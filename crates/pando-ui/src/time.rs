//! Points in time for reading.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Shows times of a stream of lines, which mostly share their second with the line before.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    today: Date,
    last: Option<(i64, String)>,
}

impl Clock {
    /// The machine's time zone, and today.
    pub fn local() -> Self {
        let zone = TimeZone::system();
        let today = Timestamp::now().to_zoned(zone.clone()).date();
        Self::new(zone, today)
    }

    pub fn new(zone: TimeZone, today: Date) -> Self {
        Self {
            zone,
            today,
            last: None,
        }
    }

    /// `14:03:44.123` today, `2026-11-20 14:03:44.123` on other days.
    pub fn show(&mut self, time_ms: i64) -> String {
        let (second, ms) = (time_ms.div_euclid(1_000), time_ms.rem_euclid(1_000));
        match &self.last {
            Some((last, text)) if *last == second => format!("{text}.{ms:03}"),
            Some(_) | None => {
                let text = self.second(second);
                let shown = format!("{text}.{ms:03}");
                self.last = Some((second, text));
                shown
            }
        }
    }

    /// `14:03:44`; with the date on other days.
    pub fn second(&self, second: i64) -> String {
        let Ok(time) = Timestamp::from_second(second) else {
            return format!("@{second}");
        };
        let local = time.to_zoned(self.zone.clone());
        let format = if local.date() == self.today {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        local.strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_needs_no_date() {
        let mut clock = Clock::new(TimeZone::UTC, jiff::civil::date(2026, 11, 21));
        for (time_ms, expect) in [
            (1_795_233_824_123, "04:03:44.123"),
            (1_795_233_824_999, "04:03:44.999"),
            (1_795_147_424_007, "2026-11-20 04:03:44.007"),
            (-1, "1969-12-31 23:59:59.999"),
            (i64::MAX, "@9223372036854775.807"),
        ] {
            assert_eq!(clock.show(time_ms), expect);
        }
    }
}
