//! What is done with each packet, decided from its text alone.
//!
//! gdbstub parses packets for embedded use: some malformed ones end its session, a read that goes past the end of the
//! address space overflows, and a read that is mapped in part is lost. So only packets whose form is known to be right
//! go on to it, in a form that it takes; memory is read and written here; the rest is refused in words.

use super::agent::MOST_BYTES;
use std::borrow::Cow;
use vm::WatchKind;

/// What to do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// gdbstub handles it, in this form.
    Forward(Vec<u8>),
    /// gdbstub sets a breakpoint; these conditions are looked at here.
    Break {
        /// The packet without them.
        form: Vec<u8>,
        /// Bytecode; one that holds is enough.
        conditions: Vec<Vec<u8>>,
    },
    /// A watchpoint is set or removed.
    Watch {
        /// Set, not removed.
        set: bool,
        /// For which accesses.
        kind: WatchKind,
        /// Linear address.
        addr: u64,
        /// Bytes.
        len: u64,
    },
    /// Read this register.
    Register(usize),
    /// This is the reply.
    Reply(&'static str),
    /// Say whether addresses are physical.
    IsPhysical,
    /// From now on they are, or not.
    Physical(bool),
    /// Read memory.
    Read {
        /// Linear address.
        addr: u64,
        /// Bytes.
        len: u64,
    },
    /// Write memory.
    Write {
        /// Linear address.
        addr: u64,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Write a register.
    WriteRegister {
        /// By its number in the target description.
        number: usize,
        /// Its value as it is read.
        bytes: Vec<u8>,
    },
    /// Write all registers of GDB's own features.
    WriteRegisters(Vec<u8>),
    /// An error with this text.
    Refuse(Cow<'static, str>),
    /// The reply is OK, and from now on errors are told in LLDB's form.
    LldbErrors,
    /// LLDB asks what kind of machine this is.
    Host,
    /// The debugger leaves; the reply, if there is to be one.
    Leave(Option<&'static str>),
}

const MALFORMED: &str = "malformed packet";
const NO_SUCH_ANNEX: &str = "the only description is target.xml";
const NO_SUCH_THREAD: &str = "there is one processor, which is thread 1";

/// Decides. An empty reply tells a debugger that a packet is not supported.
pub fn judge(body: &[u8]) -> Verdict {
    let forward = || Verdict::Forward(body.to_vec());
    let Ok(text) = std::str::from_utf8(body) else { return judge_binary(body) };
    match text {
        "" => Verdict::Reply(""),
        "?" | "g" | "bs" | "bc" | "vCont?" | "qfThreadInfo" | "qsThreadInfo" | "QStartNoAckMode" => forward(),
        "c" | "s" => Verdict::Forward(format!("vCont;{text}").into_bytes()),
        "k" => Verdict::Leave(None),
        "!" => Verdict::Reply(""),
        "D" => Verdict::Leave(Some("OK")),
        "qC" => Verdict::Reply("QCp1.1"),
        "QEnableErrorStrings" => Verdict::LldbErrors,
        "qHostInfo" => Verdict::Host,
        "qqemu.Supported" => Verdict::Reply("PhyMemMode"),
        "qqemu.PhyMemMode" => Verdict::IsPhysical,
        "Qqemu.PhyMemMode:0" => Verdict::Physical(false),
        "Qqemu.PhyMemMode:1" => Verdict::Physical(true),
        _ if text.starts_with("Qqemu.PhyMemMode") => refuse(MALFORMED),
        "qSupported" => judge_features(""),
        _ if text.starts_with("qSupported:") => judge_features(&text["qSupported:".len()..]),
        _ if text.starts_with("qAttached") => Verdict::Reply("1"),
        _ if text.starts_with("D;") => Verdict::Leave(Some("OK")),
        _ if text.starts_with("vKill;") => Verdict::Leave(Some("OK")),
        _ if text.starts_with("vCont;") => judge_vcont(&text["vCont;".len()..]),
        _ if text.starts_with("qRcmd,") => guard(is_hex_bytes(&text["qRcmd,".len()..]), forward),
        _ if text.starts_with("qXfer:features:read:") => {
            judge_description(&text["qXfer:features:read:".len()..], forward)
        }
        _ => judge_short(text),
    }
}

fn guard(ok: bool, forward: impl Fn() -> Verdict) -> Verdict {
    if ok { forward() } else { refuse(MALFORMED) }
}

fn refuse(reason: &'static str) -> Verdict {
    Verdict::Refuse(reason.into())
}

/// `ANNEX:OFFSET,LENGTH`
fn judge_description(text: &str, forward: impl Fn() -> Verdict) -> Verdict {
    match text.rsplit_once(':') {
        Some((annex, range)) if is_range(range) => {
            if annex == "target.xml" {
                forward()
            } else {
                refuse(NO_SUCH_ANNEX)
            }
        }
        _ => refuse(MALFORMED),
    }
}

/// A debugger may have no features to name, or leave a place empty: gdbstub would end the session.
fn judge_features(features: &str) -> Verdict {
    // It names the architectures whose descriptions it can read, if it names any.
    if let Some(known) = features.split(';').find_map(|f| f.strip_prefix("xmlRegisters="))
        && known.split(',').all(|name| name != "i386")
    {
        let text = format!("this is an x86 PC (i386, i386:x86-64), and the debugger knows {known} only");
        return Verdict::Refuse(text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect());
    }
    // Every other one is of no interest to gdbstub.
    let multiprocess = if features.split(';').any(|f| f == "multiprocess+") { '+' } else { '-' };
    Verdict::Forward(format!("qSupported:multiprocess{multiprocess}").into_bytes())
}

/// Packets named by one letter.
fn judge_short(text: &str) -> Verdict {
    let Some(rest) = text.get(1..) else { return Verdict::Reply("") };
    match text.as_bytes()[0] {
        b'm' => match rest.split_once(',').map(|(a, l)| (hex(a), hex(l))) {
            Some((Some(addr), Some(len))) => Verdict::Read { addr, len },
            _ => refuse(MALFORMED),
        },
        b'p' => match hex(rest).map(usize::try_from) {
            Some(Ok(number)) => Verdict::Register(number),
            _ => refuse(MALFORMED),
        },
        b'P' => judge_register(rest),
        b'G' => hex_bytes(rest).map_or(refuse(MALFORMED), Verdict::WriteRegisters),
        b'M' => judge_write(rest.split_once(':').map(|(place, digits)| (place, hex_bytes(digits)))),
        b'X' => judge_binary(text.as_bytes()),
        // There is one processor: any thread that is named is that one.
        b'H' => Verdict::Reply("OK"),
        b'T' if matches!(rest, "1" | "01" | "p1.1" | "p01.01") => Verdict::Reply("OK"),
        b'T' => refuse(NO_SUCH_THREAD),
        b'Z' | b'z' => judge_breakpoint(text),
        // Continue or step with a signal, which a machine does not have.
        b'C' | b'S' if signal(rest) => {
            Verdict::Forward(vec![b'v', b'C', b'o', b'n', b't', b';', text.as_bytes()[0] | 0x20])
        }
        _ => Verdict::Reply(""),
    }
}

/// `NUMBER=VALUE`, and behind it what LLDB says of threads.
fn judge_register(text: &str) -> Verdict {
    let (number, value) = text.split_once('=').unwrap_or((text, ""));
    let value = value.split(';').next().unwrap_or("");
    match (hex(number).and_then(|n| usize::try_from(n).ok()), hex_bytes(value)) {
        (Some(number), Some(bytes)) => Verdict::WriteRegister { number, bytes },
        _ => refuse(MALFORMED),
    }
}

/// The binary form of a write to memory; one of no bytes asks whether it is understood.
fn judge_binary(body: &[u8]) -> Verdict {
    let Some(b'X') = body.first() else { return Verdict::Reply("") };
    let colon = body.iter().position(|b| *b == b':');
    judge_write(
        colon.and_then(|at| Some((std::str::from_utf8(&body[1..at]).ok()?, unescaped(&body[at + 1..])))),
    )
}

/// `ADDR,LENGTH` and the bytes.
fn judge_write(parts: Option<(&str, Option<Vec<u8>>)>) -> Verdict {
    let Some((place, Some(bytes))) = parts else { return refuse(MALFORMED) };
    match place.split_once(',').map(|(a, l)| (hex(a), hex(l))) {
        Some((Some(addr), Some(len))) if len == bytes.len() as u64 => Verdict::Write { addr, bytes },
        _ => refuse(MALFORMED),
    }
}

/// Binary data as it was before `}` was put before what must not stand in a packet (GDB manual, "Overview").
fn unescaped(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data.iter();
    while let Some(byte) = rest.next() {
        bytes.push(if *byte == b'}' { rest.next()? ^ 0x20 } else { *byte });
    }
    Some(bytes)
}

/// The first action decides: there is one processor, and further actions are for threads that there are not.
fn judge_vcont(actions: &str) -> Verdict {
    let action = actions.split(';').next().unwrap_or("").split(':').next().unwrap_or("");
    let canonical = match action.as_bytes() {
        b"c" | b"s" => action.to_owned(),
        [b'C', ..] if signal(&action[1..]) => "c".to_owned(),
        [b'S', ..] if signal(&action[1..]) => "s".to_owned(),
        [b'r', ..] => match action[1..].split_once(',').map(|(a, b)| (hex(a), hex(b))) {
            Some((Some(start), Some(end))) => format!("r{start:x},{end:x}"),
            _ => return refuse(MALFORMED),
        },
        _ => return refuse(MALFORMED),
    };
    Verdict::Forward(format!("vCont;{canonical}").into_bytes())
}

/// `TYPE,ADDR,KIND`, and behind it, for breakpoints that are set, conditions and commands.
fn judge_breakpoint(text: &str) -> Verdict {
    let (place, more) = text.split_once(';').unwrap_or((text, ""));
    let mut parts = place[1..].split(',');
    let kind = parts.next().unwrap_or("");
    let numbers = parts.next().and_then(hex).zip(parts.next().and_then(hex));
    let watched_for = match kind {
        "0" | "1" => None,
        "2" => Some(WatchKind::Write),
        "3" => Some(WatchKind::Read),
        "4" => Some(WatchKind::Access),
        _ => return Verdict::Reply(""),
    };
    let has_more = parts.next().is_some();
    let (Some((addr, len)), Some(conditions), false) = (numbers, conditions(more), has_more) else {
        return refuse(MALFORMED);
    };
    match watched_for {
        Some(kind) => Verdict::Watch { set: place.starts_with('Z'), kind, addr, len },
        None => Verdict::Break { form: place.as_bytes().to_vec(), conditions },
    }
}

/// `X` LENGTH `,` BYTECODE, one behind the other. Commands, which only tracing has, are not carried out.
fn conditions(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut rest = match text.split_once("cmds:") {
        Some((before, _)) => before.trim_end_matches(';'),
        None => text,
    };
    let mut conditions = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.strip_prefix('X')?.split_once(',')?;
        let length = hex(length).and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MOST_BYTES)?;
        conditions.push(hex_bytes(behind.get(..length * 2)?)?);
        rest = &behind[length * 2..];
    }
    Some(conditions)
}

fn signal(text: &str) -> bool {
    text.len() <= 2 && hex(text).is_some()
}

fn is_hex_bytes(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Two digits a byte.
fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let byte = |i: usize| hex(&text[2 * i..2 * i + 2]).map(|byte| byte as u8);
    is_hex_bytes(text).then(|| (0..text.len() / 2).map(byte).collect()).flatten()
}

/// `OFFSET,LENGTH`
fn is_range(text: &str) -> bool {
    text.split_once(',').is_some_and(|(offset, length)| hex(offset).is_some() && hex(length).is_some())
}

/// A number of at most 64 bits in hexadecimal.
fn hex(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    all_digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(body: &str, to: &str) {
        assert_eq!(judge(body.as_bytes()), Verdict::Forward(to.as_bytes().to_vec()), "{body}");
    }

    #[test]
    fn what_debuggers_send_goes_on() {
        for body in ["?", "g", "bs", "bc", "qRcmd,68656c70", "qXfer:features:read:target.xml:0,ffb"] {
            forwarded(body, body);
        }
    }

    #[test]
    fn resuming_packets_are_made_simple() {
        forwarded("vCont;s:p1.1;c:p1.-1", "vCont;s");
        forwarded("vCont;c:p1.-1", "vCont;c");
        forwarded("vCont;r401000,401008:p1.1;c", "vCont;r401000,401008");
        forwarded("vCont;C05:1", "vCont;c");
        forwarded("c", "vCont;c");
        forwarded("S05", "vCont;s");
    }

    #[test]
    fn what_a_debugger_supports_may_be_nothing() {
        for none in ["qSupported", "qSupported:", "qSupported:;;", "qSupported:xmlRegisters=i386;"] {
            forwarded(none, "qSupported:multiprocess-");
        }
        forwarded("qSupported:;multiprocess+;swbreak+", "qSupported:multiprocess+");
    }

    #[test]
    fn memory_is_read_here() {
        assert_eq!(judge(b"mffffffffffffffff,ffffffff"), Verdict::Read { addr: u64::MAX, len: 0xffff_ffff });
        for bad in ["m", "m,", "m0", "m0,", "m0,x", "m11112222333344445,1", "m-1,1", "m+1,1"] {
            assert_eq!(judge(bad.as_bytes()), refuse(MALFORMED), "{bad}");
        }
    }

    #[test]
    fn conditions_are_taken_from_breakpoints() {
        for (body, form, conditions) in [
            ("Z0,ffffffff81000000,1", "Z0,ffffffff81000000,1", vec![]),
            ("z1,1000,1", "z1,1000,1", vec![]),
            ("Z1,10,1;X3,220127", "Z1,10,1", vec![vec![0x22, 1, 0x27]]),
            ("Z0,10,1;X1,27X2,2227", "Z0,10,1", vec![vec![0x27], vec![0x22, 0x27]]),
            ("Z0,10,1;X1,27;cmds:1,X1,27", "Z0,10,1", vec![vec![0x27]]),
            ("Z0,10,1;cmds:0,X1,27", "Z0,10,1", vec![]),
        ] {
            assert_eq!(judge(body.as_bytes()), Verdict::Break { form: form.into(), conditions }, "{body}");
        }
    }

    #[test]
    fn writes_have_the_length_that_they_say() {
        let written = |addr, bytes: &[u8]| Verdict::Write { addr, bytes: bytes.to_vec() };
        assert_eq!(judge(b"M1000,2:00ff"), written(0x1000, &[0, 0xff]));
        assert_eq!(judge(b"X1000,1:\xff"), written(0x1000, &[0xff]));
        assert_eq!(judge(b"X10,3:a}\x03}]"), written(0x10, b"a#}"));
        assert_eq!(judge(b"X0,0:"), written(0, &[]));
        for body in
            [&b"M0,1:"[..], b"M0,1:0", b"M0,1:0000", b"M0:00", b"X0,2:a", b"X0,1:}", b"X0,1", b"Xz,1:a", b"X"]
        {
            assert_eq!(judge(body), refuse(MALFORMED), "{body:?}");
        }
        assert_eq!(judge(b"P1f=0102"), Verdict::WriteRegister { number: 0x1f, bytes: vec![1, 2] });
        assert_eq!(judge(b"P1=02;thread:1;"), Verdict::WriteRegister { number: 1, bytes: vec![2] });
        assert_eq!(judge(b"G00ff"), Verdict::WriteRegisters(vec![0, 0xff]));
        for body in [&b"P"[..], b"P=", b"Pz=00", b"P1=0", b"G0", b"Gzz"] {
            assert_eq!(judge(body), refuse(MALFORMED), "{body:?}");
        }
    }

    #[test]
    fn watchpoints_and_registers_are_numbers() {
        let watch = |set, kind| Verdict::Watch { set, kind, addr: 0x1000, len: 4 };
        assert_eq!(judge(b"Z2,1000,4"), watch(true, WatchKind::Write));
        assert_eq!(judge(b"z3,1000,4"), watch(false, WatchKind::Read));
        assert_eq!(judge(b"Z4,1000,4;X1,27"), watch(true, WatchKind::Access));
        assert_eq!(judge(b"p1f"), Verdict::Register(0x1f));
    }

    #[test]
    fn only_what_there_is_is_described() {
        assert_eq!(judge(b"qXfer:features:read:other.xml:0,1"), refuse(NO_SUCH_ANNEX));
        assert_eq!(judge(b"qXfer:features:read:a:b:0,1"), refuse(NO_SUCH_ANNEX));
        assert_eq!(judge(b"T7"), refuse(NO_SUCH_THREAD));
    }

    #[test]
    fn a_debugger_that_does_not_know_x86_is_told() {
        for features in ["xmlRegisters=arm", "a+;xmlRegisters=;b+", "xmlRegisters=mips,\u{1}é"] {
            let verdict = judge(format!("qSupported:{features}").as_bytes());
            assert!(matches!(&verdict, Verdict::Refuse(text) if text.contains("x86")), "{verdict:?}");
        }
        forwarded("qSupported:xmlRegisters=arm,i386", "qSupported:multiprocess-");
    }

    #[test]
    fn qemus_physical_mode_is_known() {
        assert_eq!(judge(b"qqemu.PhyMemMode"), Verdict::IsPhysical);
        assert_eq!(judge(b"Qqemu.PhyMemMode:1"), Verdict::Physical(true));
        assert_eq!(judge(b"Qqemu.PhyMemMode:0"), Verdict::Physical(false));
        assert_eq!(judge(b"Qqemu.PhyMemMode:2"), refuse(MALFORMED));
    }

    #[test]
    fn malformed_packets_do_not_go_on() {
        for bad in [
            "vCont;",
            "vCont;x",
            "vCont;t",
            "vCont;r1",
            "vCont;Czz",
            "Z0,xyz,1",
            "Z0,11112222333344445,1",
            "Z0,1",
            "Z0,1,1;X",
            "Z0,1,1;X1",
            "Z0,1,1;X2,27",
            "Z0,1,1;Xffffffffffffffff,27",
            "Z0,1,1;X1,zz",
            "Z0,1,1;X1,é",
            "p",
            "pz",
            "p11112222333344445",
            "qRcmd,6",
            "qRcmd,zz",
            "qXfer:features:read:target.xml",
        ] {
            assert_eq!(judge(bad.as_bytes()), refuse(MALFORMED), "{bad}");
        }
        for unknown in
            ["", "vMustReplyEmpty", "qProcessInfo", "x0,0", "Z9,0,0", "jThreadsInfo", "R00", "é", "\u{0}"]
        {
            assert_eq!(judge(unknown.as_bytes()), Verdict::Reply(""), "{unknown}");
        }
        assert_eq!(judge(b"\xff\xfe"), Verdict::Reply(""));
    }

    #[test]
    fn leaving_is_answered() {
        assert_eq!(judge(b"D;1"), Verdict::Leave(Some("OK")));
        assert_eq!(judge(b"vKill;1"), Verdict::Leave(Some("OK")));
        assert_eq!(judge(b"k"), Verdict::Leave(None));
    }
}
