//! Keys of a PC keyboard: QEMU's names, US layout, scan code set 1.

/// A key: its make code in scan code set 1, and whether the code has the prefix 0xe0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    code: u8,
    extended: bool,
}

impl Key {
    const fn plain(code: u8) -> Key {
        Key { code, extended: false }
    }

    const fn extended(code: u8) -> Key {
        Key { code, extended: true }
    }

    /// What the keyboard sends when the key goes down.
    pub fn make(self) -> Vec<u8> {
        self.sequence(self.code)
    }

    /// What the keyboard sends when the key comes up.
    pub fn release(self) -> Vec<u8> {
        self.sequence(self.code | 0x80)
    }

    fn sequence(self, code: u8) -> Vec<u8> {
        if self.extended { vec![0xe0, code] } else { vec![code] }
    }
}

/// Keys that are held down together, in the order in which they go down.
pub type Chord = Vec<Key>;

/// Keys whose name is not their character.
const NAMED: &[(&str, Key)] = &[
    ("esc", Key::plain(0x01)),
    ("minus", Key::plain(0x0c)),
    ("equal", Key::plain(0x0d)),
    ("backspace", Key::plain(0x0e)),
    ("tab", Key::plain(0x0f)),
    ("bracket_left", Key::plain(0x1a)),
    ("bracket_right", Key::plain(0x1b)),
    ("ret", Key::plain(0x1c)),
    ("ctrl", Key::plain(0x1d)),
    ("semicolon", Key::plain(0x27)),
    ("apostrophe", Key::plain(0x28)),
    ("grave_accent", Key::plain(0x29)),
    ("shift", Key::plain(0x2a)),
    ("backslash", Key::plain(0x2b)),
    ("comma", Key::plain(0x33)),
    ("dot", Key::plain(0x34)),
    ("slash", Key::plain(0x35)),
    ("shift_r", Key::plain(0x36)),
    ("asterisk", Key::plain(0x37)),
    ("kp_multiply", Key::plain(0x37)),
    ("alt", Key::plain(0x38)),
    ("spc", Key::plain(0x39)),
    ("caps_lock", Key::plain(0x3a)),
    ("f1", Key::plain(0x3b)),
    ("f2", Key::plain(0x3c)),
    ("f3", Key::plain(0x3d)),
    ("f4", Key::plain(0x3e)),
    ("f5", Key::plain(0x3f)),
    ("f6", Key::plain(0x40)),
    ("f7", Key::plain(0x41)),
    ("f8", Key::plain(0x42)),
    ("f9", Key::plain(0x43)),
    ("f10", Key::plain(0x44)),
    ("num_lock", Key::plain(0x45)),
    ("scroll_lock", Key::plain(0x46)),
    ("kp_7", Key::plain(0x47)),
    ("kp_8", Key::plain(0x48)),
    ("kp_9", Key::plain(0x49)),
    ("kp_subtract", Key::plain(0x4a)),
    ("kp_4", Key::plain(0x4b)),
    ("kp_5", Key::plain(0x4c)),
    ("kp_6", Key::plain(0x4d)),
    ("kp_add", Key::plain(0x4e)),
    ("kp_1", Key::plain(0x4f)),
    ("kp_2", Key::plain(0x50)),
    ("kp_3", Key::plain(0x51)),
    ("kp_0", Key::plain(0x52)),
    ("kp_decimal", Key::plain(0x53)),
    ("less", Key::plain(0x56)),
    ("f11", Key::plain(0x57)),
    ("f12", Key::plain(0x58)),
    ("kp_enter", Key::extended(0x1c)),
    ("ctrl_r", Key::extended(0x1d)),
    ("kp_divide", Key::extended(0x35)),
    ("alt_r", Key::extended(0x38)),
    ("home", Key::extended(0x47)),
    ("up", Key::extended(0x48)),
    ("pgup", Key::extended(0x49)),
    ("left", Key::extended(0x4b)),
    ("right", Key::extended(0x4d)),
    ("end", Key::extended(0x4f)),
    ("down", Key::extended(0x50)),
    ("pgdn", Key::extended(0x51)),
    ("insert", Key::extended(0x52)),
    ("delete", Key::extended(0x53)),
    ("meta_l", Key::extended(0x5b)),
    ("meta_r", Key::extended(0x5c)),
    ("menu", Key::extended(0x5d)),
];

/// The rows of a US keyboard: first make code, then what each key gives without and with shift.
const ROWS: [(u8, &[u8], &[u8]); 5] = [
    (0x02, b"1234567890-=", b"!@#$%^&*()_+"),
    (0x10, b"qwertyuiop[]", b"QWERTYUIOP{}"),
    (0x1e, b"asdfghjkl;'`", b"ASDFGHJKL:\"~"),
    (0x2b, b"\\zxcvbnm,./", b"|ZXCVBNM<>?"),
    (0x39, b" ", b" "),
];

const SHIFT: Key = Key::plain(0x2a);

/// The keys that `name` stands for: QEMU's key names, joined by `-` when held together (`ret`, `ctrl-alt-delete`).
pub fn chord(name: &str) -> Result<Chord, String> {
    if name.is_empty() {
        return Err("a key name is missing".into());
    }
    name.split('-').map(key).collect()
}

fn key(name: &str) -> Result<Key, String> {
    if let Some((_, key)) = NAMED.iter().find(|(n, _)| *n == name) {
        return Ok(*key);
    }
    // Letters and digits are their own names.
    if let &[byte] = name.as_bytes()
        && (byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && let Some((key, _)) = of_character(byte)
    {
        return Ok(key);
    }
    Err(format!(
        "there is no key `{name}`; names are QEMU's: a, 1, ret, spc, esc, f1, up, shift-a, ctrl-alt-delete"
    ))
}

/// The keys that type `text` on a US keyboard; a newline is the return key.
pub fn typing(text: &[u8]) -> Result<Vec<Chord>, String> {
    text.iter().map(|&byte| typed(byte)).collect()
}

fn typed(byte: u8) -> Result<Chord, String> {
    match byte {
        b'\n' | b'\r' => return Ok(vec![Key::plain(0x1c)]),
        b'\t' => return Ok(vec![Key::plain(0x0f)]),
        8 | 127 => return Ok(vec![Key::plain(0x0e)]),
        27 => return Ok(vec![Key::plain(0x01)]),
        _ => {}
    }
    match of_character(byte) {
        Some((key, false)) => Ok(vec![key]),
        Some((key, true)) => Ok(vec![SHIFT, key]),
        None => Err(format!("a US keyboard has no key for {:?}; use `key NAME`", byte as char)),
    }
}

/// The key of a printable character, and whether shift is held.
fn of_character(byte: u8) -> Option<(Key, bool)> {
    let place = |row: &[u8]| row.iter().position(|&b| b == byte).and_then(|at| u8::try_from(at).ok());
    ROWS.iter().find_map(|&(first, plain, shifted)| {
        let at = place(plain).map(|at| (at, false)).or_else(|| place(shifted).map(|at| (at, true)));
        at.map(|(at, shift)| (Key::plain(first + at), shift))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(keys: &[Key]) -> Vec<u8> {
        keys.iter().flat_map(|k| k.make()).collect()
    }

    #[test]
    fn names_are_qemus() {
        assert_eq!(codes(&chord("ret").unwrap()), [0x1c]);
        assert_eq!(codes(&chord("shift-a").unwrap()), [0x2a, 0x1e]);
        assert_eq!(codes(&chord("ctrl-alt-delete").unwrap()), [0x1d, 0x38, 0xe0, 0x53]);
        assert_eq!(codes(&chord("0").unwrap()), [0x0b]);
        assert_eq!(chord("up").unwrap()[0].release(), [0xe0, 0xc8]);
        for bad in ["", "A", "-", "shift-", "foo", "!"] {
            assert!(chord(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_is_typed_on_a_us_keyboard() {
        let chords = typing(b"aZ \\|/~\n").unwrap();
        let made: Vec<Vec<u8>> = chords.iter().map(|c| codes(c)).collect();
        let expected: [&[u8]; 8] =
            [&[0x1e], &[0x2a, 0x2c], &[0x39], &[0x2b], &[0x2a, 0x2b], &[0x35], &[0x2a, 0x29], &[0x1c]];
        assert_eq!(made, expected);
        assert!(typing("é".as_bytes()).is_err());
    }
}
