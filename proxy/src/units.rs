//! Parsers of quantities on the command line and in scripts. Each error says what was expected.

use vm::CpuModel;
use vm::config::{RAM_MAX, RAM_MIN};

const MIB: u64 = 1 << 20;

/// A size of memory as QEMU's `-m` takes it: a number with suffix K, M, G, or without one in MiB.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if !(RAM_MIN..=RAM_MAX).contains(&bytes) || bytes % MIB != 0 {
        return Err(format!(
            "a machine can have {}M to {}M of memory in whole megabytes, not `{text}`",
            RAM_MIN / MIB,
            RAM_MAX / MIB
        ));
    }
    Ok(bytes)
}

/// A size: a number with suffix K, M, G, or without one in MiB; in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let usage = || format!("`{text}` is no size of memory; write for example 128M or 1G");
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], MIB),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, MIB),
    };
    let number: u64 = parse_count(digits).map_err(|_| usage())?;
    number.checked_mul(unit).ok_or_else(usage)
}

/// A count in decimal, or hexadecimal after `0x`; underscores are allowed between digits.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let usage = || format!("`{text}` is no number");
    let clean: String = text.chars().filter(|&c| c != '_').collect();
    let (digits, radix) = match clean.strip_prefix("0x").or_else(|| clean.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (clean.as_str(), 10),
    };
    // `from_str_radix` would take a sign.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(usage());
    }
    u64::from_str_radix(digits, radix).map_err(|_| usage())
}

/// A time in seconds (`2`, `0.25`) or with a unit (`250ms`, `3us`, `8ns`, `2s`), in nanoseconds.
pub fn parse_time_ns(text: &str) -> Result<u64, String> {
    let usage = || format!("`{text}` is no time; write seconds, as 2.5, or with a unit, as 250ms");
    let (number, unit_ns) = match text {
        _ if text.ends_with("ms") => (&text[..text.len() - 2], 1_000_000),
        _ if text.ends_with("us") => (&text[..text.len() - 2], 1_000),
        _ if text.ends_with("ns") => (&text[..text.len() - 2], 1),
        _ if text.ends_with('s') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1_000_000_000_u64),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(usage());
    }
    let whole_ns = match whole {
        "" => 0,
        _ => whole.parse::<u64>().map_err(|_| usage())?.checked_mul(unit_ns).ok_or_else(usage)?,
    };
    let mut fraction_ns = 0;
    let mut place = unit_ns;
    for digit in fraction.bytes() {
        place /= 10;
        fraction_ns += u64::from(digit - b'0') * place;
    }
    whole_ns.checked_add(fraction_ns).ok_or_else(usage)
}

/// A date for the guest's clock, in seconds since 1970 as the guest reads it.
pub fn parse_rtc(text: &str) -> Result<i64, String> {
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|_| format!("`{text}` is no date; write for example 2024-01-01T00:00:00"))?;
    Ok(unix_seconds(time))
}

/// Seconds since 1970 of a host time.
pub fn unix_seconds(time: std::time::SystemTime) -> i64 {
    match time.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

const CPU_NAMES: [(&str, CpuModel); 6] = [
    ("qemu64", CpuModel::Qemu64),
    ("qemu32", CpuModel::Qemu32),
    ("pentium3", CpuModel::Pentium3),
    ("pentium", CpuModel::Pentium),
    ("486", CpuModel::I486),
    ("max", CpuModel::Max),
];

/// A processor by QEMU's name.
pub fn parse_cpu(text: &str) -> Result<CpuModel, String> {
    CPU_NAMES.iter().find(|(name, _)| *name == text).map(|&(_, model)| model).ok_or_else(|| {
        let known: Vec<&str> = CPU_NAMES.iter().map(|&(name, _)| name).collect();
        format!("there is no processor `{text}`; there are {}", known.join(", "))
    })
}

/// The name of a processor as [`parse_cpu`] takes it.
pub fn cpu_name(model: CpuModel) -> &'static str {
    CPU_NAMES.iter().find(|&&(_, m)| m == model).map_or("unknown", |&(name, _)| name)
}

/// Bytes for people: `1.5 MB`.
pub fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_mebibytes_unless_it_has_a_suffix() {
        assert_eq!(parse_memory("128"), Ok(128 << 20));
        assert_eq!(parse_memory("128M"), Ok(128 << 20));
        assert_eq!(parse_memory("1g"), Ok(1 << 30));
        assert_eq!(parse_memory("2048k"), Ok(2 << 20));
    }

    #[test]
    fn memory_that_no_machine_can_have_is_refused() {
        for bad in ["", "M", "0", "512K", "1025K", "4G", "-1", "+5", "1.5G", "12é", "99999999999999999999G"]
        {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_exact_to_the_nanosecond() {
        assert_eq!(parse_time_ns("2"), Ok(2_000_000_000));
        assert_eq!(parse_time_ns("0.000000001"), Ok(1));
        assert_eq!(parse_time_ns(".5"), Ok(500_000_000));
        assert_eq!(parse_time_ns("250ms"), Ok(250_000_000));
        assert_eq!(parse_time_ns("1.5us"), Ok(1_500));
        assert_eq!(parse_time_ns("7ns"), Ok(7));
        for bad in ["", ".", "s", "-1", "1e3", "18446744073709551615", "1..2"] {
            assert!(parse_time_ns(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_take_hexadecimal_and_underscores() {
        assert_eq!(parse_count("1_000_000"), Ok(1_000_000));
        assert_eq!(parse_count("0xF4"), Ok(0xf4));
        for bad in ["", "0x", "+1", "-1", "12z", "f4"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_read_as_the_guest_will_read_them() {
        assert_eq!(parse_rtc("2024-01-01T00:00:00"), Ok(1_704_067_200));
        assert_eq!(parse_rtc("2024-01-01 00:00:01"), Ok(1_704_067_201));
        assert!(parse_rtc("yesterday").is_err());
    }

    #[test]
    fn processors_have_qemus_names() {
        assert_eq!(parse_cpu("486"), Ok(CpuModel::I486));
        assert_eq!(cpu_name(CpuModel::Qemu64), "qemu64");
        assert!(parse_cpu("z80").unwrap_err().contains("qemu64"));
    }
}
