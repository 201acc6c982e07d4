//! JSON Lines: a line is a JSON value. Records are lines; JSON has no line ends inside strings.

/// Whether the first lines are JSON objects, each by itself. A single line that is cut off tells nothing.
pub(super) fn sniff(prefix: &[u8]) -> bool {
    /// Lines looked at.
    const LINES: usize = 3;
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let prefix = prefix.strip_prefix(BYTE_ORDER_MARK).unwrap_or(prefix);
    let whole = match memchr::memrchr(b'\n', prefix) {
        Some(last) => &prefix[..last],
        None => prefix,
    };
    let mut lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(LINES).peekable();
    whole.first() == Some(&b'{') && lines.peek().is_some() && lines.all(is_object)
}

fn is_object(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_of_objects_are_json_lines_and_documents_are_not() {
        for yes in ["{\"a\":1}", "{\"a\":1}\n{}\n", "{}\r\n\r\n{\"b\":[{}]}\n{\"cut", "\u{feff}{}\n"] {
            assert!(super::sniff(yes.as_bytes()), "{yes}");
        }
        for no in ["", "\n", "{", "{\n\"a\":1}\n", "[1]\n", "{\"a\":1}\nx\n", "{} {}\n", "{'a':1}\n", "x {}\n"] {
            assert!(!super::sniff(no.as_bytes()), "{no}");
        }
    }
}
