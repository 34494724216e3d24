//! A user space for Linux: busybox and an init script.

use crate::cpio::Archive;
use crate::debian::{Arch, kernel_package};
use crate::debian_guests::linux::modules;
use crate::tools::make_once;
use crate::{cache_dir, debian};
use std::fs;
use std::path::PathBuf;

/// What the guest prints when its shell is about to read commands.
pub const GUEST_READY: &str = "RETROGRADE-GUEST-READY";

/// What udhcpc runs when it has an address.
const DHCP_SCRIPT: &str = "#!/bin/sh
[ $1 = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo nameserver $dns >/etc/resolv.conf
echo bound-to-$ip
";

/// Loads the modules that /modules names, starts a shell on the console, and switches the power off when it ends.
fn init() -> String {
    format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ PS1='# '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules); do insmod /lib/$module; done
echo {GUEST_READY}
setsid cttyhack sh
poweroff -f
"
    )
}

/// An uncompressed initial RAM disk with Debian's static busybox: a shell on the console, the same bytes every time.
pub fn busybox_initrd() -> PathBuf {
    busybox_initrd_with_modules(&[])
}

/// The same with modules of Debian's kernel, which are loaded in this order, those that they depend on before them.
pub fn busybox_initrd_with_modules(names: &[&str]) -> PathBuf {
    let busybox = debian::busybox(Arch::Amd64);
    let initrd = cache_dir().join(format!("initrd-busybox-modules-{}.cpio", names.join("-")));
    make_once(&initrd, |path| {
        let mut archive = Archive::default();
        for name in ["bin", "dev", "etc", "etc/udhcpc", "lib", "proc", "sys", "tmp"] {
            archive.directory(name);
        }
        // The kernel opens the console before anything is mounted.
        archive.character_device("dev/console", 5, 1);
        archive.executable("bin/busybox", &fs::read(&busybox).expect("the cached busybox"));
        archive.executable("init", init().as_bytes());
        archive.executable("etc/udhcpc/default.script", DHCP_SCRIPT.as_bytes());
        let modules = modules(&kernel_package("linux-image-amd64", Arch::Amd64), names);
        for (name, bytes) in &modules {
            archive.file(&format!("lib/{name}"), bytes);
        }
        let list = modules.iter().map(|(name, _)| format!("{name}\n")).collect::<String>();
        archive.file("modules", list.as_bytes());
        fs::write(path, archive.finish()).expect("the initial RAM disk can be written");
    });
    initrd
}

/// The same with more files in its root; the name of each and where it is.
pub fn busybox_initrd_with(files: &[(&str, PathBuf)]) -> Vec<u8> {
    let mut archive = Archive::default();
    for (name, path) in files {
        archive.executable(name, &fs::read(path).expect("a file for the initial RAM disk"));
    }
    // Linux unpacks archives that stand one behind the other.
    [fs::read(busybox_initrd()).expect("the cached initial RAM disk"), archive.finish()].concat()
}
