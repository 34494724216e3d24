//! `--script`: input from a file, one command a line.
//!
//! [`Script`] is the parsed file; [`ScriptRun`] carries it out: it sees the guest's output and the clock, and says what
//! to do next. It touches neither machine nor host.

use crate::escape::unescape;
use crate::keys::{self, Chord};
use crate::units::{parse_count, parse_time_ns};
use std::path::PathBuf;
use vm::{Icount, Slot, VmTime};

const COMMANDS: &str = "wait serial TEXT, wait debugcon TEXT, wait screen TEXT, wait time SECONDS, wait insns N, \
                        send TEXT, type TEXT, key NAME..., mouse DX DY BUTTONS, eject DRIVE, insert DRIVE FILE, power, reset, quit";

/// Output that a `wait` may look back on.
const LOOK_BACK_BYTES: usize = 1 << 20;

/// Where guest output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Any serial port.
    Serial,
    /// A debug console.
    Debugcon,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    WaitText(Stream, Vec<u8>),
    WaitScreen(String),
    WaitNs(u64),
    WaitSteps(u64),
    Act(Action),
}

/// What a script does to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bytes for the first serial port.
    Send(Vec<u8>),
    /// Keys, one chord after the other.
    Keys(Vec<Chord>),
    /// The mouse is moved.
    Mouse {
        /// Counts to the right.
        dx: i16,
        /// Counts downwards.
        dy: i16,
        /// Bit 0 left, 1 middle, 2 right, 3 and 4 at the sides.
        buttons: u8,
    },
    /// The power button.
    Power,
    /// The reset button.
    Reset,
    /// Takes the medium out of a drive, and puts the image of this file in, if there is one.
    Change(Slot, Option<PathBuf>),
    /// Ends the recording in order.
    Quit,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    text: String,
    command: Command,
}

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    lines: Vec<Line>,
}

impl Script {
    /// Parses a script. The error names the line.
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let command = parse_line(line).map_err(|e| format!("line {number}: {e}"))?;
            lines.push(Line { number, text: line.to_owned(), command });
        }
        Ok(Script { lines })
    }

    /// The script that types `text`, which has C escapes; in angle brackets are names of keys (`<ret>`, `<ctrl-alt-delete>`), and
    /// seconds to wait for (`<wait 2.5>`). Two brackets, `<<`, are one that is typed.
    ///
    /// # Errors
    /// What of it is no text and no key.
    pub fn typing(text: &str) -> Result<Script, String> {
        let mut lines = Vec::new();
        let mut push = |text: &str, command| {
            lines.push(Line { number: lines.len() + 1, text: text.to_owned(), command });
        };
        let keys = |chords| Command::Act(Action::Keys(chords));
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, bracket) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            if !plain.is_empty() {
                push(plain, keys(keys::typing(&unescape(plain)?)?));
            }
            rest = match bracket.strip_prefix('<') {
                None => "",
                Some(after) if after.starts_with('<') => {
                    push("<", keys(keys::typing(b"<")?));
                    &after[1..]
                }
                Some(after) => {
                    let (name, after) = after.split_once('>').ok_or_else(|| {
                        format!("`<{after}`: the name of a key ends in `>`; write << for a bracket")
                    })?;
                    push(
                        name,
                        match split_word(name) {
                            ("wait", seconds) => Command::WaitNs(parse_time_ns(seconds)?),
                            _ => keys(vec![keys::chord(name)?]),
                        },
                    );
                    after
                }
            };
        }
        Ok(Script { lines })
    }

    /// The images that it puts into drives.
    pub fn inserted(&self) -> Vec<(Slot, PathBuf)> {
        let inserted = |line: &Line| match &line.command {
            Command::Act(Action::Change(slot, Some(path))) => Some((*slot, path.clone())),
            _ => None,
        };
        self.lines.iter().filter_map(inserted).collect()
    }
}

/// Parses what a line of a script does to the machine.
pub fn parse_action(line: &str) -> Result<Action, String> {
    match parse_line(line)? {
        Command::Act(action) => Ok(action),
        _ => Err("waiting is for scripts".into()),
    }
}

fn parse_line(line: &str) -> Result<Command, String> {
    let (word, rest) = split_word(line);
    let act = match word {
        "wait" => return parse_wait(rest),
        "send" => Action::Send(text_argument("send", rest)?),
        "type" => Action::Keys(keys::typing(&text_argument("type", rest)?)?),
        "key" if rest.is_empty() => return Err("`key` needs the names of keys, for example `key ret`".into()),
        "key" => Action::Keys(rest.split_whitespace().map(keys::chord).collect::<Result<_, _>>()?),
        "mouse" => parse_mouse(rest)?,
        "eject" => Action::Change(drive("eject", rest)?, None),
        "insert" => {
            let (name, file) = split_word(rest);
            let slot = drive("insert", name)?;
            if file.is_empty() {
                return Err(
                    "`insert` needs a drive and the name of an image, for example `insert cd other.iso`"
                        .into(),
                );
            }
            Action::Change(slot, Some(file.into()))
        }
        "power" | "reset" | "quit" if !rest.is_empty() => return Err(format!("`{word}` takes no argument")),
        "power" => Action::Power,
        "reset" => Action::Reset,
        "quit" => Action::Quit,
        _ => return Err(format!("there is no command `{word}`; there are {COMMANDS}")),
    };
    Ok(Command::Act(act))
}

fn parse_mouse(rest: &str) -> Result<Action, String> {
    let parsed = || {
        let mut words = rest.split_whitespace();
        let (dx, dy) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let buttons = words.next()?.parse().ok().filter(|buttons| *buttons < 32)?;
        words.next().is_none().then_some(Action::Mouse { dx, dy, buttons })
    };
    parsed().ok_or_else(|| {
        "`mouse` needs counts to the right and downwards and the buttons (1 left, 2 middle, 4 right, added up): \
         `mouse 10 -5 1`"
            .into()
    })
}

/// A drive whose medium can be changed. A CD-ROM drive is where `--cdrom` has it.
pub fn drive(command: &str, name: &str) -> Result<Slot, String> {
    match name {
        "cd" | "hdc" => Ok(Slot::Hdc),
        "hdb" => Ok(Slot::Hdb),
        "hdd" => Ok(Slot::Hdd),
        "fda" => Ok(Slot::Fda),
        "fdb" => Ok(Slot::Fdb),
        _ => Err(format!("`{command}` needs a drive: cd, fda or fdb, not `{name}`")),
    }
}

fn parse_wait(rest: &str) -> Result<Command, String> {
    let (what, argument) = split_word(rest);
    match what {
        "serial" => Ok(Command::WaitText(Stream::Serial, text_argument("wait serial", argument)?)),
        "debugcon" => Ok(Command::WaitText(Stream::Debugcon, text_argument("wait debugcon", argument)?)),
        "screen" => {
            let text = text_argument("wait screen", argument)?;
            let text = String::from_utf8(text).map_err(|_| "`wait screen` needs text in UTF-8")?;
            Ok(Command::WaitScreen(text))
        }
        "time" => Ok(Command::WaitNs(parse_time_ns(argument)?)),
        "insns" => Ok(Command::WaitSteps(parse_count(argument)?)),
        _ => Err(format!("one can wait for serial, debugcon, screen, time and insns, not for `{what}`")),
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// A text with C escapes; in double quotes if blanks at its ends matter.
fn text_argument(command: &str, text: &str) -> Result<Vec<u8>, String> {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    if inner.is_empty() {
        return Err(format!("`{command}` needs a text"));
    }
    unescape(inner)
}

/// What a script is shown of the machine.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Position.
    pub position: Icount,
    /// Virtual time.
    pub now: VmTime,
    /// All input that the script gave has entered the machine.
    pub input_drained: bool,
    /// The machine does nothing more, and its time stands still, until input comes.
    pub idle: bool,
}

/// A script being carried out.
#[derive(Debug)]
pub struct ScriptRun {
    lines: std::vec::IntoIter<Line>,
    current: Option<Line>,
    /// Position and time at which the current line began.
    since: (Icount, VmTime),
    serial: Vec<u8>,
    debugcon: Vec<u8>,
    screen: String,
}

impl ScriptRun {
    /// A script at its first line, at power-on.
    pub fn new(script: Script) -> ScriptRun {
        let mut lines = script.lines.into_iter();
        let current = lines.next();
        ScriptRun {
            lines,
            current,
            since: (Icount(0), VmTime(0)),
            serial: Vec::new(),
            debugcon: Vec::new(),
            screen: String::new(),
        }
    }

    /// The guest wrote `bytes`.
    pub fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if self.current.is_none() {
            return;
        }
        let seen = self.seen(stream);
        seen.extend_from_slice(bytes);
        let excess = seen.len().saturating_sub(LOOK_BACK_BYTES);
        seen.drain(..excess);
    }

    /// Whether the script waits for a text on the screen.
    pub fn watches_screen(&self) -> bool {
        matches!(&self.current, Some(Line { command: Command::WaitScreen(_), .. }))
    }

    /// What is on the screen now, line by line.
    pub fn screen(&mut self, text: &str) {
        text.clone_into(&mut self.screen);
    }

    /// The next thing to do now, if any. To be called until it gives nothing.
    pub fn next_action(&mut self, view: View) -> Option<Action> {
        loop {
            let command = self.current.as_ref()?.command.clone();
            let (began_at, began) = self.since;
            let done = match command {
                Command::WaitText(stream, text) => self.take_text(stream, &text),
                Command::WaitScreen(text) => self.screen.contains(&text),
                Command::WaitNs(ns) => view.idle || view.now >= began.plus_ns(ns),
                Command::WaitSteps(n) => view.position.0 >= began_at.0.saturating_add(n),
                Command::Act(action) if view.input_drained => {
                    self.advance(view);
                    return Some(action);
                }
                Command::Act(_) => false,
            };
            if !done {
                return None;
            }
            self.advance(view);
        }
    }

    /// Where the machine should be looked at again at the latest: a position and a time.
    pub fn deadline(&self) -> (Option<Icount>, Option<VmTime>) {
        match self.current.as_ref().map(|line| &line.command) {
            Some(Command::WaitNs(ns)) => (None, Some(self.since.1.plus_ns(*ns))),
            Some(Command::WaitSteps(n)) => (Some(Icount(self.since.0.0.saturating_add(*n))), None),
            _ => (None, None),
        }
    }

    /// The line that is not done yet, as `line 3: wait serial login:`.
    pub fn waiting(&self) -> Option<String> {
        self.current.as_ref().map(|line| format!("line {}: {}", line.number, line.text))
    }

    fn advance(&mut self, view: View) {
        self.current = self.lines.next();
        self.since = (view.position, view.now);
    }

    fn seen(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Serial => &mut self.serial,
            Stream::Debugcon => &mut self.debugcon,
        }
    }

    /// Whether the text was written since the end of the text last waited for; forgets all up to its end.
    fn take_text(&mut self, stream: Stream, text: &[u8]) -> bool {
        let seen = self.seen(stream);
        let found = seen.windows(text.len().max(1)).position(|w| w == text);
        if let Some(at) = found {
            seen.drain(..at + text.len());
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(position: u64, now: u64) -> View {
        View { position: Icount(position), now: VmTime(now), input_drained: true, idle: false }
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_errors_name_the_line() {
        let script = Script::parse("# a script\n\n  wait serial login: \nsend root\\n\n").unwrap();
        assert_eq!(script.lines.len(), 2);
        let error = Script::parse("power\n\nfly away\n").unwrap_err();
        assert!(error.starts_with("line 3: there is no command `fly`"), "{error}");
        for bad in [
            "wait",
            "wait screen",
            "wait time soon",
            "send",
            "send \"\"",
            "send \\q",
            "key",
            "key foo",
            "mouse 1 2",
            "mouse 1 2 3 4",
            "mouse 1 2 32",
            "mouse 40000 0 0",
            "quit 1",
        ] {
            assert!(Script::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_mouse_moves_by_counts() {
        let script = Script::parse("mouse 10 -5 1\n").unwrap();
        let action = Action::Mouse { dx: 10, dy: -5, buttons: 1 };
        assert_eq!(script.lines[0].command, Command::Act(action));
    }

    #[test]
    fn text_to_type_has_names_of_keys_and_pauses_in_brackets() {
        let script = Script::typing("a<<b<wait 1.5><ctrl-c>\\n").unwrap();
        let mut commands = script.lines.iter().map(|line| line.command.clone());
        let mut typed = |text: &[u8]| {
            let chords = keys::typing(text).unwrap();
            assert_eq!(commands.next(), Some(Command::Act(Action::Keys(chords))));
        };
        [b"a", b"<", b"b"].into_iter().for_each(|text| typed(text));
        assert_eq!(commands.next(), Some(Command::WaitNs(1_500_000_000)));
        assert_eq!(commands.next(), Some(Command::Act(Action::Keys(vec![keys::chord("ctrl-c").unwrap()]))));
        assert_eq!(commands.next(), Some(Command::Act(Action::Keys(keys::typing(b"\n").unwrap()))));
        assert_eq!(commands.next(), None);
        for bad in ["<", "<ret", "<foo>", "<wait>", "<wait x>", "\\q", "\u{e9}"] {
            assert!(Script::typing(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn media_are_changed_by_drive_and_file() {
        let script = Script::parse("eject cd\ninsert cd a b.iso\ninsert fda disk.img").unwrap();
        let inserted = [(Slot::Hdc, "a b.iso".into()), (Slot::Fda, "disk.img".into())];
        assert_eq!(script.inserted(), inserted);
        assert_eq!(script.lines[0].command, Command::Act(Action::Change(Slot::Hdc, None)));
        for bad in ["eject", "eject hda", "insert", "insert cd", "insert tape x"] {
            assert!(Script::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quotes_keep_blanks() {
        let script = Script::parse("wait serial \"$ \"\n").unwrap();
        assert_eq!(script.lines[0].command, Command::WaitText(Stream::Serial, b"$ ".to_vec()));
    }

    #[test]
    fn each_wait_looks_only_at_what_came_after_the_last_one() {
        let script = Script::parse("wait serial $\nsend a\\n\nwait serial $\nsend b\nquit").unwrap();
        let mut run = ScriptRun::new(script);
        assert_eq!(run.next_action(view(0, 0)), None);
        run.output(Stream::Debugcon, b"$");
        assert_eq!(run.next_action(view(1, 1)), None);
        run.output(Stream::Serial, b"boot $ ");
        assert_eq!(run.next_action(view(2, 2)), Some(Action::Send(b"a\n".to_vec())));
        assert_eq!(run.next_action(view(2, 2)), None);
        assert_eq!(run.waiting().unwrap(), "line 3: wait serial $");
        run.output(Stream::Serial, b"a\r\n$ ");
        assert_eq!(run.next_action(view(3, 3)), Some(Action::Send(b"b".to_vec())));
        let busy = View { input_drained: false, ..view(3, 3) };
        assert_eq!(run.next_action(busy), None);
        assert_eq!(run.next_action(view(4, 4)), Some(Action::Quit));
        assert_eq!(run.waiting(), None);
    }

    #[test]
    fn a_text_on_the_screen_is_waited_for_and_stays() {
        let script = Script::parse("wait screen boot:\nwait serial x\nwait screen \"boot: \"\nquit").unwrap();
        let mut run = ScriptRun::new(script);
        assert!(run.watches_screen());
        assert_eq!(run.next_action(view(0, 0)), None);
        run.screen("\nboot:");
        assert_eq!(run.next_action(view(1, 1)), None);
        assert!(!run.watches_screen());
        run.output(Stream::Serial, b"x");
        assert_eq!(run.next_action(view(2, 2)), None);
        run.screen("boot: ok");
        assert_eq!(run.next_action(view(3, 3)), Some(Action::Quit));
    }

    #[test]
    fn waits_for_time_and_steps_count_from_their_own_line() {
        let mut run = ScriptRun::new(Script::parse("wait insns 10\nwait time 1\npower").unwrap());
        assert_eq!(run.deadline(), (Some(Icount(10)), None));
        assert_eq!(run.next_action(view(9, 72)), None);
        assert_eq!(run.next_action(view(10, 80)), None);
        assert_eq!(run.deadline(), (None, Some(VmTime(1_000_000_080))));
        assert_eq!(run.next_action(view(11, 1_000_000_079)), None);
        assert_eq!(run.next_action(view(12, 1_000_000_080)), Some(Action::Power));
    }
}
