//! Initial RAM disks of the Linux guests.

use super::{cached, read, write};
use crate::cpio::Archive;
use crate::debian::{Arch, busybox, kernel_package, package};
use crate::tools::run;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const INIT: &str = include_str!("../../guests/linux/init.sh");
pub(super) const KLIBC_INIT: &str = include_str!("../../guests/linux/klibc-init.sh");
const APPLETS: &[&str] = &[
    "awk",
    "bc",
    "cat",
    "cut",
    "date",
    "dd",
    "echo",
    "factor",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "insmod",
    "ls",
    "md5sum",
    "mkdir",
    "mount",
    "poweroff",
    "seq",
    "sh",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "sync",
    "uname",
    "wc",
    "xz",
];
/// What a guest with drives needs; what these depend on comes with them.
const MODULES: &[&str] =
    &["crct10dif_generic", "crc64_rocksoft_generic", "ata_piix", "sd_mod", "sr_mod", "isofs"];

/// BusyBox and `init.sh`.
pub fn busybox_tests(arch: Arch) -> PathBuf {
    initrd(arch, None)
}

/// The same with the modules for disks and CD-ROMs of the kernel of `metapackage`.
pub fn busybox_tests_with_drives(arch: Arch, metapackage: &str) -> PathBuf {
    initrd(arch, Some(metapackage))
}

fn initrd(arch: Arch, modules_of: Option<&str>) -> PathBuf {
    let suffix = if modules_of.is_some() { "-drives" } else { "" };
    archive(&format!("initrd-{arch:?}{suffix}.cpio"), INIT, |archive| {
        archive.executable("bin/busybox", &read(&busybox(arch)));
        for applet in APPLETS {
            archive.symbolic_link(&format!("bin/{applet}"), "busybox");
        }
        let numbers = (1..=9999).map(|n| format!("{n}\n")).collect::<String>();
        archive.file("numbers.xz", &compressed(numbers.as_bytes()));
        if let Some(metapackage) = modules_of {
            let modules = modules(&kernel_package(metapackage, arch), MODULES);
            for (name, bytes) in &modules {
                archive.file(&format!("lib/{name}"), bytes);
            }
            let names = modules.iter().map(|(name, _)| format!("{name}\n")).collect::<String>();
            archive.file("modules", names.as_bytes());
        }
    })
}

/// klibc's shell, and `klibc-init.sh`.
pub fn klibc(arch: Arch) -> PathBuf {
    archive(&format!("initrd-klibc-{arch:?}.cpio"), KLIBC_INIT, |archive| {
        let bin = package("klibc-utils", arch).join("usr/lib/klibc/bin");
        for name in ["cat", "mount", "poweroff", "sh", "uname"] {
            archive.executable(&format!("bin/{name}"), &read(&bin.join(name)));
        }
        let lib = fs::read_dir(package("libklibc", arch).join("lib")).expect("klibc's library").flatten();
        for library in
            lib.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "so"))
        {
            archive.executable(&format!("lib/{}", file_name(&library)), &read(&library));
        }
    })
}

/// An archive with the usual directories, `init`, and what `fill` adds.
fn archive(name: &str, init: &str, fill: impl FnOnce(&mut Archive)) -> PathBuf {
    cached(name, |path| {
        let mut archive = Archive::default();
        for name in ["bin", "dev", "lib", "proc", "sys", "tmp"] {
            archive.directory(name);
        }
        archive.character_device("dev/console", 5, 1);
        archive.executable("init", init.as_bytes());
        fill(&mut archive);
        write(path, &archive.finish());
    })
}

/// The modules of a kernel that have these names, each behind those that it depends on.
pub(crate) fn modules(package: &Path, names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut files = BTreeMap::new();
    find_modules(&package.join("lib/modules"), &mut files);
    let mut found = Vec::new();
    names.iter().for_each(|name| add_module(name, &files, &mut found));
    found
}

fn find_modules(dir: &Path, files: &mut BTreeMap<String, PathBuf>) {
    for path in fs::read_dir(dir).expect("the kernel's modules").flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            find_modules(&path, files);
        } else if let Some(name) = file_name(&path).strip_suffix(".ko") {
            // A module's own name has no dashes.
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
}

/// A kernel that has one built in has no file for it.
fn add_module(name: &str, files: &BTreeMap<String, PathBuf>, found: &mut Vec<(String, Vec<u8>)>) {
    let Some(path) = files.get(name) else { return };
    let file = file_name(path);
    if found.iter().any(|(other, _)| *other == file) {
        return;
    }
    let bytes = read(path);
    for dependency in dependencies(&bytes) {
        add_module(&dependency.replace('-', "_"), files, found);
    }
    found.push((file, bytes));
}

/// What a module says that it depends on: a string with commas in its information section.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = value.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let scratch = tempfile::NamedTempFile::new().expect("a temporary file");
    write(scratch.path(), bytes);
    run(Command::new("xz").args(["-9", "--stdout"]).arg(scratch.path()), "").stdout
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
