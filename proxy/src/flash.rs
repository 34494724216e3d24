//! Flash chips with firmware, from the command line: `--drive if=pflash`, as QEMU has it.

use crate::drive_spec::{DriveSpec, Format, Interface};
use crate::machine_args::read_file;
use crate::usage::Usage;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use vm::board::flash::BLOCK;
use vm::config::{FIRMWARE_MAX, FLASH_CHIPS_MAX};
use vm::{FlashConfig, Machine};

/// A chip, and what is in it at power-on.
#[derive(Debug)]
pub struct FlashChip {
    path: PathBuf,
    image: Vec<u8>,
    read_only: bool,
}

impl FlashChip {
    /// For the machine's configuration.
    pub fn config(&self) -> FlashConfig {
        FlashConfig { bytes: self.image.len() as u64, read_only: self.read_only }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The chips that are asked for, the highest first. With `write_back` it is seen to that the files can be written to.
pub fn chips(specs: &[DriveSpec], write_back: bool) -> Result<Vec<FlashChip>> {
    let specs = in_order(specs.iter().filter(|spec| spec.interface == Interface::Flash))?;
    specs.into_iter().map(|spec| chip(spec, write_back)).collect()
}

/// Those that say which they are have their places, and the others what is left.
fn in_order<'a>(specs: impl Iterator<Item = &'a DriveSpec>) -> Result<Vec<&'a DriveSpec>> {
    let mut places = [None; FLASH_CHIPS_MAX];
    let (indexed, others): (Vec<_>, Vec<_>) = specs.partition(|spec| spec.index.is_some());
    for spec in indexed.into_iter().chain(others) {
        let free =
            (0..FLASH_CHIPS_MAX).find(|at| places[*at].is_none() && spec.index.is_none_or(|i| i == *at));
        let at =
            free.ok_or_else(|| Usage(format!("{}: another flash chip is in its place", spec.option())))?;
        places[at] = Some(spec);
    }
    match places {
        [None, Some(spec)] => Err(Usage(format!(
            "{}: there is no flash chip with unit=0, where firmware begins",
            spec.option()
        ))
        .into()),
        _ => Ok(places.into_iter().flatten().collect()),
    }
}

fn chip(spec: &DriveSpec, write_back: bool) -> Result<FlashChip> {
    let option = spec.option();
    if spec.format == Some(Format::Qcow2) {
        return Err(Usage(format!("{option}: what is in a flash chip is a raw image")).into());
    }
    let image = read_file(&option, &spec.file, FIRMWARE_MAX).map_err(|error| Usage(format!("{error:#}")))?;
    if !(image.len() as u64).is_multiple_of(BLOCK) {
        let what = format!("{} bytes are no whole number of blocks of {BLOCK}: it was cut off", image.len());
        return Err(Usage(format!("{option}: {what}, or is no image of flash")).into());
    }
    if write_back && !spec.read_only {
        let shown = spec.file.display();
        OpenOptions::new().write(true).open(&spec.file).with_context(|| {
            format!(
                "{option}: --snapshot off: {shown} cannot be written to; with readonly=on it stays as it is"
            )
        })?;
    }
    Ok(FlashChip { path: spec.file.clone(), image, read_only: spec.read_only })
}

/// Fills the machine's chips.
pub fn load(chips: &[FlashChip], machine: &mut Machine) {
    for (number, chip) in chips.iter().enumerate() {
        machine.load_flash(number, &chip.image);
    }
}

/// Writes to the files what the guest wrote to its chips.
pub fn write_back(chips: &[FlashChip], machine: &Machine) -> Result<()> {
    for (number, chip) in chips.iter().enumerate() {
        let now = machine.flash(number);
        if now != chip.image {
            let file = OpenOptions::new().write(true).open(&chip.path);
            file.and_then(|mut file| file.write_all(now).and_then(|()| file.sync_all()))
                .with_context(|| format!("--snapshot off: cannot write {}", chip.path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive_spec::parse;

    fn order(specs: &[&str]) -> Result<Vec<String>> {
        let specs: Vec<_> = specs.iter().map(|spec| parse(&format!("if=pflash,{spec}")).unwrap()).collect();
        in_order(specs.iter()).map(|specs| specs.iter().map(|spec| spec.file.display().to_string()).collect())
    }

    #[test]
    fn chips_are_where_they_say_or_where_there_is_room() {
        assert_eq!(order(&["file=code", "file=vars"]).unwrap(), ["code", "vars"]);
        assert_eq!(order(&["file=vars", "file=code,unit=0"]).unwrap(), ["code", "vars"]);
        assert_eq!(order(&["file=vars,index=1", "file=code"]).unwrap(), ["code", "vars"]);
        assert!(order(&["file=vars,unit=1"]).unwrap_err().to_string().contains("unit=0"));
        for bad in [&["file=a,unit=0", "file=b,unit=0"][..], &["file=a", "file=b", "file=c"]] {
            assert!(order(bad).unwrap_err().to_string().contains("another flash chip"));
        }
    }

    #[test]
    fn files_that_cannot_be_flash_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: u64| {
            let path = dir.path().join(name);
            std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
            format!("if=pflash,file={}", path.display())
        };
        for (spec, word) in [
            (file("empty", 0), "is empty"),
            (file("large", FIRMWARE_MAX + 1), "16 MiB"),
            (file("torn", BLOCK + 1), "cut off"),
            (file("qcow2", 4096) + ",format=qcow2", "raw"),
            ("if=pflash,file=missing".to_owned(), "missing"),
        ] {
            let error = chips(&[parse(&spec).unwrap()], true).unwrap_err();
            assert!(error.is::<Usage>() && format!("{error:#}").contains(word), "{error:#}");
        }
    }
}
