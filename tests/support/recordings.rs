//! Recordings that several tests look at.

use crate::retrograde::{ends_with, retrograde, retrograde_binary};
use crate::tools::make_once;
use crate::{busybox_initrd, debian_kernel, workspace_root};
use snapshots::Recording;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Linux's command line in these tests.
pub const LINUX_APPEND: &str = "console=ttyS0 quiet panic=-1";

/// What is typed at Linux's shell: processes, page faults, a loop in user mode, sleep, and the end.
pub const LINUX_SCRIPT: &str = r##"# A short life of a machine.
wait serial RETROGRADE-GUEST-READY
wait serial "# "
send echo $((6 * 7))-answers\n
wait serial 42-answers
wait serial "# "
send i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; echo counted-$i\n
wait serial counted-3000
send dd if=/dev/zero bs=64k count=8 2>/dev/null | md5sum; sleep 0.3; ls /bin | wc -l; echo do''ne\n
wait serial done
send poweroff -f\n
"##;

/// `retrograde record` of Debian's kernel with BusyBox and these typed commands.
pub fn record_linux(script: &Path, append: &str, output: &Path) -> Command {
    let mut command = retrograde(["record", "-m", "128M", "--rtc", "2024-01-01T00:00:00", "--no-reboot"]);
    command.arg("--kernel").arg(debian_kernel()).arg("--initrd").arg(busybox_initrd());
    command.args(["--append", append]).arg("--script").arg(script).arg("-o").arg(output);
    command
}

/// The recording of [`LINUX_SCRIPT`], made once by the program as it is now.
pub fn linux_recording() -> PathBuf {
    let dir = workspace_root().join("target/test-recordings");
    let program = fs::read(retrograde_binary()).expect("the binary can be read");
    let mut hasher = DefaultHasher::new();
    (program, LINUX_APPEND, LINUX_SCRIPT).hash(&mut hasher);
    let recording = dir.join(format!("linux-{:016x}.rgr", hasher.finish()));
    make_once(&recording, |path| {
        let old =
            fs::read_dir(&dir).expect("the directory of recordings").flatten().map(|entry| entry.path());
        for old in old.filter(|old| old.extension().is_some_and(|extension| extension == "rgr")) {
            fs::remove_file(&old).expect("a recording of an earlier program can be removed");
        }
        let script = path.with_extension("script");
        fs::write(&script, LINUX_SCRIPT).expect("the script can be written");
        let outcome = ends_with(0, &mut record_linux(&script, LINUX_APPEND, path));
        assert!(outcome.stderr.contains("ended by power-off"), "{}", outcome.stderr);
        assert!(outcome.stdout.contains("42-answers"), "{}", outcome.stdout);
    });
    recording
}

/// A recording of one of the project's own guests, made by the program; it ends with `status`.
pub fn record_kernel(kernel: &Path, append: &str, status: i32, output: &Path) -> String {
    ends_with(status, &mut recording_of(kernel, append, output)).stdout
}

/// The command that makes it.
pub fn recording_of(kernel: &Path, append: &str, output: &Path) -> Command {
    let mut command = retrograde(["record", "-m", "16M", "--rtc", "2024-01-01T00:00:00"]);
    command.args(["--device", "isa-debug-exit,iobase=0xf4", "--append", append, "--serial", "stdio"]);
    command.arg("--kernel").arg(kernel).arg("-o").arg(output);
    command
}

/// A recording, opened.
pub fn open(path: &Path) -> Arc<Recording> {
    Arc::new(Recording::open(path).unwrap_or_else(|error| panic!("{error}")))
}

/// What `retrograde info --json` says.
pub fn info(recording: &Path) -> serde_json::Value {
    let outcome = ends_with(0, retrograde(["info", "--json"]).arg(recording));
    serde_json::from_str(&outcome.stdout).expect("info --json prints JSON")
}
