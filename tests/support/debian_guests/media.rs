//! Boot media made of Debian's packages: disks with a boot sector, floppies and CD-ROMs with boot loaders.

use super::{cached, linux, read, write};
use crate::debian::{self, Arch};
use crate::tools::run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLOPPY_BYTES: usize = 1440 << 10;
const DISK_BYTES: usize = 4 << 20;
/// What an El Torito image without emulation needs of its loader, and what a loader wants written into it.
const EL_TORITO: &[&str] =
    &["-b", "boot/loader", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];

/// A file of a package of the 64-bit architecture.
pub fn file(package: &str, path: &str) -> PathBuf {
    debian::package(package, Arch::Amd64).join(path)
}

/// A disk that has nothing but SYSLINUX's boot sector `name`.
pub fn boot_sector(name: &str) -> PathBuf {
    let stem = Path::new(name).file_stem().expect("a file").to_string_lossy();
    cached(&format!("{stem}.img"), |path| {
        let mut disk = read(&file("syslinux-common", &format!("usr/lib/syslinux/mbr/{name}")));
        disk.resize(DISK_BYTES, 0);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        write(path, &disk);
    })
}

/// SYSLINUX's disk that shows which geometry its firmware gave it.
pub fn geometry_disk() -> PathBuf {
    cached("geodsp1s.img", |path| {
        let packed = file("syslinux-common", "usr/lib/syslinux/mbr/diag/geodsp/geodsp1s.img.xz");
        write(path, &run(Command::new("xz").args(["-d", "--stdout"]).arg(packed), "").stdout);
    })
}

/// The Xen hypervisor, unpacked.
pub fn xen() -> PathBuf {
    unpacked_kernel("xen", "xen-hypervisor-4.17-amd64")
}

/// The compressed kernel in a package's boot directory, unpacked.
fn unpacked_kernel(name: &str, package: &str) -> PathBuf {
    cached(name, |path| {
        let files = fs::read_dir(file(package, "boot")).expect("the package's boot directory").flatten();
        let packed = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "gz"));
        write(path, &run(Command::new("gzip").args(["-dc"]).arg(packed.expect("a kernel")), "").stdout);
    })
}

/// A CD-ROM from which GRUB loads the kernel of the Hurd, 64 bits, without anything that it could start.
pub fn gnumach_cd() -> PathBuf {
    grub_cd(
        "gnumach",
        "echo GUEST: loading Mach\nmultiboot /boot/gnumach console=com0\nboot",
        &[("gnumach", unpacked_kernel("gnumach", "gnumach-image-1.8-486"))],
    )
}

/// A disk of 8 MiB that holds lines with numbers.
pub fn pattern_disk() -> PathBuf {
    cached("pattern.img", |path| {
        write(path, (1..=1 << 20).map(|n| format!("{n:07}\n")).collect::<String>().as_bytes());
    })
}

/// GRUB legacy on a floppy: both stages behind each other.
pub fn grub_legacy_floppy() -> PathBuf {
    cached("grub-legacy.img", |path| {
        let stages = ["stage1", "stage2"]
            .map(|stage| read(&file("grub-legacy", &format!("usr/lib/grub/x86_64-pc/{stage}"))));
        let mut floppy = stages.concat();
        floppy.resize(FLOPPY_BYTES, 0);
        write(path, &floppy);
    })
}

/// A CD-ROM with GRUB, which shows what it can find out about a PC.
pub fn grub_tools_cd() -> PathBuf {
    grub_cd(
        "grub-tools",
        "echo GUEST: grub on $grub_platform
insmod cpuid
if cpuid -l; then echo GUEST: long mode; fi
for module in lspci lsmmap lsacpi date ls hashsum gcry_sha256 vbe videoinfo sleep halt; do insmod $module; done
lspci
lsmmap
lsacpi --rsdt
date
ls -l /boot/loader
sha256sum /boot/memtest
videoinfo
sleep 2
echo GUEST: grub-tools done
halt",
        &[("memtest", file("memtest86+", "boot/memtest86+x64.bin"))],
    )
}

/// A CD-ROM from which GRUB loads memtest86+.
pub fn grub_memtest_cd() -> PathBuf {
    grub_cd(
        "grub-memtest",
        "echo GUEST: loading memtest\nlinux /boot/memtest console=ttyS0,115200 nosmp\nboot",
        &[("memtest", file("memtest86+", "boot/memtest86+ia32.bin"))],
    )
}

/// A CD-ROM from which GRUB loads a 32-bit Linux, which tests the drive as well.
pub fn grub_linux_cd() -> PathBuf {
    grub_cd(
        "grub-linux",
        "echo GUEST: loading Linux\nlinux /boot/vmlinuz console=ttyS0\ninitrd /boot/initrd\nboot",
        &[
            ("vmlinuz", debian::kernel("linux-image-686", Arch::I386)),
            ("initrd", linux::busybox_tests_with_drives(Arch::I386, "linux-image-686")),
        ],
    )
}

/// A disk from which UEFI's shell starts, which does what these lines say.
pub fn efi_shell_disk(name: &str, lines: &str, files: &[(&str, PathBuf)]) -> PathBuf {
    efi_disk(name, &[("startup.nsh", &format!("@echo -off\n{lines}\n").replace('\n', "\r\n"))], files)
}

/// A disk that UEFI starts `loader` from.
pub fn efi_loader_disk(name: &str, loader: PathBuf, texts: &[(&str, &str)]) -> PathBuf {
    let files = [
        ("EFI/BOOT/BOOTX64.EFI", loader),
        ("vmlinuz", crate::debian_kernel()),
        ("initrd", linux::busybox_tests(Arch::Amd64)),
    ];
    efi_disk(name, texts, &files)
}

/// A disk with a FAT file system as a whole, and these texts and files in it.
fn efi_disk(name: &str, texts: &[(&str, &str)], files: &[(&str, PathBuf)]) -> PathBuf {
    cached(&format!("{name}.img"), |path| make_efi_disk(path, texts, files))
}

/// Makes such a disk.
pub fn make_efi_disk(path: &Path, texts: &[(&str, &str)], files: &[(&str, PathBuf)]) {
    const BYTES: u64 = 48 << 20;
    let tree = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| {
        let to = tree.path().join(name);
        fs::create_dir_all(to.parent().expect("a directory")).expect("our own directory");
        to
    };
    texts.iter().for_each(|(name, text)| write(&place(name), text.as_bytes()));
    files.iter().for_each(|(name, from)| copy(from, &place(name)));
    fs::File::create(path).and_then(|file| file.set_len(BYTES)).expect("the disk's file");
    run(Command::new("mformat").arg("-i").arg(path).args(["-F", "-v", "GUEST", "::"]), "");
    let entries = fs::read_dir(tree.path()).expect("our own directory").flatten();
    run(Command::new("mcopy").arg("-s").arg("-i").arg(path).args(entries.map(|e| e.path())).arg("::"), "");
}

/// UEFI as a ROM.
pub fn ovmf() -> PathBuf {
    file("ovmf", "usr/share/ovmf/OVMF.fd")
}

/// GRUB with all of its modules, on the serial port, and files beside it.
fn grub_cd(name: &str, commands: &str, files: &[(&str, PathBuf)]) -> PathBuf {
    cached(&format!("{name}.iso"), |path| {
        let tree = tree();
        let (boot, modules) = (tree.path().join("boot"), file("grub-pc-bin", "usr/lib/grub/i386-pc"));
        let own = boot.join("grub/i386-pc");
        fs::create_dir_all(&own).expect("a directory of the CD-ROM");
        for module in fs::read_dir(&modules).expect("GRUB's modules").flatten().map(|entry| entry.path()) {
            if module.extension().is_some_and(|extension| extension == "mod" || extension == "lst") {
                copy(&module, &own.join(module.file_name().expect("a file")));
            }
        }
        let mut command = Command::new("grub-mkimage");
        command.args(["-O", "i386-pc-eltorito", "-p", "/boot/grub", "-d"]).arg(&modules);
        command.arg("-o").arg(boot.join("loader"));
        run(command.args(["biosdisk", "iso9660", "normal", "configfile", "serial"]), "");
        let serial =
            "serial --unit=0 --speed=115200\nterminal_input serial console\nterminal_output serial console";
        write(&boot.join("grub/grub.cfg"), format!("{serial}\n{commands}\n").as_bytes());
        files.iter().for_each(|(name, from)| copy(from, &boot.join(name)));
        iso(tree.path(), path);
    })
}

/// A CD-ROM with ISOLINUX, all modules of SYSLINUX, and one that it starts.
pub fn isolinux_cd(module: &str, arguments: &str) -> PathBuf {
    cached(&format!("isolinux-{module}.iso"), |path| {
        let tree = tree();
        let [boot, own] = ["boot", "isolinux"].map(|name| tree.path().join(name));
        fs::create_dir(&own).expect("a directory of the CD-ROM");
        copy(&file("isolinux", "usr/lib/ISOLINUX/isolinux.bin"), &boot.join("loader"));
        let modules = file("syslinux-common", "usr/lib/syslinux/modules/bios");
        for module in fs::read_dir(modules).expect("SYSLINUX's modules").flatten().map(|entry| entry.path()) {
            copy(&module, &own.join(module.file_name().expect("a file")));
        }
        let commands = syslinux_commands("isolinux", module, arguments);
        write(&own.join("isolinux.cfg"), commands.as_bytes());
        iso(tree.path(), path);
    })
}

/// A floppy with SYSLINUX that shows the memory.
pub fn syslinux_floppy() -> PathBuf {
    cached("syslinux.img", |path| {
        let tree = tree();
        let commands = tree.path().join("syslinux.cfg");
        write(&commands, syslinux_commands("syslinux", "meminfo", "").as_bytes());
        write(path, &vec![0; FLOPPY_BYTES]);
        run(Command::new("mformat").arg("-i").arg(path).args(["-f", "1440", "-v", "GUEST", "::"]), "");
        let mut command = Command::new("mcopy");
        command.arg("-i").arg(path).arg(&commands);
        for module in ["libcom32", "libutil", "meminfo"] {
            command.arg(file("syslinux-common", &format!("usr/lib/syslinux/modules/bios/{module}.c32")));
        }
        run(command.arg("::"), "");
        run(Command::new(file("syslinux", "usr/bin/syslinux")).arg("--install").arg(path), "");
    })
}

fn syslinux_commands(loader: &str, module: &str, arguments: &str) -> String {
    format!(
        "SERIAL 0 115200\nDEFAULT it\nSAY GUEST: {loader} up\nLABEL it\nCOM32 {module}.c32\nAPPEND {arguments}\n"
    )
}

/// A directory for the files of a CD-ROM, with `boot` in it.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(tree.path().join("boot")).expect("a directory of the CD-ROM");
    tree
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    // The boot information table is written into the loader.
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).expect("our own file");
}

fn iso(tree: &Path, path: &Path) {
    let mut command = Command::new("xorriso");
    command.args(["-as", "mkisofs", "-quiet", "-R", "-V", "GUEST"]).args(EL_TORITO);
    run(command.arg("-o").arg(path).arg(tree), "");
}
