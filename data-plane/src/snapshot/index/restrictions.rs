//! From where and when an API key is accepted.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use seams::Timestamp;
use wire::{snapshot::MINUTES_OF_A_DAY, v1::KeyHours};

const SECONDS_OF_A_DAY: u64 = MINUTES_OF_A_DAY as u64 * 60;

/// Of a key that is not accepted from everywhere at all times.
#[derive(Debug)]
pub struct Restrictions {
    allow: Box<[IpNet]>,
    hours: Box<[Hours]>,
}

/// A time of some days of the week, in UTC.
#[derive(Debug, Clone, Copy)]
struct Hours {
    /// A bit each, from Monday.
    days: u32,
    /// Seconds since midnight.
    from: u64,
    until: u64,
}

impl Restrictions {
    /// `None` when there are none.
    pub(in crate::snapshot) fn new(allow: Box<[IpNet]>, hours: &[KeyHours]) -> Option<Self> {
        let hours: Box<[Hours]> = hours.iter().map(Hours::from).collect();
        (!(allow.is_empty() && hours.is_empty())).then_some(Self { allow, hours })
    }

    /// Whether a key is accepted from `address` now, and until when at least; `None` within: for ever.
    #[must_use]
    pub fn admit(&self, address: IpAddr, now: Timestamp) -> Option<Option<Timestamp>> {
        let from_there = self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&address));
        if !from_there {
            return None;
        }
        if self.hours.is_empty() {
            return Some(None);
        }
        self.hours.iter().filter_map(|hours| hours.end(now)).max().map(Some)
    }
}

impl From<&KeyHours> for Hours {
    fn from(hours: &KeyHours) -> Self {
        let seconds = |minutes: u32| u64::from(minutes) * 60;
        Self { days: hours.days, from: seconds(hours.from_minute), until: seconds(hours.until_minute) }
    }
}

impl Hours {
    /// When it ends, if `now` is within.
    fn end(self, now: Timestamp) -> Option<Timestamp> {
        let seconds = now.micros() / 1_000_000;
        let (day, of_day) = (seconds / SECONDS_OF_A_DAY, seconds % SECONDS_OF_A_DAY);
        // The epoch began on a Thursday.
        let today = 1 << ((day + 3) % 7);
        let within = self.days & today != 0 && (self.from..self.until).contains(&of_day);
        within.then(|| Timestamp::from_secs(day * SECONDS_OF_A_DAY).plus(Duration::from_secs(self.until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27 was a Friday.
    const FRIDAY: u64 = 1_795_737_600;

    fn at(day: u64, hour: u64, minute: u64) -> Timestamp {
        Timestamp::from_secs(FRIDAY + day * SECONDS_OF_A_DAY + hour * 3600 + minute * 60)
    }

    fn hours(days: u32, from_minute: u32, until_minute: u32) -> KeyHours {
        KeyHours { days, from_minute, until_minute }
    }

    fn anywhere() -> IpAddr {
        "203.0.113.7".parse().expect("an address")
    }

    #[test]
    fn a_key_without_any_is_accepted_always_and_everywhere() {
        assert!(Restrictions::new(Box::default(), &[]).is_none());
    }

    #[test]
    fn a_key_is_accepted_from_the_first_second_of_its_hours_until_their_end_on_their_days_alone() {
        // Friday and Saturday, 08:30 to 18:00.
        let key = Restrictions::new(Box::default(), &[hours(0b011_0000, 510, 1080)]).expect("restricted");
        let admit = |now| key.admit(anywhere(), now);
        assert_eq!(admit(at(0, 8, 29)), None);
        assert_eq!(admit(at(0, 8, 30)), Some(Some(at(0, 18, 0))));
        assert_eq!(admit(at(0, 17, 59)), Some(Some(at(0, 18, 0))));
        assert_eq!(admit(at(0, 18, 0)), None);
        assert_eq!(admit(at(1, 12, 0)), Some(Some(at(1, 18, 0))));
        for day in [2, 3, 4, 5, 6] {
            assert_eq!(admit(at(day, 12, 0)), None, "{day} days after that Friday");
        }
        assert_eq!(admit(at(7, 12, 0)), Some(Some(at(7, 18, 0))));
    }

    #[test]
    fn hours_may_reach_midnight_and_go_on_after_it() {
        let late = [hours(0b001_0000, 1320, 1440), hours(0b010_0000, 0, 120)];
        let key = Restrictions::new(Box::default(), &late).expect("restricted");
        assert_eq!(key.admit(anywhere(), at(0, 23, 59)), Some(Some(at(1, 0, 0))));
        assert_eq!(key.admit(anywhere(), at(1, 0, 0)), Some(Some(at(1, 2, 0))));
        assert_eq!(key.admit(anywhere(), at(1, 2, 0)), None);
    }

    #[test]
    fn both_have_to_fit() {
        let networks: Box<[IpNet]> =
            ["203.0.113.0/24", "2001:db8::/32"].map(|net| net.parse().expect("net")).into();
        let there = Restrictions::new(networks.clone(), &[]).expect("restricted");
        assert_eq!(there.admit(anywhere(), at(0, 0, 0)), Some(None));
        assert_eq!(there.admit("2001:db8::1".parse().expect("an address"), at(0, 0, 0)), Some(None));
        for stranger in ["203.0.112.7", "2001:db9::1", "::ffff:203.0.113.7"] {
            assert_eq!(there.admit(stranger.parse().expect("an address"), at(0, 0, 0)), None, "{stranger}");
        }
        let both = Restrictions::new(networks, &[hours(127, 0, 60)]).expect("restricted");
        assert_eq!(both.admit(anywhere(), at(0, 0, 59)), Some(Some(at(0, 1, 0))));
        assert_eq!(both.admit(anywhere(), at(0, 1, 0)), None);
        assert_eq!(both.admit("198.51.100.1".parse().expect("an address"), at(0, 0, 59)), None);
    }
}
