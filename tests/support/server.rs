//! The program under test as a debug server, and recordings for it.

use crate::tools::{cannot_start, make_once, run};
use crate::{GUEST_READY, busybox_initrd, debian_kernel, workspace_root};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const BUILD_HINT: &str = "the program under test cannot be built";
const RUN_HINT: &str = "the program under test cannot do this";

/// The binary, with optimisation: a debugger test lives from the speed of going back.
pub fn program() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // Cargo tells tests the place of the binaries of their own package only, and may not have built those of others.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--release", "--workspace", "--bin", "retrograde"]);
        run(command.current_dir(workspace_root()), BUILD_HINT);
        // target/PROFILE/deps/TEST
        let test = std::env::current_exe().expect("the path of this test");
        let binary = test.ancestors().nth(3).expect("a target directory").join("release/retrograde");
        assert!(binary.exists(), "cargo has not made {}", binary.display());
        binary
    })
}

/// Records one of the project's own kernels; the run ends with `status`.
pub fn record_kernel(kernel: &Path, status: i32, output: &Path) {
    let mut command = Command::new(program());
    command.args(["record", "-m", "16M", "--rtc", "2024-01-01T00:00:00"]);
    command.args(["--device", "isa-debug-exit,iobase=0xf4", "--serial", "none"]);
    let result = crate::tools::output(command.arg("--kernel").arg(kernel).arg("-o").arg(output));
    let said = String::from_utf8_lossy(&result.stderr);
    assert_eq!(result.status.code(), Some(status), "{command:?}: {said}");
}

/// A recording of Debian's kernel from its start to a shell and to poweroff, made once by the program as it is now.
pub fn linux() -> PathBuf {
    let dir = workspace_root().join("target/test-recordings");
    let program = fs::metadata(program()).and_then(|m| m.modified()).expect("the program's date");
    let stamp = program.duration_since(std::time::UNIX_EPOCH).expect("a date after 1970").as_millis();
    let recording = dir.join(format!("debugged-linux-{stamp}.rgr"));
    make_once(&recording, |path| {
        let old = fs::read_dir(&dir).expect("the directory of recordings").flatten();
        for old in old.filter(|old| old.file_name().to_string_lossy().starts_with("debugged-linux-")) {
            fs::remove_file(old.path()).expect("a recording of an earlier program can be removed");
        }
        let script = path.with_extension("script");
        fs::write(&script, format!("wait serial {GUEST_READY}\nwait serial \"# \"\nsend poweroff -f\\n\n"))
            .expect("the script can be written");
        let mut command = Command::new(self::program());
        command.args(["record", "-m", "128M", "--rtc", "2024-01-01T00:00:00", "--no-reboot"]);
        command.args(["--append", "console=ttyS0 nokaslr quiet panic=-1", "--serial", "none"]);
        command.arg("--kernel").arg(debian_kernel()).arg("--initrd").arg(busybox_initrd());
        run(command.arg("--script").arg(script).arg("-o").arg(path), RUN_HINT);
    });
    recording
}

/// Replays a recording and compares every hash in it.
pub fn verify(recording: &Path) {
    run(Command::new(program()).args(["replay", "--verify"]).arg(recording), RUN_HINT);
}

/// `retrograde serve` at the end of a recording. Dropping it ends it, and says on failure what it said.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts it on a free port.
    pub fn start(recording: &Path) -> Server {
        let mut command = Command::new(program());
        command.arg("serve").arg(recording).args(["--gdb", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| cannot_start(&command, &error));
        let mut lines = BufReader::new(child.stdout.take().expect("the pipe asked for")).lines();
        let listening = lines.find_map(|line| {
            let line = line.expect("the server's output is text");
            let (_, rest) = line.split_once("listening on ")?;
            rest.split_once(',').map(|(address, _)| address.to_owned())
        });
        let mut server = Server { child, address: listening.unwrap_or_default() };
        assert!(!server.address.is_empty(), "{command:?} does not listen: {}", server.end());
        server
    }

    /// Where it listens: HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it; what it wrote to standard error.
    fn end(&mut self) -> String {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What is not text is of no help.
            let _ = stderr.read_to_string(&mut said);
        }
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let said = self.end();
        if std::thread::panicking() {
            eprintln!("the server said: {said}");
        } else {
            assert!(ended.is_none(), "the server has ended ({ended:?}): {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}
