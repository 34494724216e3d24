//! Guests and firmware from Debian, fetched by package name and never kept in the repository.

use crate::cache_dir;
use crate::tools::{make_once, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FETCH_HINT: &str = "this needs a Debian system with current package lists: apt-get update";

/// The kernel of Debian's current `linux-image-amd64`, as a bzImage.
pub fn debian_kernel() -> PathBuf {
    let kernel = cache_dir().join("debian/vmlinuz-amd64");
    make_once(&kernel, |path| {
        let dir = unpack(&dependency_of("linux-image-amd64", "linux-image-"), "./boot/vmlinuz-*", path);
        let boot = fs::read_dir(dir.join("boot")).expect("the package's boot directory");
        let image = boot.flatten().next().expect("a kernel in the package").path();
        fs::rename(image, path).expect("the kernel can be moved within the cache");
    });
    kernel
}

/// A module of that kernel, by its path below `kernel/`.
pub fn kernel_module(path_in_package: &str) -> PathBuf {
    let name = path_in_package.rsplit('/').next().unwrap_or(path_in_package);
    let cached = cache_dir().join("debian").join(name);
    make_once(&cached, |path| {
        let package = dependency_of("linux-image-amd64", "linux-image-");
        let dir = unpack(&package, &format!("*/kernel/{path_in_package}"), path);
        let version = fs::read_dir(dir.join("lib/modules")).expect("the package's modules").flatten().next();
        let module = version.expect("a version").path().join("kernel").join(path_in_package);
        fs::rename(module, path).expect("the module can be moved within the cache");
    });
    cached
}

/// SeaBIOS as a 256 KiB image.
pub fn seabios() -> PathBuf {
    package_file("seabios", &["usr/share/seabios/bios-256k.bin"])
}

/// Statically linked busybox.
pub fn busybox() -> PathBuf {
    package_file("busybox-static", &["usr/bin/busybox", "bin/busybox"])
}

/// One file of a package; `candidates` are its names in this and earlier releases.
fn package_file(package: &str, candidates: &[&str]) -> PathBuf {
    let name = candidates[0].rsplit('/').next().unwrap_or(package);
    let cached = cache_dir().join("debian").join(name);
    make_once(&cached, |path| {
        let dir = unpack(package, &format!("*/{name}"), path);
        let file = candidates.iter().map(|name| dir.join(name)).find(|file| file.exists());
        let file = file.unwrap_or_else(|| panic!("the Debian package {package} has none of {candidates:?}"));
        fs::rename(file, path).expect("the file can be moved within the cache");
    });
    cached
}

/// The package that a metapackage stands for.
fn dependency_of(metapackage: &str, prefix: &str) -> String {
    let output = run(Command::new("apt-cache").args(["depends", metapackage]), FETCH_HINT);
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = names.map(str::trim).find(|name| name.starts_with(prefix));
    name.unwrap_or_else(|| panic!("{metapackage} depends on no {prefix}*; {FETCH_HINT}\n{text}")).to_owned()
}

/// Downloads a package and unpacks the members that match `pattern` into a directory beside `scratch`.
fn unpack(package: &str, pattern: &str, scratch: &Path) -> PathBuf {
    let dir = scratch.with_extension("unpacked");
    fs::create_dir_all(&dir).expect("a directory to unpack into");
    run(Command::new("apt-get").args(["-q", "download", package]).current_dir(&dir), FETCH_HINT);
    let mut files = fs::read_dir(&dir).expect("the download directory").flatten();
    let deb = files.next().expect("a downloaded package").path();

    let mut command = Command::new("dpkg-deb");
    command.arg("--fsys-tarfile").arg(&deb).stdout(Stdio::piped());
    let mut archive = command.spawn().unwrap_or_else(|error| crate::tools::cannot_start(&command, &error));
    let contents = archive.stdout.take().expect("the pipe asked for");
    let mut tar = Command::new("tar");
    tar.args(["-x", "--wildcards", pattern]).current_dir(&dir).stdin(contents);
    run(&mut tar, "the package does not have the expected files");
    let status = archive.wait().expect("dpkg-deb ends");
    assert!(status.success(), "dpkg-deb cannot read {}", deb.display());
    dir
}
