//! When a key is accepted, as the API says it.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::publish::rows::HoursRow;

/// A time of some days of the week, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// On which days; answered from Monday, each once.
    #[schema(min_items = 1, example = json!(["mon", "tue", "wed", "thu", "fri"]))]
    pub days: Vec<Day>,
    /// From this minute, `HH:MM`,
    #[schema(value_type = String, example = "08:00", pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    pub from: TimeOfDay,
    /// until before that one, at most `24:00`.
    #[schema(value_type = String, example = "18:00", pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
    pub until: TimeOfDay,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday
    Mon,
    /// Tuesday
    Tue,
    /// Wednesday
    Wed,
    /// Thursday
    Thu,
    /// Friday
    Fri,
    /// Saturday
    Sat,
    /// Sunday
    Sun,
}

impl Day {
    const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];
}

/// Minutes since midnight; the last is the next midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    const MIDNIGHT: u16 = 24 * 60;

    fn parse(text: &str) -> Option<Self> {
        let [h1, h2, b':', m1, m2] = *text.as_bytes() else { return None };
        let two = |tens: u8, ones: u8| {
            (tens.is_ascii_digit() && ones.is_ascii_digit())
                .then(|| u16::from(tens - b'0') * 10 + u16::from(ones - b'0'))
        };
        let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
        let all = hours * 60 + minutes;
        (minutes < 60 && all <= Self::MIDNIGHT).then_some(Self(all))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("must be a time as in 08:30, 24:00 at most"))
    }
}

impl From<&Hours> for HoursRow {
    fn from(hours: &Hours) -> Self {
        let days = hours.days.iter().fold(0, |bits, day| bits | 1 << *day as u8);
        Self { from: hours.from.0, until: hours.until.0, days }
    }
}

impl From<HoursRow> for Hours {
    fn from(row: HoursRow) -> Self {
        let days = Day::ALL.into_iter().filter(|day| row.days & 1 << *day as u8 != 0).collect();
        Self { days, from: TimeOfDay(row.from), until: TimeOfDay(row.until) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hours_are_said_in_one_way() {
        let said = json!({"days": ["sun", "mon", "mon"], "from": "08:05", "until": "24:00"});
        let hours: Hours = serde_json::from_value(said).unwrap();
        let row = HoursRow::from(&hours);
        assert_eq!(row, HoursRow { from: 485, until: 1440, days: 0b100_0001 });
        let shown = serde_json::to_value(Hours::from(row)).unwrap();
        assert_eq!(shown, json!({"days": ["mon", "sun"], "from": "08:05", "until": "24:00"}));
    }

    #[test]
    fn a_time_that_no_clock_shows_is_refused() {
        for wrong in ["24:01", "25:00", "12:60", "8:00", "08.00", "08:00:00", "+8:00", "ab:cd", "", "０８:00"]
        {
            let hours = json!({"days": ["mon"], "from": wrong, "until": "24:00"});
            assert!(serde_json::from_value::<Hours>(hours).is_err(), "{wrong}");
        }
        for wrong in [json!("monday"), json!(1), json!(null)] {
            let hours = json!({"days": [wrong], "from": "00:00", "until": "24:00"});
            assert!(serde_json::from_value::<Hours>(hours).is_err(), "{wrong}");
        }
    }
}
