//! What a saved machine consists of is part of the recording's format: whoever changes it has to give the format another version, or
//! old recordings are read as something that they are not.

use vm::config::CardConfig;
use vm::{BlockSource, Drive, DriveKind, Machine, MachineConfig, Medium, Slot};
use xxhash_rust::xxh3::xxh3_64;

/// Of all names of fields and types, in order.
const SHAPE: u64 = 0x7062_504f_e0ac_2327;

const MEDIUM_BYTES: u64 = 1440 << 10;

/// A machine that has one of everything.
fn machine() -> Machine {
    let names = ["disk", "cd", "floppy", "virtio"];
    let medium =
        |name: &str| Medium { name: name.into(), bytes: MEDIUM_BYTES, hash: 0, read_only: name == "cd" };
    let drive = |slot, kind, number| Drive { slot, kind, medium: Some(number) };
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let config = MachineConfig {
        ram_bytes: 16 << 20,
        media: names.map(medium).to_vec(),
        drives: vec![
            drive(Slot::Hda, DriveKind::Disk, 0),
            drive(Slot::Hdc, DriveKind::Cd, 1),
            drive(Slot::Fda, DriveKind::Floppy, 2),
        ],
        cards: vec![
            CardConfig::Ne2kPci { mac },
            CardConfig::E1000 { mac },
            CardConfig::Ac97,
            CardConfig::VirtioNet { mac },
            CardConfig::VirtioBlk { medium: 3 },
            CardConfig::VirtioRng { seed: 1 },
            CardConfig::VirtioConsole { port: 4 },
        ],
        ..MachineConfig::default()
    };
    let media = names.map(|_| Box::new(vec![0u8; 4096]) as Box<dyn BlockSource>);
    Machine::with_media(&config, media.into()).expect("a machine")
}

/// The names in what `{:#?}` makes of a value, without the values.
fn names(text: &str) -> String {
    let name = |line: &str| {
        let line = line.trim_start();
        let end = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
        let named =
            line[end..].starts_with([':', ' ', '(']) && !line.starts_with(|c: char| c.is_ascii_digit());
        named.then(|| format!("{}\n", &line[..end]))
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn another_state_has_another_version_of_the_format() {
    let shape = xxh3_64(names(&format!("{:#?}", machine().save())).as_bytes());
    assert_eq!(
        shape, SHAPE,
        "the state of the machine has changed: raise FILE_VERSION in snapshots/src/recording/format.rs, make the examples' \
         recordings again, and then put {shape:#x} here"
    );
}
