//! C escapes in text that a user writes.

/// The bytes of `text` with its C escapes resolved: `\n`, `\r`, `\t`, `\a`, `\b`, `\f`, `\v`, `\e`, `\\`, `\"`, `\'`,
/// `\ooo` (octal) and `\xhh`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let (byte, length) = escape(&bytes[at + 1..])?;
        out.push(byte);
        at += 1 + length;
    }
    Ok(out)
}

/// The byte that the escape after a backslash stands for, and how many bytes the escape has.
fn escape(rest: &[u8]) -> Result<(u8, usize), String> {
    let Some(&first) = rest.first() else {
        return Err("the text ends in a lone backslash; write \\\\ for a backslash".into());
    };
    let simple = match first {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'e' => 27,
        b'\\' | b'"' | b'\'' => first,
        b'x' => return number(&rest[1..], 16, 2).map(|(byte, n)| (byte, n + 1)),
        b'0'..=b'7' => return number(rest, 8, 3),
        _ => return Err(format!("there is no escape \\{}; write \\\\ for a backslash", first as char)),
    };
    Ok((simple, 1))
}

fn number(digits: &[u8], radix: u32, most: usize) -> Result<(u8, usize), String> {
    let count = digits.iter().take(most).take_while(|&&b| (b as char).is_digit(radix)).count();
    let value = digits[..count].iter().fold(0, |v, &b| v * radix + (b as char).to_digit(radix).unwrap_or(0));
    match u8::try_from(value) {
        Ok(byte) if count > 0 => Ok((byte, count)),
        _ => Err("a numeric escape is \\xhh or \\ooo and at most 255".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(unescape(r#"ls\r\n\t\\\"\x41\x4g\101\0"#).unwrap(), b"ls\r\n\t\\\"A\x04gA\0");
        assert_eq!(unescape("é").unwrap(), "é".as_bytes());
    }

    #[test]
    fn wrong_escapes_are_named() {
        for bad in ["\\", "a\\q", "\\x", "\\xg", "\\777"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }
}
