//! QMP's messages (QEMU, "QEMU Machine Protocol Specification"): JSON values, one behind the other.

use serde_json::{Map, Value, json};

/// A command longer than this is not taken.
pub const COMMAND_MAX_BYTES: usize = 1 << 20;

/// What a client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Given back with the answer.
    pub id: Option<Value>,
    /// What is wanted, or what is wrong with it.
    pub what: Result<(String, Map<String, Value>), Failure>,
}

/// An error, as a client is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    class: &'static str,
    desc: String,
}

impl Failure {
    /// An error in words.
    pub fn generic(desc: impl Into<String>) -> Failure {
        Failure { class: "GenericError", desc: desc.into() }
    }

    /// A command that there is not, or not yet.
    pub fn not_found(desc: impl Into<String>) -> Failure {
        Failure { class: "CommandNotFound", desc: desc.into() }
    }
}

/// Cuts a stream of bytes into commands.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    /// Takes bytes in; the commands that are complete with them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Command> {
        self.bytes.extend_from_slice(bytes);
        let mut commands = Vec::new();
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<Value>();
            let next = values.next();
            let used = values.byte_offset();
            match next {
                Some(Ok(value)) => {
                    commands.push(Command::new(value));
                    self.bytes.drain(..used);
                }
                None => {
                    self.bytes.clear();
                    return commands;
                }
                Some(Err(e)) if e.is_eof() && self.bytes.len() <= COMMAND_MAX_BYTES => return commands,
                Some(Err(e)) => {
                    let what = if e.is_eof() { "the command is too long".to_owned() } else { e.to_string() };
                    commands.push(Command::broken(format!("JSON parse error: {what}")));
                    // What belongs together stands on one line with every client that there is.
                    let line =
                        self.bytes.iter().position(|&b| b == b'\n').map_or(self.bytes.len(), |at| at + 1);
                    self.bytes.drain(..line);
                }
            }
        }
    }
}

impl Command {
    fn broken(desc: String) -> Command {
        Command { id: None, what: Err(Failure::generic(desc)) }
    }

    fn new(value: Value) -> Command {
        let Value::Object(mut members) = value else {
            return Command::broken("QMP input must be a JSON object".into());
        };
        let id = members.remove("id");
        let what = (|| {
            let name = match members.remove("execute").or_else(|| members.remove("exec-oob")) {
                Some(Value::String(name)) => name,
                Some(_) => return Err("QMP input member 'execute' must be a string".into()),
                None => return Err("QMP input lacks member 'execute'".into()),
            };
            let arguments = match members.remove("arguments") {
                Some(Value::Object(arguments)) => arguments,
                Some(_) => return Err("QMP input member 'arguments' must be an object".into()),
                None => Map::new(),
            };
            match members.keys().next() {
                Some(other) => Err(format!("QMP input member '{other}' is unexpected")),
                None => Ok((name, arguments)),
            }
        })();
        Command { id, what: what.map_err(Failure::generic) }
    }

    /// The name of the command, if it is one.
    pub fn name(&self) -> &str {
        self.what.as_ref().map_or("", |(name, _)| name)
    }
}

/// The arguments of a command; each is taken out, and none may be left.
#[derive(Debug)]
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// Those of a command.
    pub fn new(arguments: Map<String, Value>) -> Arguments {
        Arguments(arguments)
    }

    /// A number that must be there.
    pub fn number(&mut self, name: &str) -> Result<u64, Failure> {
        let value = self.take(name)?;
        value.as_u64().ok_or_else(|| {
            Failure::generic(format!("Invalid parameter type for '{name}', expected: integer"))
        })
    }

    /// A text that must be there.
    pub fn text(&mut self, name: &str) -> Result<String, Failure> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(Failure::generic(format!("Invalid parameter type for '{name}', expected: string"))),
        }
    }

    /// A text that may be there.
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        if self.0.contains_key(name) { self.text(name).map(Some) } else { Ok(None) }
    }

    /// One that may be there, and makes no difference.
    pub fn drop(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// One that must be there, of any type.
    pub fn take(&mut self, name: &str) -> Result<Value, Failure> {
        self.0.remove(name).ok_or_else(|| Failure::generic(format!("Parameter '{name}' is missing")))
    }

    /// There are no more.
    pub fn end(&self) -> Result<(), Failure> {
        match self.0.keys().next() {
            Some(name) => Err(Failure::generic(format!("Parameter '{name}' is unexpected"))),
            None => Ok(()),
        }
    }
}

/// What a client is told first.
pub fn greeting() -> Value {
    json!({"QMP": {"version": version(), "capabilities": []}})
}

/// Our version in the form of QEMU's.
pub fn version() -> Value {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    json!({
        "qemu": {
            "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
            "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
            "micro": number(env!("CARGO_PKG_VERSION_PATCH")),
        },
        "package": concat!("retrograde ", env!("CARGO_PKG_VERSION")),
    })
}

/// The answer to a command.
pub fn answer(id: Option<Value>, result: Result<Value, Failure>) -> Value {
    let mut answer = match result {
        Ok(value) => json!({"return": value}),
        Err(failure) => json!({"error": {"class": failure.class, "desc": failure.desc}}),
    };
    if let Some(id) = id {
        answer["id"] = id;
    }
    answer
}

/// An event that happens now.
pub fn event(name: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    json!({
        "event": name,
        "timestamp": {"seconds": now.as_secs(), "microseconds": now.subsec_micros()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(commands: &[Command]) -> Vec<&str> {
        commands.iter().map(Command::name).collect()
    }

    #[test]
    fn commands_come_in_any_pieces() {
        let text = br#"{"execute": "stop"}{"execute":"cont", "id": 7} {"execute":"quit","arguments":{}}"#;
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let commands: Vec<_> = text.chunks(size).flat_map(|piece| parser.push(piece)).collect();
            assert_eq!(names(&commands), ["stop", "cont", "quit"], "{size}");
            assert_eq!(commands[1].id, Some(json!(7)));
        }
    }

    #[test]
    fn what_is_no_command_is_said_and_the_next_line_is_read() {
        let mut parser = Parser::default();
        let commands = parser
            .push(b"hello\n[1]\n{\"execute\": 1}\n{}\n{\"execute\":\"a\",\"b\":1}\n{\"execute\":\"stop\"}\n");
        let wrong: Vec<_> =
            commands.iter().map(|c| c.what.as_ref().map_or_else(|f| f.desc.as_str(), |_| "")).collect();
        assert!(wrong[0].starts_with("JSON parse error"), "{wrong:?}");
        assert_eq!(wrong[1], "QMP input must be a JSON object");
        assert!(wrong[2].contains("'execute' must be a string") && wrong[3].contains("lacks"), "{wrong:?}");
        assert_eq!(wrong[4], "QMP input member 'b' is unexpected");
        assert_eq!(commands[5].name(), "stop");
    }

    #[test]
    fn an_endless_command_takes_no_memory() {
        let mut parser = Parser::default();
        let mut refused = 0;
        for _ in 0..40 {
            refused += parser.push(&[b"\"".as_slice(), &[b'a'; 65536]].concat()[1..]).len();
            refused += parser.push(b"[").len();
            assert!(parser.bytes.len() <= COMMAND_MAX_BYTES + 65537);
        }
        assert!(refused > 0);
    }

    #[test]
    fn no_bytes_harm() {
        let mut seed = 1_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..2000 {
            let mut parser = Parser::default();
            for _ in 0..random() % 8 {
                let alphabet = b"{}[]\",:\\ \n0aexecute\xff\x00";
                let piece: Vec<u8> =
                    (0..random() % 32).map(|_| alphabet[random() as usize % alphabet.len()]).collect();
                parser.push(&piece);
            }
            // Whatever was open is closed or broken by this.
            parser.push(b"\n\"\n}]\n");
            parser.push(&[b']'; 64]);
            parser.push(b"\n");
            assert_eq!(names(&parser.push(b"{\"execute\":\"stop\"}\n")).last().copied(), Some("stop"));
        }
    }
}
