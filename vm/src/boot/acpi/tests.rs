use super::*;

/// Carries out the commands as firmware does, with the files at these addresses. Returns the files as they are then.
fn link(tables: &Tables, at: [u32; 2]) -> [Vec<u8>; 2] {
    let mut files = [tables.file(), tables.rsdp_file()];
    let number = |name: &[u8]| match name.split(|byte| *byte == 0).next() {
        Some(b"etc/acpi/tables") => 0,
        Some(b"etc/acpi/rsdp") => 1,
        other => panic!("{other:?}"),
    };
    let word = |command: &[u8], at: usize| {
        u32::from_le_bytes(*command[at..].first_chunk().expect("commands have 128 bytes"))
    };
    let mut loaded = Vec::new();
    for command in tables.loader_commands().chunks(128) {
        let file = number(&command[4..60]);
        match word(command, 0) {
            1 => {
                assert!(at[file].is_multiple_of(word(command, 60)));
                assert_eq!(command[64], 1 + file as u8, "the root pointer goes to the F segment");
                loaded.push(file);
            }
            2 => {
                let target = number(&command[60..116]);
                assert!(loaded.contains(&file) && loaded.contains(&target));
                assert_eq!(command[120], 4);
                let offset = word(command, 116) as usize;
                let value = word(&files[file], offset) + at[target];
                files[file][offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            }
            3 => {
                let [offset, start, length] = [60, 64, 68].map(|at| word(command, at) as usize);
                assert_eq!(files[file][offset], 0);
                files[file][offset] = checksum(&files[file][start..start + length]);
            }
            other => panic!("command {other}"),
        }
    }
    files
}

#[test]
fn firmware_links_the_tables_to_what_a_machine_without_firmware_has() {
    let tables = Tables::new(64 << 20, 0x600);
    let [file, rsdp] = link(&tables, [0x3fe_0000, 0xf_5a80]);
    let (block, same_rsdp) = tables.linked_at(0x3fe_0000);
    assert_eq!(file.len(), 0x2_0000);
    assert_eq!(file[..block.len()], block);
    assert_eq!(rsdp, same_rsdp);
}
