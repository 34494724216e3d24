//! The guests, and what each must show.

use super::On::{Screen, Serial};
use super::media::{self, file};
use super::{Boot, Guest, LinuxBoot, linux};
use crate::debian::{Arch, kernel};
use std::path::PathBuf;

/// All guests.
pub const GUESTS: &[Guest] = &[
    Guest {
        name: "seabios-nodisk",
        ram: 32,
        boot: Boot::Firmware,
        shows: &[(Screen, "SeaBIOS (version "), (Screen, "No bootable device.")],
        powers_off: false,
    },
    Guest {
        name: "geodsp1s",
        ram: 32,
        boot: Boot::Disk(media::geometry_disk),
        shows: &[(Screen, "CHS 000E,0F,3F"), (Screen, "D=EDD")],
        powers_off: false,
    },
    Guest {
        name: "handoff",
        ram: 32,
        boot: Boot::Disk(|| media::boot_sector("diag/handoff/handoff.bin")),
        shows: &[(Screen, "DL: 80  DS: 0000"), (Screen, "Press any key")],
        powers_off: false,
    },
    Guest {
        name: "syslinux-mbr",
        ram: 32,
        boot: Boot::Disk(|| media::boot_sector("mbr.bin")),
        shows: &[(Screen, "Missing operating system.")],
        powers_off: false,
    },
    Guest {
        name: "grub-legacy-floppy",
        ram: 32,
        boot: Boot::Floppy(media::grub_legacy_floppy),
        shows: &[(Screen, "GRUB  version 0.97")],
        powers_off: false,
    },
    Guest {
        name: "grub-rescue-floppy",
        ram: 64,
        boot: Boot::Floppy(|| file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-floppy.img")),
        shows: &[(Screen, "GNU GRUB  version 2.06")],
        powers_off: false,
    },
    Guest {
        name: "grub-rescue-cdrom",
        ram: 64,
        boot: Boot::Cd(grub_rescue_cd),
        shows: &[(Screen, "GNU GRUB  version 2.06")],
        powers_off: false,
    },
    Guest {
        name: "grub-tools",
        ram: 128,
        boot: Boot::Cd(media::grub_tools_cd),
        shows: &[
            (Serial, "GUEST: grub on pc"),
            (Serial, "GUEST: long mode"),
            (Serial, "8086:1237"),
            (Serial, "GUEST: grub-tools done"),
        ],
        powers_off: true,
    },
    Guest {
        name: "memtest-x64",
        ram: 32,
        boot: memtest(|| file("memtest86+", "boot/memtest86+x64.bin")),
        shows: &[(Serial, "Memtest86"), (Screen, "Testing: 0KB")],
        powers_off: false,
    },
    Guest {
        name: "memtest-ia32",
        ram: 32,
        boot: memtest(|| file("memtest86+", "boot/memtest86+ia32.bin")),
        shows: &[(Serial, "Memtest86"), (Screen, "Testing: 0KB")],
        powers_off: false,
    },
    Guest {
        name: "memtest-x64-iso",
        ram: 64,
        boot: Boot::Cd(|| file("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso")),
        shows: &[(Screen, "Memtest86+ v6.10"), (Screen, "Testing: 0KB")],
        powers_off: false,
    },
    Guest {
        name: "memtest-ia32-iso",
        ram: 64,
        boot: Boot::Cd(|| file("memtest86+", "usr/lib/memtest86+/memtest86+ia32.iso")),
        shows: &[(Screen, "Memtest86+ v6.10"), (Screen, "Testing: 0KB")],
        powers_off: false,
    },
    Guest {
        name: "grub-memtest",
        ram: 64,
        boot: Boot::Cd(media::grub_memtest_cd),
        shows: &[(Serial, "GUEST: loading memtest"), (Serial, "Memtest86")],
        powers_off: false,
    },
    Guest {
        name: "syslinux-floppy",
        ram: 64,
        boot: Boot::Floppy(media::syslinux_floppy),
        shows: &[(Screen, "GUEST: syslinux up"), (Serial, "INT 15 88: 0xfb80 (64384K)")],
        powers_off: false,
    },
    Guest {
        name: "isolinux-hdt",
        ram: 128,
        boot: Boot::Cd(|| {
            media::isolinux_cd("hdt", "nomenu auto=\"show summary;show cpu;show dmi;show pci\"")
        }),
        shows: &[(Screen, "GUEST: isolinux up"), (Serial, "QEMU Virtual CPU"), (Serial, "Entering CLI mode")],
        powers_off: false,
    },
    Guest {
        name: "isolinux-c32",
        ram: 128,
        boot: Boot::Cd(|| media::isolinux_cd("cpuid", "0")),
        shows: &[(Screen, "GUEST: isolinux up"), (Serial, "eax :")],
        powers_off: false,
    },
    Guest {
        name: "ipxe-lkrn",
        ram: 64,
        boot: Boot::Linux(LinuxBoot {
            kernel: || file("ipxe", "boot/ipxe.lkrn"),
            initrd: None,
            append: "echo GUEST: ipxe up && sleep 1 && echo GUEST: ipxe ${memsize} MiB ${cpuvendor} && shell",
            drives: false,
        }),
        shows: &[(Screen, "iPXE 1.0.0+git"), (Screen, "GUEST: ipxe up")],
        powers_off: false,
    },
    linux_tests("linux-amd64", 192, amd64, bb64, "console=ttyS0 panic=-1"),
    linux_tests("linux-cloud", 192, cloud, bb64, "console=ttyS0 panic=-1"),
    linux_tests("linux-686", 128, i686, bb32, "console=ttyS0 panic=-1"),
    linux_tests("linux-686-pae", 128, i686_pae, bb32, "console=ttyS0 panic=-1"),
    klibc("linux-amd64-klibc", 192, amd64, || linux::klibc(Arch::Amd64)),
    klibc("linux-686-klibc", 96, i686, || linux::klibc(Arch::I386)),
    // Without ACPI it cannot switch itself off.
    Guest {
        powers_off: false,
        ..linux_tests(
            "linux-686-pic",
            128,
            i686,
            bb32,
            "console=ttyS0 panic=-1 acpi=off noapic nolapic clocksource=pit tsc=unstable",
        )
    },
    linux_drives("linux-amd64-disk", 192, amd64, || {
        linux::busybox_tests_with_drives(Arch::Amd64, "linux-image-amd64")
    }),
    linux_drives("linux-686-disk", 128, i686, || {
        linux::busybox_tests_with_drives(Arch::I386, "linux-image-686")
    }),
    Guest {
        name: "linux-686-vgacon",
        ram: 128,
        boot: Boot::Linux(LinuxBoot {
            kernel: i686,
            initrd: Some(bb32),
            append: "console=tty0 vga=normal panic=-1 nomodeset quiet guest.hold",
            drives: false,
        }),
        shows: &[(Screen, "GUEST-TESTS-PASSED")],
        powers_off: false,
    },
    Guest {
        name: "grub-linux-cd",
        ram: 192,
        boot: Boot::Cd(media::grub_linux_cd),
        shows: &[
            (Serial, "GUEST: loading Linux"),
            (Serial, "GUEST: userspace"),
            (Serial, "GUEST: ok cdrom"),
            (Serial, "GUEST-TESTS-PASSED"),
        ],
        powers_off: true,
    },
    Guest {
        name: "u-boot-32",
        ram: 256,
        boot: Boot::OtherFirmware(|| file("u-boot-qemu", "usr/lib/u-boot/qemu-x86/u-boot.rom")),
        shows: &[(Serial, "U-Boot 20"), (Serial, "=> ")],
        powers_off: false,
    },
    Guest {
        name: "u-boot-64",
        ram: 256,
        boot: Boot::OtherFirmware(|| file("u-boot-qemu", "usr/lib/u-boot/qemu-x86_64/u-boot.rom")),
        shows: &[(Serial, "U-Boot 20"), (Serial, "=> ")],
        powers_off: false,
    },
    Guest {
        name: "grub-firmware",
        ram: 128,
        boot: Boot::OtherFirmware(|| file("grub-firmware-qemu", "usr/share/qemu/grub.bin")),
        shows: &[(Screen, "error: no such device")],
        powers_off: false,
    },
    Guest {
        name: "ovmf",
        ram: 256,
        boot: Boot::OtherFirmware(media::ovmf),
        shows: &[(Serial, "startup.nsh")],
        powers_off: false,
    },
    Guest {
        name: "efi-variables",
        ram: 128,
        boot: Boot::UefiInFlash(|| media::efi_shell_disk("efi-variables", EFI_VARIABLE, &[])),
        shows: &[(Serial, "GUEST: no variable yet"), (Serial, "GUEST: the variable is there")],
        powers_off: true,
    },
    Guest {
        name: "efi-memtest",
        ram: 128,
        boot: Boot::Uefi(|| {
            media::efi_shell_disk(
                "efi-memtest",
                "fs0:\nmemtest.efi console=ttyS0,115200 nosmp",
                &[("memtest.efi", file("memtest86+", "boot/memtest86+x64.efi"))],
            )
        }),
        shows: &[(Serial, "UEFI Interactive Shell"), (Serial, "Memtest86")],
        powers_off: false,
    },
    Guest {
        name: "efi-ipxe",
        ram: 128,
        boot: Boot::Uefi(|| {
            media::efi_shell_disk(
                "efi-ipxe",
                "fs0:\nipxe.efi",
                &[("ipxe.efi", file("ipxe", "boot/ipxe.efi"))],
            )
        }),
        shows: &[(Serial, "UEFI Interactive Shell"), (Serial, "iPXE 1.0.0+git")],
        powers_off: false,
    },
    efi_linux("efi-linux", || {
        media::efi_shell_disk(
            "efi-linux",
            "fs0:\nvmlinuz.efi initrd=\\initrd console=ttyS0 panic=-1",
            &[("vmlinuz.efi", amd64()), ("initrd", bb64())],
        )
    }),
    efi_linux("efi-systemd-boot", || {
        media::efi_loader_disk(
            "efi-systemd-boot",
            file("systemd-boot-efi", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
            &[
                ("loader/loader.conf", "default linux.conf\n"),
                (
                    "loader/entries/linux.conf",
                    "title Linux\nlinux /vmlinuz\ninitrd /initrd\noptions console=ttyS0 panic=-1\n",
                ),
            ],
        )
    }),
    efi_linux("efi-grub", || {
        media::efi_loader_disk(
            "efi-grub",
            file("grub-efi-amd64-bin", "usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"),
            &[("boot/grub/grub.cfg", "linux /vmlinuz console=ttyS0 panic=-1\ninitrd /initrd\nboot\n")],
        )
    }),
    Guest {
        name: "xen",
        ram: 512,
        boot: Boot::Linux(LinuxBoot {
            kernel: media::xen,
            initrd: Some(amd64),
            append: "no-real-mode console=com1 com1=115200 noreboot",
            drives: false,
        }),
        shows: &[(Serial, "Dom0 kernel: 64-bit"), (Serial, "Linux version ")],
        powers_off: false,
    },
    Guest {
        name: "gnumach",
        ram: 128,
        boot: Boot::Cd(media::gnumach_cd),
        shows: &[
            (Serial, "GUEST: loading Mach"),
            (Serial, "RTC time is 2024-01-01"),
            (Serial, "No bootstrap code loaded"),
        ],
        powers_off: false,
    },
    Guest {
        name: "invaders",
        ram: 32,
        boot: Boot::Linux(LinuxBoot {
            kernel: || file("grub-invaders", "boot/invaders.exec"),
            initrd: None,
            append: "",
            drives: false,
        }),
        shows: &[(Screen, "-*-")],
        powers_off: false,
    },
    Guest {
        name: "debian-installer",
        ram: 512,
        boot: Boot::Linux(LinuxBoot {
            kernel: || installer("linux"),
            initrd: Some(|| installer("initrd.gz")),
            append: "vga=normal nomodeset quiet",
            drives: false,
        }),
        shows: &[(Screen, "Select a language"), (Screen, "Galician")],
        powers_off: false,
    },
    pxe("pxe-e1000", "e1000", || file("ipxe-qemu", "usr/lib/ipxe/qemu/pxe-e1000.rom")),
    pxe("pxe-ne2k", "ne2k_pci", || file("ipxe-qemu", "usr/lib/ipxe/qemu/pxe-ne2k_pci.rom")),
    pxe("pxe-virtio", "virtio-net-pci", || file("ipxe-qemu", "usr/lib/ipxe/qemu/pxe-virtio.rom")),
];

/// GRUB's rescue CD-ROM, which shows its menu after half a second.
pub fn grub_rescue_cd() -> PathBuf {
    file("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso")
}

type File = fn() -> PathBuf;

fn amd64() -> PathBuf {
    crate::debian_kernel()
}

fn cloud() -> PathBuf {
    kernel("linux-image-cloud-amd64", Arch::Amd64)
}

fn i686() -> PathBuf {
    kernel("linux-image-686", Arch::I386)
}

fn i686_pae() -> PathBuf {
    kernel("linux-image-686-pae", Arch::I386)
}

fn bb64() -> PathBuf {
    linux::busybox_tests(Arch::Amd64)
}

fn bb32() -> PathBuf {
    linux::busybox_tests(Arch::I386)
}

/// A file of the installer's netboot image.
fn installer(name: &str) -> PathBuf {
    let directory = "usr/lib/debian-installer/images/12/i386/text/debian-installer/i386";
    file("debian-installer-12-netboot-i386", &format!("{directory}/{name}"))
}

/// iPXE in the ROM of a network card, which gets an address and finds nothing to boot.
const fn pxe(name: &'static str, model: &'static str, rom: File) -> Guest {
    let shows = &[(Screen, "iPXE initialising devices"), (Screen, "10.0.2.15"), (Screen, "Nothing to boot")];
    Guest { name, ram: 64, boot: Boot::Network { model, rom }, shows, powers_off: false }
}

/// Sets a variable and resets the machine; switches it off if the variable is there already.
const EFI_VARIABLE: &str = "setvar Guest -guid 01234567-89ab-cdef-0123-456789abcdef
if %lasterror% == 0x0 then
  echo GUEST: the variable is there
  reset -s
else
  echo GUEST: no variable yet
  setvar Guest -guid 01234567-89ab-cdef-0123-456789abcdef -bs -nv =0x1234
  reset
endif";

/// Linux, started by UEFI from a disk.
const fn efi_linux(name: &'static str, disk: File) -> Guest {
    Guest {
        name,
        ram: 512,
        boot: Boot::Uefi(disk),
        shows: &[(Serial, "GUEST: userspace"), (Serial, "GUEST-TESTS-PASSED")],
        powers_off: true,
    }
}

const fn memtest(kernel: File) -> Boot {
    Boot::Linux(LinuxBoot { kernel, initrd: None, append: "console=ttyS0,115200 nosmp", drives: false })
}

const fn linux_tests(
    name: &'static str,
    ram: u32,
    kernel: File,
    initrd: File,
    append: &'static str,
) -> Guest {
    Guest {
        name,
        ram,
        boot: Boot::Linux(LinuxBoot { kernel, initrd: Some(initrd), append, drives: false }),
        shows: &[(Serial, "GUEST: userspace"), (Serial, "GUEST-TESTS-PASSED")],
        powers_off: true,
    }
}

const fn klibc(name: &'static str, ram: u32, kernel: File, initrd: File) -> Guest {
    let append = "console=ttyS0 panic=-1 quiet";
    Guest {
        name,
        ram,
        boot: Boot::Linux(LinuxBoot { kernel, initrd: Some(initrd), append, drives: false }),
        shows: &[(Serial, "GUEST: klibc"), (Serial, "GUEST-TESTS-PASSED")],
        powers_off: true,
    }
}

const fn linux_drives(name: &'static str, ram: u32, kernel: File, initrd: File) -> Guest {
    let append = "console=ttyS0 panic=-1 quiet";
    Guest {
        name,
        ram,
        boot: Boot::Linux(LinuxBoot { kernel, initrd: Some(initrd), append, drives: true }),
        shows: &[
            (Serial, "GUEST: userspace"),
            (Serial, "GUEST: ok diskwrite"),
            (Serial, "GUEST: ok cdrom"),
            (Serial, "GUEST-TESTS-PASSED"),
        ],
        powers_off: true,
    }
}
