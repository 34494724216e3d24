//! Guests and firmware from Debian, fetched by package name and never kept in the repository.
//!
//! Packages of both PC architectures are wanted, whatever the machine itself uses: apt gets lists of its own in the cache.

use crate::cache_dir;
use crate::tools::{cannot_start, make_once, output, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FETCH_HINT: &str = "this needs a Debian system with its archive in /etc/apt/sources.list";
/// The bzImage, and of the modules those that disks, CD-ROMs and cards take.
const KERNEL_FILES: &[&str] = &[
    "./boot/vmlinuz-*",
    "./lib/modules/*/kernel/drivers/ata/*",
    "./lib/modules/*/kernel/drivers/cdrom/*",
    "./lib/modules/*/kernel/drivers/scsi/*",
    "./lib/modules/*/kernel/drivers/virtio/*",
    "./lib/modules/*/kernel/drivers/block/virtio_blk.ko",
    "./lib/modules/*/kernel/drivers/char/virtio_console.ko",
    "./lib/modules/*/kernel/drivers/char/hw_random/*",
    "./lib/modules/*/kernel/drivers/net/net_failover.ko",
    "./lib/modules/*/kernel/drivers/net/virtio_net.ko",
    "./lib/modules/*/kernel/net/core/*",
    "./lib/modules/*/kernel/drivers/net/ethernet/8390/*",
    "./lib/modules/*/kernel/drivers/net/ethernet/intel/e1000/*",
    "./lib/modules/*/kernel/sound/ac97_bus.ko",
    "./lib/modules/*/kernel/sound/soundcore.ko",
    "./lib/modules/*/kernel/sound/core/*",
    "./lib/modules/*/kernel/sound/pci/*",
    "./lib/modules/*/kernel/fs/isofs/*",
    "./lib/modules/*/kernel/lib/*",
    "./lib/modules/*/kernel/crypto/*",
    "./lib/modules/*/kernel/block/*",
];

/// Debian's name for a kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64 bit.
    Amd64,
    /// 32 bit.
    I386,
}

impl Arch {
    fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::I386 => "i386",
        }
    }
}

/// The kernel of Debian's current `linux-image-amd64`, as a bzImage.
pub fn debian_kernel() -> PathBuf {
    kernel("linux-image-amd64", Arch::Amd64)
}

/// A module of that kernel, by its path below `kernel/`.
pub fn kernel_module(path: &str) -> PathBuf {
    let name = path.rsplit('/').next().unwrap_or(path);
    let cached = cache_dir().join("debian").join(format!("module_{name}"));
    make_once(&cached, |dir| {
        let package = dependency_of("linux-image-amd64", Arch::Amd64, "linux-image-");
        unpack(&package, Arch::Amd64, &[&format!("./lib/modules/*/kernel/{path}")], dir);
    });
    let mut versions = fs::read_dir(cached.join("lib/modules")).expect("the package's modules").flatten();
    versions.next().expect("a version of the kernel").path().join("kernel").join(path)
}

/// The bzImage of the kernel that `metapackage` stands for.
pub fn kernel(metapackage: &str, arch: Arch) -> PathBuf {
    let boot = kernel_package(metapackage, arch).join("boot");
    let mut images = fs::read_dir(boot).expect("the package's boot directory").flatten();
    images.next().expect("a kernel in the package").path()
}

/// The package of the kernel that `metapackage` stands for, unpacked: bzImage and modules.
pub fn kernel_package(metapackage: &str, arch: Arch) -> PathBuf {
    // More files are another directory.
    let name = format!("{metapackage}_{}_{}", arch.name(), KERNEL_FILES.len());
    let cached = cache_dir().join("debian").join(name);
    make_once(&cached, |path| {
        let package = dependency_of(metapackage, arch, "linux-image-");
        unpack(&package, arch, KERNEL_FILES, path);
    });
    cached
}

/// SeaBIOS as a 256 KiB image.
pub fn seabios() -> PathBuf {
    package("seabios", Arch::Amd64).join("usr/share/seabios/bios-256k.bin")
}

/// Statically linked busybox.
pub fn busybox(arch: Arch) -> PathBuf {
    let dir = package("busybox-static", arch);
    // This release's place, and the next one's.
    let mut places = ["bin/busybox", "usr/bin/busybox"].into_iter().map(|place| dir.join(place));
    places.find(|place| place.exists()).expect("busybox in its package")
}

/// All files of a package.
pub fn package(name: &str, arch: Arch) -> PathBuf {
    let cached = cache_dir().join("debian").join(format!("{name}_{}", arch.name()));
    make_once(&cached, |path| unpack(name, arch, &["./*"], path));
    cached
}

/// apt's programs, with lists of their own.
fn apt(program: &str) -> Command {
    let dir = cache_dir().join("apt");
    let (state, cache) = (dir.join("state"), dir.join("cache"));
    for made in [state.join("lists/partial"), cache.join("archives/partial")] {
        fs::create_dir_all(&made).unwrap_or_else(|error| panic!("{}: {error}", made.display()));
    }
    // Nothing is installed, as far as these lists are concerned.
    let status = dir.join("status");
    if !status.exists() {
        fs::write(&status, "").expect("apt's status can be written");
    }
    let mut command = Command::new(program);
    for (name, value) in [("State", &state), ("Cache", &cache), ("State::status", &status)] {
        command.arg("-o").arg(format!("Dir::{name}={}", value.display()));
    }
    command.args(["-q", "-o", "APT::Architectures=amd64,i386", "-o", "APT::Sandbox::User=root"]);
    command
}

fn update_lists() {
    // Archives of other programs may be out of reach; what is missed is noticed when a package is fetched.
    output(apt("apt-get").arg("update"));
}

/// Runs an apt command, once more with new lists if it fails.
fn with_lists(command: impl Fn() -> Command) -> String {
    make_once(&cache_dir().join("apt/updated"), |stamp| {
        update_lists();
        fs::write(stamp, "").expect("a file in the cache can be written");
    });
    let first = output(&mut command());
    let done = if first.status.success() {
        first
    } else {
        update_lists();
        run(&mut command(), FETCH_HINT)
    };
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The package that a metapackage stands for.
fn dependency_of(metapackage: &str, arch: Arch, prefix: &str) -> String {
    let text = with_lists(|| {
        let mut command = apt("apt-cache");
        command.args(["depends", &format!("{metapackage}:{}", arch.name())]);
        command
    });
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = names.map(str::trim).find(|name| name.starts_with(prefix));
    let name = name.unwrap_or_else(|| panic!("{metapackage} depends on no {prefix}*; {FETCH_HINT}\n{text}"));
    name.split(':').next().unwrap_or(name).to_owned()
}

/// Downloads a package and unpacks the members that match one of `patterns` into a new directory.
fn unpack(package: &str, arch: Arch, patterns: &[&str], into: &Path) {
    let scratch = tempfile::tempdir_in(into.parent().expect("a path in a directory")).expect("a directory");
    with_lists(|| {
        let mut command = apt("apt-get");
        command.args(["download", &format!("{package}:{}", arch.name())]).current_dir(scratch.path());
        command
    });
    let mut files = fs::read_dir(scratch.path()).expect("the download directory").flatten();
    let deb = files.next().expect("a downloaded package").path();

    fs::create_dir(into).expect("a directory to unpack into");
    let mut command = Command::new("dpkg-deb");
    command.arg("--fsys-tarfile").arg(&deb).stdout(Stdio::piped());
    let mut archive = command.spawn().unwrap_or_else(|error| cannot_start(&command, &error));
    let contents = archive.stdout.take().expect("the pipe asked for");
    let mut tar = Command::new("tar");
    tar.args(["-x", "--no-same-owner", "--wildcards"]).args(patterns).current_dir(into).stdin(contents);
    let done = output(&mut tar);
    let said = String::from_utf8_lossy(&done.stderr);
    // Some kernels are built without some of the modules, which is the only thing that may have gone wrong.
    let missing = |line: &str| line.ends_with("Not found in archive") || line.contains("previous errors");
    let expected = done.status.success() || (patterns.len() > 1 && said.lines().all(missing));
    assert!(expected, "{package} does not have the expected files: {said}");
    let status = archive.wait().expect("dpkg-deb ends");
    assert!(status.success(), "dpkg-deb cannot read {}", deb.display());
}
