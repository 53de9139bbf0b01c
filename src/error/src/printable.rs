//! Escapes untrusted text for terminals: control characters and those that reorder text are printed as escapes.

use std::fmt::Write;

/// The text on one line, with escapes for line breaks, control characters (C1 too) and characters that reorder text. File names, image
/// names and container output may contain them.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| escape(c, &mut out));
    out
}

/// Appends one character of [`escaped`].
fn escape(c: char, out: &mut String) {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || reorders {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

/// Appends a line of container output: bytes that are not UTF-8, and all control characters except the tab, become escapes.
pub fn printable(bytes: &[u8], out: &mut String) {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\t' { out.push(c) } else { escape(c, out) }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// `1.5 MiB`: at most three digits.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut shown = format!("{bytes} B");
    // In tenths, so that no floating point is needed.
    let mut tenths = u128::from(bytes) * 10;
    for unit in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.div_ceil(1024);
        shown = if tenths < 1_000 {
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        } else {
            format!("{} {unit}", tenths / 10)
        };
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = String::new();
        printable(bytes, &mut out);
        out
    }

    #[test]
    fn threat_21_and_29_control_bytes_are_escaped() {
        assert_eq!(shown(b"a\tb\r\n"), "a\tb");
        assert_eq!(shown(b"\x1b]0;title\x07"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(shown(b"x\rforged | y"), "x\\rforged | y");
        assert_eq!(shown(b"\xff\xc3\xa9\xc2\x9b"), "\\xffé\\u{9b}");
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (5 << 20, "5.0 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
