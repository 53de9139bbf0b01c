//! A day: waivers end on one.

use std::fmt;

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// None where the calendar has no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let exists = (1..=12).contains(&month) && (1..=last_day(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// The day (UTC) of so many seconds after 1970-01-01; the caller reads the clock. What is later is the last day of the year 9999.
    pub fn from_unix(seconds: u64) -> Self {
        let mut days = seconds / 86_400;
        for (year, month) in (1970..=9999).flat_map(|year| (1..=12).map(move |month| (year, month))) {
            let last = last_day(year, month);
            if let Some(day) = u8::try_from(days).ok().filter(|day| *day < last) {
                return Self { year, month, day: day + 1 };
            }
            days -= u64::from(last);
        }
        Self { year: 9999, month: 12, day: 31 }
    }

    /// Days since 1 March of the year 0, so that differences of days are right.
    fn number(self) -> i64 {
        // The year starts in March, so that the leap day is its last one; 153 days are in each five months from March on.
        let year = i64::from(self.year);
        let month = i64::from(self.month);
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        year * 365 + leap_days + (153 * month + 2) / 5 + i64::from(self.day) - 1
    }

    /// Days from `other` to this day; negative when this one comes first.
    pub fn days_after(self, other: Self) -> i64 {
        self.number() - other.number()
    }
}

/// The last day of a month from 1 to 12.
fn last_day(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar() {
        assert!(Date::new(2024, 2, 29).is_some() && Date::new(2000, 2, 29).is_some());
        for (year, month, day) in
            [(2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 0, 1), (2024, 13, 1), (2024, 1, 0)]
        {
            assert_eq!(Date::new(year, month, day), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn dates_follow_each_other() {
        let mut before = Date::from_unix(0);
        assert_eq!(before.to_string(), "1970-01-01");
        for day in 1..20_000_u64 {
            let date = Date::from_unix(day * 86_400 + 86_399);
            assert_eq!(date.days_after(before), 1, "{before} {date}");
            assert!(date > before);
            before = date;
        }
        assert_eq!(Date::from_unix(1_795_219_200).to_string(), "2026-11-21");
        assert_eq!(Date::from_unix(u64::MAX).to_string(), "9999-12-31");
    }
}
