//! Drives and what is in them, from the command line.

use crate::usage::Usage;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use snapshots::{Image, Shared};
use std::path::{Path, PathBuf};
use vm::config::STORAGE_MAX;
use vm::{BootDevice, BootOptions, Drive, DriveKind, Medium, Slot};

/// Sector sizes.
const DISK_SECTOR: u64 = 512;
const CD_SECTOR: u64 = 2048;
/// The largest floppy: 2.88 MB.
const FLOPPY_MAX: u64 = 2880 << 10;
/// Blocks of a CD are numbered in 32 bits.
const CD_MAX: u64 = (u32::MAX as u64) * CD_SECTOR;
/// Images up to this size are always put into the recording.
const SMALL_BYTES: u64 = 4 << 20;
/// From this size on the user is told that an image is being read.
const BIG_BYTES: u64 = 1 << 30;
/// The volume descriptor of an ISO 9660 image, and where it says how many blocks the volume has.
const VOLUME_DESCRIPTOR: u64 = 0x8000;
const VOLUME_BLOCKS: usize = 80;

/// Drives, and how their images are used.
#[derive(Debug, Default, Args)]
pub struct DriveArgs {
    /// Hard disk: first IDE channel, device 0
    #[arg(long, value_name = "IMAGE")]
    pub hda: Option<PathBuf>,
    /// Hard disk: first IDE channel, device 1
    #[arg(long, value_name = "IMAGE")]
    pub hdb: Option<PathBuf>,
    /// Hard disk: second IDE channel, device 0
    #[arg(long, value_name = "IMAGE")]
    pub hdc: Option<PathBuf>,
    /// Hard disk: second IDE channel, device 1
    #[arg(long, value_name = "IMAGE")]
    pub hdd: Option<PathBuf>,
    /// CD-ROM in the drive at the second IDE channel, device 0
    #[arg(long, value_name = "ISO")]
    pub cdrom: Option<PathBuf>,
    /// Floppy disk in the first drive
    #[arg(long, value_name = "IMAGE")]
    pub fda: Option<PathBuf>,
    /// Floppy disk in the second drive
    #[arg(long, value_name = "IMAGE")]
    pub fdb: Option<PathBuf>,
    /// How the firmware boots: order=LETTERS, what it tries, in order: a (floppy), c (hard disk), d (CD-ROM), n (network);
    /// once=LETTERS, what it tries until the first reset; menu=on, it offers a menu, for splash-time=MS; strict=on, it tries
    /// nothing else; reboot-timeout=MS, after which it tries again
    #[arg(long, value_name = "order=LETTERS,…", default_value = "order=cad", value_parser = parse_boot)]
    pub boot: Boot,
    /// `on`: images are never written to, and what the guest writes is in the recording only; `off`: it is written to the images
    /// of disks when the recording has ended in order
    #[arg(long, value_enum, default_value_t = Snapshot::On)]
    pub snapshot: Snapshot,
    /// Put the contents of all images into the recording, instead of referring to those larger than 4 MiB by name and hash
    #[arg(long)]
    pub embed_media: bool,
}

/// Whether images stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Snapshot {
    /// They do.
    #[default]
    On,
    /// They get what the guest wrote.
    Off,
}

/// How the firmware boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// What it tries.
    pub order: [Option<BootDevice>; 3],
    /// The rest.
    pub options: BootOptions,
}

fn parse_boot(text: &str) -> Result<Boot, String> {
    let mut boot = Boot { order: parse_order("cad")?, ..Boot::default() };
    for (i, part) in text.split(',').enumerate() {
        let (name, value) = match part.split_once('=') {
            Some(option) => option,
            None if i == 0 => ("order", part),
            None => return Err(format!("`{part}`: write NAME=VALUE")),
        };
        let options = &mut boot.options;
        match name {
            "order" => boot.order = parse_order(value)?,
            "once" => options.once = Some(parse_order(value)?),
            "menu" => options.menu = parse_switch(part, value)?,
            "strict" => options.strict = parse_switch(part, value)?,
            "splash-time" => options.menu_wait_ms = Some(parse_milliseconds(part, value)?),
            // As for QEMU: never.
            "reboot-timeout" if value == "-1" => options.retry_ms = None,
            "reboot-timeout" => options.retry_ms = Some(parse_milliseconds(part, value)?),
            _ => {
                return Err(format!(
                    "there is no `{name}`; there are order, once, menu, strict, splash-time and reboot-timeout"
                ));
            }
        }
    }
    Ok(boot)
}

fn parse_order(letters: &str) -> Result<[Option<BootDevice>; 3], String> {
    let usage =
        || format!("`{letters}`: write up to three different letters of a, c, d and n, for example order=dc");
    let mut order = [None; 3];
    for (i, letter) in letters.chars().enumerate() {
        let device = match letter {
            'a' => BootDevice::Floppy,
            'c' => BootDevice::Disk,
            'd' => BootDevice::Cd,
            'n' => BootDevice::Network,
            _ => return Err(usage()),
        };
        if order.contains(&Some(device)) {
            return Err(usage());
        }
        *order.get_mut(i).ok_or_else(usage)? = Some(device);
    }
    if letters.is_empty() { Err(usage()) } else { Ok(order) }
}

fn parse_switch(option: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{option}`: write on or off")),
    }
}

fn parse_milliseconds(option: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("`{option}`: write milliseconds, 0 to 65535"))
}

/// The machine's drives and media, with the opened images.
#[derive(Debug, Default)]
pub struct Drives {
    /// For the machine's configuration.
    pub drives: Vec<Drive>,
    /// For the machine's configuration.
    pub media: Vec<Medium>,
    images: Vec<Image>,
    embed: Vec<(usize, Shared)>,
    write_back: bool,
}

impl Drives {
    /// Opens all that `args` name, and the images that will be put into a drive later.
    pub fn open(args: &DriveArgs, later: &[(Slot, PathBuf)]) -> Result<Drives> {
        if args.cdrom.is_some() && args.hdc.is_some() {
            return Err(Usage(
                "--cdrom and --hdc are two drives in one place; give --hdd instead of --hdc".into(),
            )
            .into());
        }
        let mut drives = Drives { write_back: args.snapshot == Snapshot::Off, ..Drives::default() };
        let named = [
            (Slot::Hda, DriveKind::Disk, "--hda", &args.hda),
            (Slot::Hdb, DriveKind::Disk, "--hdb", &args.hdb),
            (Slot::Hdc, DriveKind::Disk, "--hdc", &args.hdc),
            (Slot::Hdc, DriveKind::Cd, "--cdrom", &args.cdrom),
            (Slot::Hdd, DriveKind::Disk, "--hdd", &args.hdd),
            (Slot::Fda, DriveKind::Floppy, "--fda", &args.fda),
            (Slot::Fdb, DriveKind::Floppy, "--fdb", &args.fdb),
        ];
        for (slot, kind, option, path) in named {
            if let Some(path) = path {
                let number = drives.add(kind, option, path, args.embed_media)?;
                drives.drives.push(Drive { slot, kind, medium: Some(number) });
            }
        }
        for (slot, path) in later {
            drives.add_for_later(*slot, path, args.embed_media)?;
        }
        Ok(drives)
    }

    /// An image that will be put into a drive, which need not have had one.
    fn add_for_later(&mut self, slot: Slot, path: &Path, embed: bool) -> Result<()> {
        let kind = if Slot::FLOPPY.contains(&slot) { DriveKind::Floppy } else { DriveKind::Cd };
        match self.drives.iter().find(|drive| drive.slot == slot) {
            Some(drive) if drive.kind != kind => {
                return Err(Usage(format!("--script: insert: a disk cannot be taken out of {slot}")).into());
            }
            Some(_) => {}
            None => self.drives.push(Drive { slot, kind, medium: None }),
        }
        if self.number(path).is_none() {
            self.add(kind, "--script: insert", path, embed)?;
        }
        Ok(())
    }

    /// The number of a medium.
    pub fn number(&self, path: &Path) -> Option<usize> {
        self.images.iter().position(|image| image.path() == path)
    }

    fn add(&mut self, kind: DriveKind, option: &str, path: &Path, embed: bool) -> Result<usize> {
        let usage = |what: String| Usage(format!("{option}: {what}"));
        let writable = self.write_back && kind != DriveKind::Cd;
        let image = if writable { Image::open_for_writing(path) } else { Image::open(path) };
        let image = image.map_err(|e| usage(e.to_string()))?;
        if self.number(path).is_some() {
            return Err(usage(format!("{} is in another drive already", path.display())).into());
        }
        check(kind, &image).map_err(|what| usage(format!("{}: {what}", path.display())))?;
        let number = self.media.len();
        self.media.push(Medium {
            name: path.display().to_string(),
            bytes: image.bytes(),
            hash: hash(&image).with_context(|| option.to_owned())?,
            read_only: kind == DriveKind::Cd,
        });
        // What a recording refers to must stay as it is.
        if embed || writable || image.bytes() <= SMALL_BYTES {
            self.embed.push((number, image.share()));
        }
        self.images.push(image);
        Ok(number)
    }

    /// The contents of all media, for the machine.
    pub fn sources(&self) -> Vec<Box<dyn vm::BlockSource>> {
        self.images.iter().map(|image| Box::new(image.share()) as Box<dyn vm::BlockSource>).collect()
    }

    /// Those that go into the recording.
    pub fn embedded(&self) -> Vec<(usize, Shared)> {
        self.embed.clone()
    }

    /// Files that are read, with what to call them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.images.iter().map(Image::path)
    }

    /// Writes to the images what the guest wrote, if that was asked for.
    pub fn write_back(&self, machine: &vm::Machine) -> Result<()> {
        for (number, image) in self.images.iter().enumerate().filter(|_| self.write_back) {
            for (offset, page) in machine.written_pages(number) {
                let len = image.bytes().saturating_sub(offset).min(page.len() as u64) as usize;
                image.write_at(offset, &page[..len]).context("--snapshot off")?;
            }
            image.finish_writing().context("--snapshot off")?;
        }
        Ok(())
    }
}

/// Whether an image can be what it is said to be.
fn check(kind: DriveKind, image: &Image) -> Result<(), String> {
    let bytes = image.bytes();
    let (sector, most, name) = match kind {
        DriveKind::Disk => (DISK_SECTOR, STORAGE_MAX / 2, "disk"),
        DriveKind::Cd => (CD_SECTOR, CD_MAX, "CD-ROM"),
        DriveKind::Floppy => (DISK_SECTOR, FLOPPY_MAX, "floppy disk"),
    };
    if bytes > most {
        return Err(format!("{bytes} bytes are more than a {name} can have, which is {most}"));
    }
    if !bytes.is_multiple_of(sector) {
        return Err(format!(
            "{bytes} bytes are no whole number of sectors of {sector} bytes: it is no {name} image, or it was cut off"
        ));
    }
    let mut start = [0; 512];
    let mut descriptor = [0; 2048];
    image
        .read_at(0, &mut start)
        .and_then(|()| image.read_at(VOLUME_DESCRIPTOR, &mut descriptor))
        .map_err(|e| e.to_string())?;
    let is_iso = descriptor.starts_with(b"\x01CD001");
    match kind {
        // An image for both has a boot sector too.
        DriveKind::Disk if is_iso && start[510..] != [0x55, 0xaa] => {
            Err("it is the image of a CD-ROM; give it with --cdrom".to_owned())
        }
        DriveKind::Cd if is_iso => {
            let blocks = descriptor[VOLUME_BLOCKS..VOLUME_BLOCKS + 4]
                .iter()
                .rev()
                .fold(0, |n, b| n << 8 | u64::from(*b));
            if blocks * CD_SECTOR > bytes {
                return Err(format!("it was cut off: it has {bytes} bytes of {}", blocks * CD_SECTOR));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The hash of an image; says how far it is if that takes long.
fn hash(image: &Image) -> Result<u128> {
    let bytes = image.bytes();
    let mut tenths = 0;
    Ok(image.hash(&mut |done| {
        let now = done.saturating_mul(10) / bytes;
        if now > tenths && bytes >= BIG_BYTES {
            tenths = now;
            crate::note!("retrograde: {}: {}% read", image.path().display(), now * 10);
        }
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(args: &DriveArgs) -> String {
        Drives::open(args, &[]).unwrap_err().to_string()
    }

    fn file(dir: &Path, name: &str, bytes: &[u8]) -> Option<PathBuf> {
        std::fs::write(dir.join(name), bytes).unwrap();
        Some(dir.join(name))
    }

    fn iso(blocks: u32) -> Vec<u8> {
        let mut iso = vec![0; 40 << 10];
        iso[0x8000..0x8006].copy_from_slice(b"\x01CD001");
        iso[0x8050..0x8054].copy_from_slice(&blocks.to_le_bytes());
        iso
    }

    #[test]
    fn images_that_cannot_be_what_they_should_be_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| file(dir.path(), name, bytes);
        for (args, words) in [
            (DriveArgs { hda: Some("missing.img".into()), ..Default::default() }, ["--hda", "missing.img"]),
            (DriveArgs { hdb: file("a", &[0; 1000]), ..Default::default() }, ["--hdb", "cut off"]),
            (DriveArgs { hda: file("b", &iso(20)), ..Default::default() }, ["--hda", "--cdrom"]),
            (DriveArgs { cdrom: file("c", &iso(21)), ..Default::default() }, ["--cdrom", "cut off"]),
            (
                DriveArgs { fda: file("d", &vec![0; 3 << 20]), ..Default::default() },
                ["--fda", "more than a floppy"],
            ),
            (
                DriveArgs { hda: file("e", &[0; 512]), hdb: file("e", &[0; 512]), ..Default::default() },
                ["--hdb", "another"],
            ),
            (
                DriveArgs { hdc: file("f", &[0; 512]), cdrom: file("g", &iso(20)), ..Default::default() },
                ["--hdc", "--cdrom"],
            ),
        ] {
            let error = opened(&args);
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn small_images_go_into_the_recording() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = DriveArgs { hda: file(dir.path(), "small", &[1; 512]), ..Default::default() };
        args.hdb = file(dir.path(), "large", &vec![2; 5 << 20]);
        args.cdrom = file(dir.path(), "iso", &iso(20));
        let drives = Drives::open(&args, &[]).unwrap();
        let embedded: Vec<_> = drives.embedded().iter().map(|(number, _)| *number).collect();
        assert_eq!(embedded, [0, 2]);
        assert_eq!(drives.media.iter().map(|m| m.read_only).collect::<Vec<_>>(), [false, false, true]);
        args.embed_media = true;
        assert_eq!(Drives::open(&args, &[]).unwrap().embedded().len(), 3);
    }

    #[test]
    fn the_boot_order_is_read_as_it_is_for_qemu() {
        let order = |text| parse_boot(text).map(|boot| boot.order);
        assert_eq!(order("order=dc"), Ok([Some(BootDevice::Cd), Some(BootDevice::Disk), None]));
        assert_eq!(order("n"), Ok([Some(BootDevice::Network), None, None]));
        for bad in
            ["", "order=", "order=x", "cc", "acdn", "menu=1", "menu=on,dc", "splash-time=-1", "color=on"]
        {
            assert!(order(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn booting_has_options() {
        let boot = parse_boot("once=d,menu=on,splash-time=1500,strict=on,reboot-timeout=20").unwrap();
        assert_eq!(boot.order, [Some(BootDevice::Disk), Some(BootDevice::Floppy), Some(BootDevice::Cd)]);
        let expected = BootOptions {
            once: Some([Some(BootDevice::Cd), None, None]),
            menu: true,
            menu_wait_ms: Some(1500),
            retry_ms: Some(20),
            strict: true,
        };
        assert_eq!(boot.options, expected);
        assert_eq!(parse_boot("reboot-timeout=-1").unwrap().options, BootOptions::default());
    }
}
