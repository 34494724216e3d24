//! Drives and what is in them, from the command line.

use crate::boot_option::{Boot, parse_boot};
use crate::drive_spec::{self, DriveSpec, Format, Interface};
use crate::flash::{self, FlashChip};
use crate::usage::Usage;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use snapshots::{Image, Shared};
use std::path::{Path, PathBuf};
use vm::config::STORAGE_MAX;
use vm::{Drive, DriveKind, Medium, Slot};

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
    /// A drive of QEMU's kind: file=IMAGE[,if=ide|floppy|virtio|pflash|none][,media=disk|cdrom][,index=N][,format=raw|qcow2]; without
    /// an index it is in the first free place; virtio drives are cards; none is an image to be put into a drive later, a floppy disk
    /// or a CD-ROM; pflash is a flash chip with firmware in the place of --bios, or below it with unit=1, and cannot be written to
    /// with readonly=on; may be repeated
    #[arg(long, value_name = "SPEC", value_parser = drive_spec::parse)]
    pub drive: Vec<DriveSpec>,
    /// How the firmware boots: order=LETTERS, what it tries, in order: a (floppy), c (hard disk), d (CD-ROM), n (network);
    /// once=LETTERS, what it tries until the first reset; menu=on, it offers a menu, for splash-time=MS; strict=on, it tries
    /// nothing else; reboot-timeout=MS, after which it tries again
    #[arg(long, value_name = "order=LETTERS,…", default_value = "order=cad", value_parser = parse_boot)]
    pub boot: Boot,
    /// `on`: images are never written to, and what the guest writes is in the recording only; `off`: it is written to the images
    /// of disks and flash chips when the recording has ended in order
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

/// A drive that is wanted somewhere.
struct Place {
    slot: Slot,
    kind: DriveKind,
    /// As it was said.
    option: String,
    path: PathBuf,
    /// What it must be.
    format: Option<Format>,
}

/// Where each drive of the command line is.
fn places(args: &DriveArgs) -> Result<Vec<Place>> {
    use DriveKind::{Cd, Disk, Floppy};
    let named = [
        (Slot::Hda, Disk, "--hda", &args.hda),
        (Slot::Hdb, Disk, "--hdb", &args.hdb),
        (Slot::Hdc, Disk, "--hdc", &args.hdc),
        (Slot::Hdc, Cd, "--cdrom", &args.cdrom),
        (Slot::Hdd, Disk, "--hdd", &args.hdd),
        (Slot::Fda, Floppy, "--fda", &args.fda),
        (Slot::Fdb, Floppy, "--fdb", &args.fdb),
    ];
    let mut places: Vec<Place> = Vec::new();
    let mut take = |place: Place| match places.iter().find(|other| other.slot == place.slot) {
        Some(other) => Err(Usage(format!(
            "{} and {} are two drives in one place, {}: put one of them elsewhere, for example by --drive and index=N",
            place.option, other.option, place.slot
        ))),
        None => {
            places.push(place);
            Ok(())
        }
    };
    for (slot, kind, option, path) in named {
        if let Some(path) = path {
            take(Place { slot, kind, option: option.to_owned(), path: path.clone(), format: None })?;
        }
    }
    // Those that say where they are come before those that go where there is room.
    let in_places = args.drive.iter().filter(|spec| spec.interface == Interface::Board);
    let (indexed, others): (Vec<_>, Vec<_>) = in_places.partition(|spec| spec.index.is_some());
    for spec in indexed {
        let slot = spec.index.and_then(|index| spec.slots().get(index));
        take(place(spec, *slot.unwrap_or(&Slot::Hda)))?;
    }
    for spec in others {
        let free = spec.slots().iter().find(|slot| places.iter().all(|place| place.slot != **slot));
        let slot = *free.ok_or_else(|| Usage(format!("{}: there is no free place for it", spec.option())))?;
        places.push(place(spec, slot));
    }
    Ok(places)
}

fn place(spec: &DriveSpec, slot: Slot) -> Place {
    Place { slot, kind: spec.kind, option: spec.option(), path: spec.file.clone(), format: spec.format }
}

/// The machine's drives and media, with the opened images.
#[derive(Debug, Default)]
pub struct Drives {
    /// For the machine's configuration.
    pub drives: Vec<Drive>,
    /// For the machine's configuration.
    pub media: Vec<Medium>,
    /// Disks that are on cards of their own, by their media.
    pub virtio: Vec<usize>,
    /// Flash chips with firmware, the highest first.
    pub flash: Vec<FlashChip>,
    images: Vec<Image>,
    embed: Vec<(usize, Shared)>,
    write_back: bool,
}

impl Drives {
    /// Opens all that `args` name, and the images that will be put into a drive later.
    pub fn open(args: &DriveArgs, later: &[(Slot, PathBuf)]) -> Result<Drives> {
        let mut drives = Drives { write_back: args.snapshot == Snapshot::Off, ..Drives::default() };
        for Place { slot, kind, option, path, format } in places(args)? {
            let number = drives.add(kind, &option, &path, args.embed_media)?;
            drives.check_format(number, format).map_err(|what| Usage(format!("{option}: {what}")))?;
            drives.drives.push(Drive { slot, kind, medium: Some(number) });
        }
        for spec in args.drive.iter().filter(|spec| spec.interface == Interface::Virtio) {
            let number = drives.add_spec(spec, args.embed_media)?;
            drives.virtio.push(number);
        }
        for spec in args.drive.iter().filter(|spec| spec.interface == Interface::None) {
            drives.add_spare(spec, args.embed_media)?;
        }
        drives.flash = flash::chips(&args.drive, drives.write_back)?;
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

    /// Whether somebody can take out what is in a drive, and put this image in.
    pub fn check_change(&self, slot: Slot, path: Option<&Path>) -> Result<(), String> {
        let drive = self.drives.iter().find(|drive| drive.slot == slot);
        let kind = drive.ok_or_else(|| format!("the machine has no drive at {slot}"))?.kind;
        let media = match kind {
            DriveKind::Disk => return Err(format!("{slot}: a disk cannot be taken out")),
            DriveKind::Cd => ",media=cdrom",
            DriveKind::Floppy => "",
        };
        let Some(path) = path else { return Ok(()) };
        let shown = path.display();
        let Some(number) = self.number(path) else {
            return Err(format!(
                "{shown} is none of the images that the machine was started with; name it there: --drive file={shown},if=none{media}"
            ));
        };
        match check(kind, &self.images[number]) {
            Ok(()) if self.media[number].read_only == (kind == DriveKind::Cd) => Ok(()),
            Ok(()) => Err(format!("{slot}: {shown} was not given as an image for this kind of drive")),
            Err(what) => Err(format!("{slot}: {shown}: {what}")),
        }
    }

    /// The image of a drive that is on no controller of the board.
    fn add_spec(&mut self, spec: &DriveSpec, embed: bool) -> Result<usize> {
        let number = self.add(spec.kind, &spec.option(), &spec.file, embed)?;
        self.check_format(number, spec.format).map_err(|what| Usage(format!("{}: {what}", spec.option())))?;
        Ok(number)
    }

    /// An image that is in no drive, and the drive that it can be put into.
    fn add_spare(&mut self, spec: &DriveSpec, embed: bool) -> Result<()> {
        self.add_spec(spec, embed)?;
        if self.drives.iter().all(|drive| drive.kind != spec.kind) {
            // The CD-ROM drive is where --cdrom has it, if there is room.
            let slots = spec.slots().iter().rev();
            let order = |slot: &&Slot| usize::from(**slot != Slot::Hdc && **slot != Slot::Fda);
            let free =
                slots.filter(|slot| self.drives.iter().all(|drive| drive.slot != **slot)).min_by_key(order);
            let slot =
                *free.ok_or_else(|| Usage(format!("{}: there is no place for its drive", spec.option())))?;
            self.drives.push(Drive { slot, kind: spec.kind, medium: None });
        }
        Ok(())
    }

    /// The number of a medium.
    pub fn number(&self, path: &Path) -> Option<usize> {
        self.images.iter().position(|image| image.path() == path)
    }

    /// Opens an image for a drive of this kind; its number.
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

    fn check_format(&self, number: usize, wanted: Option<Format>) -> Result<(), String> {
        let is_qcow2 = self.images[number].is_qcow2();
        match wanted {
            Some(Format::Raw) if is_qcow2 => Err("it is a qcow2 image, and no raw one".into()),
            Some(Format::Qcow2) if !is_qcow2 => Err("it is no qcow2 image".into()),
            _ => Ok(()),
        }
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
        self.images.iter().map(Image::path).chain(self.flash.iter().map(FlashChip::path))
    }

    /// Writes to the images what the guest wrote, if that was asked for.
    pub fn write_back(&self, machine: &vm::Machine) -> Result<()> {
        if !self.write_back {
            return Ok(());
        }
        flash::write_back(&self.flash, machine)?;
        for (number, image) in self.images.iter().enumerate() {
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
        DriveKind::Disk | DriveKind::Floppy if is_iso && start[510..] != [0x55, 0xaa] => {
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
            (
                DriveArgs {
                    hda: file("h", &[0; 512]),
                    drive: vec![drive_spec::parse("file=i,index=0").unwrap()],
                    ..Default::default()
                },
                ["--hda", "--drive file=i"],
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
    fn drives_without_an_index_are_where_there_is_room() {
        let spec = |text| drive_spec::parse(text).unwrap();
        let args = DriveArgs {
            hda: Some("a".into()),
            drive: vec![
                spec("file=b"),
                spec("file=c,index=1"),
                spec("file=d,if=floppy"),
                spec("file=e,media=cdrom"),
            ],
            ..Default::default()
        };
        let places = places(&args).unwrap();
        let found = |name: &str| {
            let place = places.iter().find(|place| place.path == Path::new(name)).unwrap();
            (place.slot, place.kind)
        };
        assert_eq!(found("b"), (Slot::Hdc, DriveKind::Disk));
        assert_eq!(found("c"), (Slot::Hdb, DriveKind::Disk));
        assert_eq!(found("d"), (Slot::Fda, DriveKind::Floppy));
        assert_eq!(found("e"), (Slot::Hdd, DriveKind::Cd));
    }
}
