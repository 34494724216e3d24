//! Bad files, arguments and peers: a clear error or a closed connection, the right status, no panic, and the recording stays
//! as it was.

use retrograde_tests::chunks::{self, chunks};
use retrograde_tests::packets::packet;
use retrograde_tests::process::{Outcome, Process};
use retrograde_tests::random::Random;
use retrograde_tests::recordings::record_kernel;
use retrograde_tests::retrograde::{RUN_LIMIT, ends_with, outcome_of, retrograde};
use retrograde_tests::{build_guest, workspace_root};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

/// A small recording of which every chunk kind is part.
fn small_recording() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("small.rgr");
    record_kernel(&build_guest("loop"), "quiet iterations=20000", 33, &recording);
    (dir, recording)
}

/// It failed as it should: status 1, one message that names the file.
fn is_refused(outcome: &Outcome, file: &Path) {
    assert_eq!(outcome.status.code(), Some(1), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains(&*file.to_string_lossy()), "{}", outcome.stderr);
    assert!(outcome.stderr.lines().any(|line| line.starts_with("retrograde: ")), "{}", outcome.stderr);
}

fn info(file: &Path) -> Outcome {
    outcome_of(retrograde(["info"]).arg(file))
}

fn verify(file: &Path) -> Outcome {
    outcome_of(retrograde(["replay", "--verify"]).arg(file))
}

/// Starts a server on any free port. It either refuses the file (then its outcome), or listens.
fn serve(file: &Path, more: &[&str]) -> Result<(Process, SocketAddr), Outcome> {
    let mut process = Process::start(retrograde(["serve", "--gdb", "127.0.0.1:0"]).args(more).arg(file));
    process.close_input();
    let deadline = std::time::Instant::now() + RUN_LIMIT;
    loop {
        if let Some((_, rest)) = process.console().split_once("listening on ")
            && let Some((address, _)) = rest.split_once(',')
        {
            let address = address.parse().expect("an address");
            return Ok((process, address));
        }
        assert!(std::time::Instant::now() < deadline, "the server does not start");
        if process.listen(Duration::from_millis(20)) {
            continue;
        }
        if process.has_ended() {
            let outcome = process.wait_for_end(RUN_LIMIT);
            assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
            return Err(outcome);
        }
    }
}

#[test]
fn files_that_are_no_recordings() {
    let dir = tempdir().unwrap();
    let mut noise = Random::new(7);
    let contents: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("text", b"This is not a recording.\n".repeat(100)),
        ("noise", (0..100_000).map(|_| noise.next() as u8).collect()),
        ("elf", fs::read(workspace_root().join("examples/clobber/clobber.elf")).unwrap()),
        ("zeros", vec![0; 1 << 20]),
    ];
    for (name, bytes) in contents {
        let file = dir.path().join(name);
        fs::write(&file, &bytes).unwrap();
        is_refused(&info(&file), &file);
        is_refused(&verify(&file), &file);
        is_refused(&serve(&file, &[]).err().expect("nothing can be served"), &file);
        assert_eq!(fs::read(&file).unwrap(), bytes, "{name} has changed");
    }
    let missing = dir.path().join("missing");
    is_refused(&info(&missing), &missing);
    is_refused(&verify(&missing), &missing);
    is_refused(&serve(&missing, &[]).err().expect("nothing can be served"), &missing);
    is_refused(&info(dir.path()), dir.path());
    assert!(!missing.exists());
}

#[test]
fn truncated_recordings_are_good_up_to_their_last_whole_chunk() {
    let (dir, recording) = small_recording();
    let whole = fs::read(&recording).unwrap();
    let usable = chunks::first(&whole, chunks::CHECKPOINT).unwrap().end;
    let mut lengths: Vec<usize> =
        (0..40).chain(chunks(&whole).iter().flat_map(|c| [c.start, c.end - 1])).collect();
    let mut random = Random::new(1);
    lengths.extend((0..60).map(|_| random.below(whole.len() as u64) as usize));
    let file = dir.path().join("truncated.rgr");
    for length in lengths {
        fs::write(&file, &whole[..length]).unwrap();
        if length < usable {
            is_refused(&info(&file), &file);
            is_refused(&verify(&file), &file);
        } else {
            let (info, verify) = (info(&file), verify(&file));
            assert_eq!(info.status.code(), Some(0), "{length} bytes: {}", info.stderr);
            assert_eq!(verify.status.code(), Some(0), "{length} bytes: {}", verify.stderr);
        }
        assert_eq!(fs::read(&file).unwrap(), whole[..length], "the file has changed");
    }
}

#[test]
fn recordings_with_a_flipped_bit_do_not_verify() {
    let (dir, recording) = small_recording();
    let whole = fs::read(&recording).unwrap();
    let footer = chunks::first(&whole, chunks::FOOTER).unwrap();
    assert_eq!(footer.end, whole.len());
    // Every chunk's header and payload, and anything.
    let mut places: Vec<usize> =
        chunks(&whole).iter().flat_map(|c| [c.start + 5, c.start + 9, c.end - 1]).collect();
    let mut random = Random::new(2);
    places.extend(0..chunks::HEADER);
    places.extend((0..150).map(|_| random.below(whole.len() as u64) as usize));
    let file = dir.path().join("flipped.rgr");
    for (turn, place) in places.into_iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << random.below(8);
        fs::write(&file, &bytes).unwrap();
        let (info, verify) = (info(&file), verify(&file));
        if place >= footer.start {
            // Like a file that was torn off there: everything else is there and is compared.
            assert_eq!(verify.status.code(), Some(0), "byte {place}: {}", verify.stderr);
        } else {
            is_refused(&verify, &file);
        }
        // What a damage does not touch may be shown.
        if info.status.code() != Some(0) {
            is_refused(&info, &file);
        }
        if turn % 16 == 0 {
            match serve(&file, &["--once"]) {
                Err(refused) => is_refused(&refused, &file),
                Ok((server, address)) => {
                    drop(TcpStream::connect(address).unwrap());
                    let served = server.wait_for_end(RUN_LIMIT);
                    assert_eq!(served.status.code(), Some(0), "{}", served.stderr);
                    assert!(!served.stderr.contains("panicked"), "{}", served.stderr);
                }
            }
        }
        assert_eq!(fs::read(&file).unwrap(), bytes, "the file has changed");
    }
}

/// A recording cannot be made with these arguments: the status, and what the message says.
fn cannot_record(status: i32, args: &[&str], says: &[&str]) {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("never.rgr");
    let outcome = ends_with(status, retrograde(["record"]).args(args).arg("-o").arg(&recording));
    for text in says {
        assert!(outcome.stderr.contains(text), "no {text:?}: {}", outcome.stderr);
    }
    assert!(!recording.exists(), "{args:?} leave a recording behind");
}

#[test]
fn machines_that_cannot_be_built() {
    let dir = tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().expect("a plain path").to_owned()
    };
    let missing = dir.path().join("missing").to_str().expect("a plain path").to_owned();
    let kernel = build_guest("loop").to_str().expect("a plain path").to_owned();
    cannot_record(1, &["--kernel", &missing], &["missing", "No such file"]);
    cannot_record(1, &["--kernel", &kernel, "--initrd", &missing], &["missing", "No such file"]);
    cannot_record(1, &["--bios", &missing], &["missing", "No such file"]);
    let flash = format!("if=pflash,file={}", file("flash", &[0xff; 4096]));
    cannot_record(2, &["--drive", &flash, "--bios", &kernel], &["--bios", "if=pflash"]);
    cannot_record(2, &["--drive", &format!("if=pflash,file={missing}")], &["missing"]);
    cannot_record(1, &["--kernel", dir.path().to_str().unwrap()], &["directory"]);
    cannot_record(1, &["--kernel", &file("empty", b"")], &["kernel"]);
    let mut torn = fs::read(&kernel).unwrap();
    torn.truncate(torn.len() / 4);
    cannot_record(1, &["--kernel", &file("torn.elf", &torn)], &["torn.elf"]);
    let linux = retrograde_tests::debian_kernel().to_str().expect("a plain path").to_owned();
    cannot_record(1, &["-m", "8M", "--kernel", &linux], &["the kernel needs 0x"]);
    let initrd = file("large.cpio", &vec![0; 20 << 20]);
    cannot_record(1, &["-m", "16M", "--kernel", &kernel, "--initrd", &initrd], &["memory"]);
    for bad in ["0", "-1", "lots", "1K", "5G", "99999999999999999999", "1.5M", ""] {
        cannot_record(2, &[&format!("--memory={bad}"), "--kernel", &kernel], &["--memory"]);
    }
    cannot_record(2, &["--kernel"], &[]);
    cannot_record(2, &["--until", "never"], &["never"]);
    cannot_record(1, &["--kernel", &kernel, "--script", &file("script", b"fly away\n")], &["line 1", "fly"]);
}

#[test]
fn a_recording_is_not_overwritten_without_being_told_to() {
    let (_dir, recording) = small_recording();
    let before = fs::read(&recording).unwrap();
    let mut command = retrograde(["record", "-m", "16M", "--kernel"]);
    let refused = ends_with(1, command.arg(build_guest("real16")).arg("-o").arg(&recording));
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(fs::read(&recording).unwrap(), before);
}

#[test]
fn a_busy_port() {
    let (_dir, recording) = small_recording();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = ends_with(1, retrograde(["serve", "--gdb", &address]).arg(&recording));
    assert!(refused.stderr.contains(&address), "{}", refused.stderr);
    assert!(refused.stderr.contains("choose another port"), "{}", refused.stderr);
}

/// The server still answers a well-behaved debugger; retried while an earlier connection is being noticed as gone.
fn answers(address: SocketAddr) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&packet(b"qSupported:xmlRegisters=i386")).unwrap();
        let mut reply = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            reply.extend_from_slice(&buffer[..count]);
            if reply.windows(10).any(|w| w == b"PacketSize") {
                return;
            }
        }
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(std::time::Instant::now() < deadline, "no answer but {reply:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn peers_that_do_not_speak_the_protocol() {
    let (_dir, recording) = small_recording();
    let before = fs::read(&recording).unwrap();
    let (server, address) = serve(&recording, &[]).unwrap_or_else(|o| panic!("{}", o.stderr));
    let mut random = Random::new(3);
    let noise: Vec<u8> = (0..200_000).map(|_| random.next() as u8).collect();
    let garbage: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        noise,
        b"$".to_vec(),
        b"$g".to_vec(),
        b"$qSupp".to_vec(),
        b"$g#".to_vec(),
        b"$g#zz".to_vec(),
        b"$m0,ffffffffffffffff#".to_vec(),
        vec![b'$'; 100_000],
        vec![b'+'; 100_000],
        vec![3; 1000],
        [b"$".to_vec(), vec![b'a'; 1 << 20]].concat(),
        packet(b"m0,ffffffffffffffff"),
        packet(b"mffffffffffffffff,10"),
        packet(b"M0,10:00"),
        packet(b"X0,ffffffff:"),
        packet(b"Z0,,"),
        packet(b"Z2,ffffffffffffffff,ffffffffffffffff"),
        packet(b"vCont;x:zz"),
        packet(b"qRcmd,6"),
        packet(b"qRcmd,7365656b20393939393939393939393939393939393939393939"),
        packet(b"qXfer:features:read:target.xml:ffffffffffffffff,ffffffff"),
        packet(b"p99999999"),
        packet(b"P10=zz"),
        packet(b"Hgffffffffffffffffffff"),
        packet(b"bc"),
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        // The server may close the connection before it has taken everything.
        let _ = stream.write_all(&bytes);
        drop(stream);
        answers(address);
    }
    for _ in 0..50 {
        drop(TcpStream::connect(address).unwrap());
    }
    answers(address);
    // Vanishing in the middle of an answer, and with breakpoints set while it runs.
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&packet(b"qXfer:features:read:target.xml:0,4000"));
        let _ = stream.write_all(&packet(b"Z0,100000,1"));
        let _ = stream.write_all(&packet(b"bc"));
    }
    answers(address);
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());

    let id = server.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = server.wait_for_end(RUN_LIMIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(fs::read(&recording).unwrap(), before, "the recording has changed");
}
