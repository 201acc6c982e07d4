//! The fields of one row.

use std::borrow::Cow;

/// Takes a row apart. A quoted field begins with a quote; inside, two quotes stand for one.
pub(super) struct Fields<'r> {
    rest: Option<&'r [u8]>,
    separator: u8,
}

impl<'r> Fields<'r> {
    /// The fields of a row without its line end.
    pub(super) fn new(row: &'r [u8], separator: u8) -> Self {
        Self { rest: Some(row), separator }
    }

    /// What comes up to the next separator.
    fn plain(&mut self, rest: &'r [u8]) -> Result<&'r [u8], &'static str> {
        let end = memchr::memchr2(self.separator, b'\n', rest);
        let Some(end) = end else {
            self.rest = None;
            return Ok(rest);
        };
        if rest[end] == b'\n' {
            return Err("a line ends inside it; is a quote opened and not closed?");
        }
        self.rest = Some(&rest[end + 1..]);
        Ok(&rest[..end])
    }

    fn quoted(&mut self, inside: &'r [u8]) -> Result<Cow<'r, [u8]>, &'static str> {
        let mut joined: Vec<u8> = Vec::new();
        let mut rest = inside;
        loop {
            let quote = memchr::memchr(b'"', rest).ok_or("a quote is opened and not closed")?;
            let (part, behind) = (&rest[..quote], &rest[quote + 1..]);
            if behind.first() == Some(&b'"') {
                joined.extend_from_slice(&rest[..=quote]);
                rest = &behind[1..];
                continue;
            }
            // Anything between the closing quote and the separator is taken as it stands.
            let tail = self.plain(behind)?;
            if joined.is_empty() && tail.is_empty() {
                return Ok(Cow::Borrowed(part));
            }
            joined.extend_from_slice(part);
            joined.extend_from_slice(tail);
            return Ok(Cow::Owned(joined));
        }
    }
}

impl<'r> Iterator for Fields<'r> {
    type Item = Result<Cow<'r, [u8]>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        Some(match rest.strip_prefix(b"\"") {
            Some(inside) => self.quoted(inside),
            None => self.plain(rest).map(Cow::Borrowed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn fields_are_as_rfc_4180_has_them() {
        let fields = |row: &str, separator: u8| -> Vec<String> {
            Fields::new(row.as_bytes(), separator).map(|field| String::from_utf8(field.unwrap().into_owned()).unwrap()).collect()
        };
        assert_eq!(fields("a,b,,c", b','), ["a", "b", "", "c"]);
        assert_eq!(fields("", b','), [""]);
        assert_eq!(fields("a;\"b;\"\"\n\"\"\";", b';'), ["a", "b;\"\n\"", ""]);
        assert_eq!(fields("5\" pipe,\"x\"y,\"\"", b','), ["5\" pipe", "xy", ""]);
        for wrong in ["\"a", "a,\"b\"\"", "a\nb,c", "\"a\"b\nc"] {
            assert!(Fields::new(wrong.as_bytes(), b',').any(|field| field.is_err()), "{wrong}");
        }
    }
}
