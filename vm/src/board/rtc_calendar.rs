//! How the registers of a real-time clock count: on the bytes as they are, in the format that register B names.

use super::rtc::reg;

/// Bit 7 of an hour in 12-hour mode.
const PM: u8 = 0x80;
/// An alarm byte with both top bits set matches everything ("Time, Calendar and Alarm Locations": don't care).
const DONT_CARE: u8 = 0xc0;

/// The DM and 24/12 bits of register B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    /// As register B says.
    pub fn of(register_b: u8) -> Format {
        Format { binary: register_b & 0x04 != 0, hours_24: register_b & 0x02 != 0 }
    }

    fn encode(self, value: u8) -> u8 {
        if self.binary { value } else { ((value / 10 % 10) << 4) | (value % 10) }
    }

    fn decode(self, byte: u8) -> u8 {
        // At most 165: the digits of a byte that is not BCD count what they weigh.
        if self.binary { byte } else { (byte >> 4) * 10 + (byte & 15) }
    }

    /// Hour 0 to 23 as its byte.
    fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let pm = if hour >= 12 { PM } else { 0 };
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelve) | pm
    }

    /// The hour 0 to 23 of a byte, or a number above 23 if it is none.
    fn decode_hour(self, byte: u8) -> u8 {
        (0..24).find(|&hour| self.encode_hour(hour) == byte).unwrap_or(0xff)
    }
}

/// Counts one field up; past `last` (or where it was no valid value) it starts at `first` and carries.
fn bump(byte: &mut u8, format: Format, first: u8, last: u8) -> bool {
    let value = format.decode(*byte);
    let carry = value >= last;
    *byte = format.encode(if carry { first } else { value + 1 });
    carry
}

/// One update cycle.
pub fn next_second(ram: &mut [u8; 128]) {
    let format = Format::of(ram[reg::B]);
    if !bump(&mut ram[reg::SECONDS], format, 0, 59) || !bump(&mut ram[reg::MINUTES], format, 0, 59) {
        return;
    }
    let hour = format.decode_hour(ram[reg::HOURS]);
    ram[reg::HOURS] = format.encode_hour(if hour >= 23 { 0 } else { hour + 1 });
    if hour >= 23 {
        next_day(ram);
    }
}

/// What a carry out of the hours does: day of the week and date.
pub fn next_day(ram: &mut [u8; 128]) {
    let format = Format::of(ram[reg::B]);
    bump(&mut ram[reg::DAY_OF_WEEK], format, 1, 7);
    let month = format.decode(ram[reg::MONTH]);
    let year = format.decode(ram[reg::YEAR]);
    let century = format.decode(ram[reg::CENTURY]);
    let last = days_in_month(u32::from(century) * 100 + u32::from(year), month);
    let carry = bump(&mut ram[reg::DAY], format, 1, last)
        && bump(&mut ram[reg::MONTH], format, 1, 12)
        && bump(&mut ram[reg::YEAR], format, 0, 99);
    if carry {
        bump(&mut ram[reg::CENTURY], format, 0, 99);
    }
}

fn days_in_month(year: u32, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Whether the time registers agree with the alarm registers, byte for byte.
pub fn alarm_matches(ram: &[u8; 128]) -> bool {
    [(reg::SECONDS, reg::SECONDS_ALARM), (reg::MINUTES, reg::MINUTES_ALARM), (reg::HOURS, reg::HOURS_ALARM)]
        .into_iter()
        .all(|(time, alarm)| meets(ram[alarm], ram[time]))
}

fn meets(alarm: u8, time: u8) -> bool {
    alarm & DONT_CARE == DONT_CARE || alarm == time
}

/// The time as seconds since midnight; `None` if a register holds no valid value.
pub fn second_of_day(ram: &[u8; 128], format: Format) -> Option<u64> {
    let field = |byte: u8| (0..60).find(|&value| format.encode(value) == byte).map(u64::from);
    let hour = u64::from(format.decode_hour(ram[reg::HOURS]));
    let (minute, second) = (field(ram[reg::MINUTES])?, field(ram[reg::SECONDS])?);
    (hour < 24).then_some(hour * 3600 + minute * 60 + second)
}

/// The first second of the day at or after `from` (going round) that meets the alarm; `None` if none ever does.
pub fn next_alarm(ram: &[u8; 128], format: Format, from: u64) -> Option<u64> {
    let hour_meets = |hour: u64| meets(ram[reg::HOURS_ALARM], format.encode_hour(hour as u8));
    let minute_meets = |minute: u64| meets(ram[reg::MINUTES_ALARM], format.encode(minute as u8));
    let second_meets = |second: u64| meets(ram[reg::SECONDS_ALARM], format.encode(second as u8));
    let second = (0..60).find(|&s| second_meets(s))?;
    // In the present minute, then at the first matching second of the minutes after it.
    let minute_of_day = |index: u64| hour_meets(index / 60 % 24) && minute_meets(index % 60);
    let start = from / 60;
    if minute_of_day(start)
        && let Some(second) = (from % 60..60).find(|&s| second_meets(s))
    {
        return Some(start * 60 + second);
    }
    let minute = (start + 1..=start + 1440).map(|index| index % 1440).find(|&index| minute_of_day(index))?;
    Some(minute * 60 + second)
}

/// Sets the clock to `unix` seconds since 1970 (UTC or local, as the guest is to read it), in BCD and 24 hours. The years
/// that the registers can say are 0 to 9999: outside of them the nearest second that they can.
pub fn set_clock(ram: &mut [u8; 128], unix: i64) {
    const YEAR_0: i64 = -62_167_219_200;
    const YEAR_9999_END: i64 = 253_402_300_799;
    let unix = unix.clamp(YEAR_0, YEAR_9999_END);
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let bcd = Format { binary: false, hours_24: true };
    let mut set = |register: usize, value: i64| ram[register] = bcd.encode(value as u8);
    set(reg::SECONDS, second % 60);
    set(reg::MINUTES, second / 60 % 60);
    set(reg::HOURS, second / 3600);
    set(reg::DAY_OF_WEEK, (days + 4).rem_euclid(7) + 1); // 1970-01-01 was a Thursday, day 5 of a week from Sunday
    set(reg::DAY, day);
    set(reg::MONTH, month);
    set(reg::YEAR, year % 100);
    set(reg::CENTURY, year / 100);
}

/// Year, month and day of a day number (0 = 1970-01-01) in the Gregorian calendar, years 0 to 9999.
fn civil(day: i64) -> (i64, i64, i64) {
    // 400 years are 146,097 days. Day 0 of the count is 0000-01-01; the estimate is at most a year short.
    let day = day + 719_528;
    let days_before = |year: i64| {
        let past = year - 1; // of year 0 on, leap years before `year`
        year * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) + 1
    };
    let mut year = day * 400 / 146_097;
    while days_before(year + 1) <= day {
        year += 1;
    }
    while days_before(year) > day {
        year -= 1;
    }
    let mut left = day - days_before(year);
    let mut month = 1;
    while left >= i64::from(days_in_month(year as u32, month)) {
        left -= i64::from(days_in_month(year as u32, month));
        month += 1;
    }
    (year, i64::from(month), left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(unix: i64) -> [u8; 128] {
        let mut ram = [0; 128];
        set_clock(&mut ram, unix);
        ram[reg::B] = 2;
        ram
    }

    fn date(ram: &[u8; 128]) -> [u8; 8] {
        [
            ram[reg::CENTURY],
            ram[reg::YEAR],
            ram[reg::MONTH],
            ram[reg::DAY],
            ram[reg::HOURS],
            ram[reg::MINUTES],
            ram[reg::SECONDS],
            ram[reg::DAY_OF_WEEK],
        ]
    }

    #[test]
    fn known_dates() {
        assert_eq!(date(&clock(0)), [0x19, 0x70, 1, 1, 0, 0, 0, 5]);
        assert_eq!(date(&clock(1_704_067_199)), [0x20, 0x23, 0x12, 0x31, 0x23, 0x59, 0x59, 1]);
        assert_eq!(date(&clock(951_782_400)), [0x20, 0, 2, 0x29, 0, 0, 0, 3]);
        assert_eq!(date(&clock(-1)), [0x19, 0x69, 0x12, 0x31, 0x23, 0x59, 0x59, 4]);
        assert_eq!(date(&clock(i64::MAX))[..3], [0x99, 0x99, 0x12]);
        assert_eq!(date(&clock(i64::MIN))[..7], [0, 0, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn counting_days_agrees_with_the_calendar_for_four_centuries() {
        let start = -2_208_988_800; // 1900-01-01
        let mut ram = clock(start);
        for day in 1..146_098 {
            next_day(&mut ram);
            assert_eq!(date(&ram), date(&clock(start + day * 86_400)), "day {day}");
        }
    }

    #[test]
    fn twelve_hour_clock_counts_11_12_1() {
        for (binary, eleven_am, noon, one_pm, midnight) in
            [(0, 0x11, 0x92, 0x81, 0x12), (4, 11, 0x8c, 0x81, 12)]
        {
            let mut ram = clock(0);
            ram[reg::B] = binary;
            let last_minute = if binary == 0 { 0x59 } else { 59 };
            let mut next_hour = |hour| {
                (ram[reg::HOURS], ram[reg::MINUTES], ram[reg::SECONDS]) = (hour, last_minute, last_minute);
                next_second(&mut ram);
                (ram[reg::HOURS], ram[reg::DAY])
            };
            assert_eq!(next_hour(eleven_am), (noon, 1));
            assert_eq!(next_hour(noon), (one_pm, 1));
            assert_eq!(next_hour(eleven_am | 0x80), (midnight, 2));
        }
    }
}
