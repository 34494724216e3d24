//! `--drive`, as QEMU has it.

use std::path::PathBuf;
use vm::config::FLASH_CHIPS_MAX;
use vm::{DriveKind, Slot};

const USAGE: &str = "file=IMAGE[,if=ide|floppy|virtio|pflash|none][,media=disk|cdrom][,index=N][,format=raw|qcow2][,readonly=on|off]";

/// What `--drive` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveSpec {
    /// The image.
    pub file: PathBuf,
    /// What it is in.
    pub kind: DriveKind,
    /// What it is connected to.
    pub interface: Interface,
    /// Its place among those of its kind of interface.
    pub index: Option<usize>,
    /// The format that the image must have.
    pub format: Option<Format>,
    /// The guest cannot write to it.
    pub read_only: bool,
}

/// What a drive is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The controllers of the board.
    Board,
    /// A card of its own.
    Virtio,
    /// The bus that firmware is on.
    Flash,
    /// Nothing: it is an image for later.
    None,
}

/// A format of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The sectors, and nothing else.
    Raw,
    /// QEMU's.
    Qcow2,
}

impl DriveSpec {
    /// The places that it can have, by index.
    pub fn slots(&self) -> &'static [Slot] {
        if self.kind == DriveKind::Floppy { &Slot::FLOPPY } else { &Slot::IDE }
    }

    /// The option, for messages.
    pub fn option(&self) -> String {
        format!("--drive file={}", self.file.display())
    }
}

/// Reads what follows `--drive`.
pub fn parse(text: &str) -> Result<DriveSpec, String> {
    let (mut file, mut interface, mut media, mut index, mut format) = (None, "ide", "disk", None, None);
    let mut read_only = None;
    let parts = split_list(text);
    for part in &parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match (name, value) {
            ("file", path) if !path.is_empty() => file = Some(path),
            ("if", "ide" | "floppy" | "virtio" | "pflash" | "none") => interface = value,
            ("media", "disk" | "cdrom") => media = value,
            ("index" | "unit", _) if value.parse::<usize>().is_ok() => index = value.parse().ok(),
            ("readonly", "on" | "off") => read_only = Some(value == "on"),
            ("format", "raw") => format = Some(Format::Raw),
            ("format", "qcow2") => format = Some(Format::Qcow2),
            _ => return Err(format!("`{part}` is none of what a drive can have: {USAGE}")),
        }
    }
    let kind = match (interface, media) {
        ("floppy", "cdrom") => {
            return Err("a CD-ROM is not on the floppy controller: leave out if=floppy".into());
        }
        ("pflash", "cdrom") => return Err("a CD-ROM is no flash chip: leave out if=pflash".into()),
        ("virtio", "cdrom") => return Err("a virtio drive is a disk: leave out if=virtio".into()),
        ("virtio", _) if index.is_some() => {
            return Err("index: virtio drives are on cards, in the order of the command line".into());
        }
        ("none", _) if index.is_some() => return Err("index: if=none is in no drive yet".into()),
        ("floppy", _) | ("none", "disk") => DriveKind::Floppy,
        (_, "cdrom") => DriveKind::Cd,
        _ => DriveKind::Disk,
    };
    match read_only {
        Some(true) if kind != DriveKind::Cd && interface != "pflash" => {
            return Err(
                "readonly=on: only flash chips and CD-ROMs are; images stay as they are without it".into()
            );
        }
        Some(false) if kind == DriveKind::Cd => {
            return Err("readonly=off: a CD-ROM cannot be written to".into());
        }
        _ => {}
    }
    let file = file.ok_or_else(|| format!("a drive needs an image: {USAGE}"))?.into();
    let interface = match interface {
        "virtio" => Interface::Virtio,
        "pflash" => Interface::Flash,
        "none" => Interface::None,
        _ => Interface::Board,
    };
    let read_only = read_only.unwrap_or(kind == DriveKind::Cd);
    let spec = DriveSpec { file, kind, interface, index, format, read_only };
    let places = if interface == Interface::Flash { FLASH_CHIPS_MAX } else { spec.slots().len() };
    match index {
        Some(index) if index >= places => Err(format!("index={index}: there are places 0 to {}", places - 1)),
        _ => Ok(spec),
    }
}

/// The parts between commas; two commas are one that does not divide.
pub fn split_list(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match parts.last_mut() {
            Some(last) if c != ',' || rest.next_if_eq(&',').is_some() => last.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_described_as_they_are_for_qemu() {
        let spec = parse("file=a,,b.qcow2,if=ide,index=3,media=disk,format=qcow2").unwrap();
        let expected = DriveSpec {
            file: "a,b.qcow2".into(),
            kind: DriveKind::Disk,
            interface: Interface::Board,
            index: Some(3),
            format: Some(Format::Qcow2),
            read_only: false,
        };
        assert_eq!(spec, expected);
        assert_eq!(parse("media=cdrom,file=x").unwrap().kind, DriveKind::Cd);
        assert_eq!(parse("if=floppy,file=x").unwrap().slots(), Slot::FLOPPY);
        assert_eq!(parse("if=virtio,file=x").unwrap().interface, Interface::Virtio);
        assert_eq!(parse("if=none,file=x").unwrap().kind, DriveKind::Floppy);
        let flash = parse("if=pflash,format=raw,unit=1,readonly=on,file=x").unwrap();
        assert_eq!((flash.interface, flash.index, flash.read_only), (Interface::Flash, Some(1), true));
        assert!(parse("file=x,media=cdrom,readonly=on").unwrap().read_only);
        assert_eq!(parse("if=none,file=x,media=cdrom").unwrap().kind, DriveKind::Cd);
    }

    #[test]
    fn other_descriptions_are_refused_with_what_there_is() {
        for bad in [
            "",
            "x.img",
            "file=",
            "file=x,if=scsi",
            "file=x,if=virtio,index=0",
            "file=x,if=virtio,media=cdrom",
            "file=x,if=none,index=0",
            "file=x,index=4",
            "file=x,index=2,if=floppy",
            "file=x,index=-1",
            "file=x,media=tape",
            "file=x,if=floppy,media=cdrom",
            "file=x,cache=none",
            "file=x,readonly=on",
            "file=x,readonly=off,media=cdrom",
            "file=x,if=pflash,media=cdrom",
            "file=x,if=pflash,unit=2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("file=x,if=scsi").unwrap_err().contains("if=ide|floppy|virtio|pflash|none"));
    }
}
