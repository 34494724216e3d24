//! Other programs, and files that several test processes make at once.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

/// The Debian package that has `program`.
fn package_of(program: &str) -> &str {
    match program {
        "apt-get" | "apt-cache" => "apt",
        "dpkg-deb" => "dpkg",
        "gcc" => "gcc gcc-multilib",
        "ld" | "nm" => "binutils",
        "/usr/bin/python3" => "python3-venv",
        "qemu-system-i386" | "qemu-system-x86_64" => "qemu-system-x86",
        other => other,
    }
}

/// Runs a command to its end and returns its output; panics with all that it said if it fails.
pub fn run(command: &mut Command, hint: &str) -> Output {
    let output = output(command);
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("{command:?} failed ({}); {hint}\n{out}{err}", output.status);
    }
    output
}

/// Runs a command to its end, whatever its status; panics if it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| cannot_start(command, &error))
}

/// Says what is missing.
pub fn cannot_start(command: &Command, error: &std::io::Error) -> ! {
    let program = command.get_program().to_string_lossy();
    if error.kind() == ErrorKind::NotFound {
        let package = package_of(&program);
        panic!("these tests need the program {program}: apt-get install {package}");
    }
    panic!("cannot start {program}: {error}");
}

/// Makes `path` by `make`, unless it is there already, once even if many threads and processes ask at the same time.
/// `make` gets another path in the same directory; what it leaves there is renamed only when it is complete.
pub fn make_once(path: &Path, make: impl FnOnce(&Path)) {
    let (parent, name) = (path.parent().expect("a path in a directory"), path.file_name().expect("a name"));
    fs::create_dir_all(parent).unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
    let lock_path = parent.join(format!(".{}.lock", name.to_string_lossy()));
    let lock = File::create(&lock_path).unwrap_or_else(|error| panic!("{}: {error}", lock_path.display()));
    lock.lock().unwrap_or_else(|error| panic!("{}: {error}", lock_path.display()));
    if path.exists() {
        return;
    }
    let scratch = tempfile::tempdir_in(parent).expect("a scratch directory beside the cached file");
    let unfinished = scratch.path().join(name);
    make(&unfinished);
    fs::rename(&unfinished, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
