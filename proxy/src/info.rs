//! `retrograde info`.

use crate::cli::{InfoArgs, MediaArgs};
use crate::ending::describe;
use crate::open;
use crate::units::{cpu_name, human_bytes};
use anyhow::Result;
use serde_json::json;
use snapshots::Recording;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs the subcommand; the exit status.
pub fn run(args: &InfoArgs) -> Result<u8> {
    let (name, recording) = open::recording(&args.file, &MediaArgs::default())?;
    if args.json {
        crate::say!("{:#}", as_json(&recording)?);
    } else {
        crate::say!("{}", as_text(&name, &recording)?.trim_end());
    }
    Ok(0)
}

fn as_json(recording: &Recording) -> Result<serde_json::Value> {
    let config = recording.config();
    let (inputs, interrupts) = recording.count_events()?;
    let media = config.media.iter().enumerate().map(|(number, m)| {
        Ok(json!({
            "name": m.name,
            "bytes": m.bytes,
            "xxh3_128": format!("{:032x}", m.hash),
            "embedded": recording.embeds(number)?,
        }))
    });
    let media = media.collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "end": recording.end().0,
        "virtual_ns": recording.end_time().0,
        "checkpoints": recording.checkpoints().len(),
        "start": recording.start().0,
        "indexed_intervals": recording.intervals(),
        "bytes": recording.bytes(),
        "inputs": inputs,
        "interrupts": interrupts,
        "ended_by": recording.ended_by().map(describe),
        "machine": {
            "memory": config.ram_bytes,
            "cpu": cpu_name(config.cpu),
            "rtc": date(config.rtc_start),
            "bios_bytes": config.bios.len(),
            "flash_bytes": config.flash_bytes(),
            "debug_exit_port": config.debug_exit_port,
            "no_reboot": config.no_reboot,
            "drives": config.drives.iter().map(|d| json!({ "slot": d.slot.name(), "medium": d.medium })).collect::<Vec<_>>(),
        },
        "media": media,
    }))
}

fn as_text(name: &str, recording: &Recording) -> Result<String> {
    let config = recording.config();
    let (inputs, interrupts) = recording.count_events()?;
    let bios = match config.bios.len() as u64 + config.flash_bytes() {
        0 => "no firmware".to_owned(),
        n => format!("firmware of {} KiB", n >> 10),
    };
    let debug_exit =
        config.debug_exit_port.map_or_else(String::new, |p| format!(", isa-debug-exit at {p:#x}"));
    let no_reboot = if config.no_reboot { ", ends at a reset" } else { "" };
    let media = media(recording)?;
    let part = match recording.start().0 {
        0 => String::new(),
        start => format!("; a part, from position {start}"),
    };
    let ended = recording.ended_by().map_or_else(|| killed(recording), describe);
    Ok(format!(
        "{name}\n  length       {} steps, {} virtual{part}\n  ended by     {ended}\n  machine      {}, {} MiB, {bios}{debug_exit}{no_reboot}\n{media}  \
         clock        {} at power-on\n  inputs       {}\n  interrupts   {}\n  checkpoints  {}\n  size         {}\n",
        recording.end(),
        recording.end_time(),
        cpu_name(config.cpu),
        config.ram_bytes >> 20,
        date(config.rtc_start),
        inputs,
        interrupts,
        recording.checkpoints().len(),
        human_bytes(recording.bytes()),
    ))
}

/// A line for each drive, and for each image that is put into one later.
fn media(recording: &Recording) -> Result<String> {
    let config = recording.config();
    let place = |number| {
        config.drives.iter().find(|drive| drive.medium == Some(number)).map_or("later", |d| d.slot.name())
    };
    let line = |(number, medium): (usize, &vm::Medium)| {
        let held = if recording.embeds(number)? { "in the recording" } else { "needed beside it" };
        Ok(format!("  {:<12} {}, {}, {held}\n", place(number), medium.name, human_bytes(medium.bytes)))
    };
    config.media.iter().enumerate().map(line).collect()
}

fn killed(recording: &Recording) -> String {
    match recording.torn_at() {
        Some(at) => format!("a killed recorder (usable up to byte {at} of the file)"),
        None => "a killed recorder".into(),
    }
}

/// A date as `--rtc` takes it; a number where no calendar goes (a recording can hold any).
fn date(seconds: i64) -> String {
    let plain = || format!("{seconds} s since 1970");
    let Ok(after) = u64::try_from(seconds) else { return plain() };
    // The last second of the year 9999, where the format ends.
    if after > 253_402_300_799 {
        return plain();
    }
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(after);
    humantime::format_rfc3339_seconds(time).to_string().trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_shown_as_they_are_given() {
        assert_eq!(date(1_704_067_200), "2024-01-01T00:00:00");
        assert_eq!(date(-5), "-5 s since 1970");
        assert!(date(i64::MAX).ends_with("since 1970"));
    }
}
