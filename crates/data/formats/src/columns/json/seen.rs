//! The types of JSON values, told from the first lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};

use crate::columns::kind::Guess;
use crate::columns::shown;

/// What stands at one place of the lines: a column, a member of an object, an item of a list.
#[derive(Default)]
pub(super) struct Seen {
    scalar: Guess,
    item: Option<Box<Seen>>,
    members: Option<Members>,
    clash: Option<Clash>,
}

/// Why no type holds everything that was seen.
#[derive(Clone, Debug)]
pub(super) struct Clash {
    /// From 1.
    pub(super) line: u64,
    pub(super) reason: String,
}

/// Members of objects, in order of appearance.
#[derive(Default)]
pub(super) struct Members {
    places: HashMap<String, usize>,
    in_order: Vec<(String, Seen)>,
}

impl Members {
    /// Takes a line into account: one object. An error says why it is none.
    pub(super) fn see_line(&mut self, line: &[u8], number: u64) -> Result<(), String> {
        // What is JSON is left to serde_json; from here on values are only told apart.
        serde_json::from_slice::<serde::de::IgnoredAny>(line)
            .map_err(|error| format!("it is no JSON object ({error}): `{}`", shown(line)))?;
        let mut walk = Walk { rest: line, line: number };
        if walk.passes(b'{') { walk.object(self) } else { Err(format!("it is no JSON object: `{}`", shown(line))) }
    }

    /// Names and types of columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, Result<DataType, Clash>)> {
        self.in_order.iter().map(|(name, seen)| (name.as_str(), seen.kind(name)))
    }

    fn place(&mut self, name: Cow<'_, str>) -> Option<&mut Seen> {
        let place = match self.places.get(name.as_ref()) {
            Some(place) => *place,
            None => {
                self.in_order.push((name.clone().into_owned(), Seen::default()));
                self.places.insert(name.into_owned(), self.in_order.len() - 1);
                self.in_order.len() - 1
            }
        };
        self.in_order.get_mut(place).map(|(_, seen)| seen)
    }
}

impl Seen {
    /// The narrowest type that every reader of Arrow has; text if only nulls were seen. Members of objects are sorted by name.
    fn kind(&self, path: &str) -> Result<DataType, Clash> {
        if let Some(Clash { line, reason }) = &self.clash {
            return Err(Clash { line: *line, reason: format!("`{path}` {reason}") });
        }
        if let Some(item) = &self.item {
            return Ok(DataType::List(Arc::new(Field::new("item", item.kind(&format!("{path}[]"))?, true))));
        }
        let Some(members) = &self.members else { return Ok(self.scalar.kind()) };
        let field = |(name, seen): &(String, Seen)| -> Result<FieldRef, Clash> {
            Ok(Arc::new(Field::new(name, seen.kind(&format!("{path}.{name}"))?, true)))
        };
        let mut fields: Vec<FieldRef> = members.in_order.iter().map(field).collect::<Result<_, _>>()?;
        fields.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(DataType::Struct(fields.into()))
    }

    /// Notes that `what` stands here, where only one of scalar, list and object can.
    fn expect(&mut self, what: &str, line: u64) {
        let before = match (self.scalar.seen(), self.item.is_some(), self.members.is_some()) {
            (true, ..) if what != "a plain value" => "a plain value",
            (_, true, _) if what != "a list" => "a list",
            (.., true) if what != "an object" => "an object",
            _ => return,
        };
        self.clash(line, format!("is {what} here, and {before} in front of it"));
    }

    fn clash(&mut self, line: u64, reason: String) {
        self.clash.get_or_insert(Clash { line, reason });
    }
}

/// Goes through a line that is JSON.
struct Walk<'j> {
    rest: &'j [u8],
    line: u64,
}

const CUT: &str = "it ends before it should";

impl<'j> Walk<'j> {
    fn object(&mut self, members: &mut Members) -> Result<(), String> {
        while !self.passes(b'}') {
            let name = self.text()?;
            if !self.passes(b':') {
                return Err(CUT.into());
            }
            let seen = members.place(name).ok_or(CUT)?;
            self.value(seen)?;
            self.passes(b',');
        }
        Ok(())
    }

    fn value(&mut self, seen: &mut Seen) -> Result<(), String> {
        if self.passes(b'{') {
            seen.expect("an object", self.line);
            return self.object(seen.members.get_or_insert_default());
        }
        if self.passes(b'[') {
            seen.expect("a list", self.line);
            let item = seen.item.get_or_insert_default();
            while !self.passes(b']') {
                self.value(item)?;
                self.passes(b',');
            }
            return Ok(());
        }
        if self.rest.first() == Some(&b'"') {
            seen.expect("a plain value", self.line);
            let text = self.text()?;
            seen.scalar.see_text(&text);
            return Ok(());
        }
        let end = self.rest.iter().position(|byte| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace());
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            b"" => return Err(CUT.into()),
            b"null" => return Ok(()),
            b"true" | b"false" => seen.scalar.see_boolean(),
            number => {
                let text = std::str::from_utf8(number).map_err(|error| error.to_string())?;
                if text.parse().is_ok_and(f64::is_infinite) {
                    seen.clash(self.line, format!("is `{}`, and no number of Arrow is that large", shown(number)));
                }
                seen.scalar.see_number(text);
            }
        }
        seen.expect("a plain value", self.line);
        Ok(())
    }

    /// A string, and what it means.
    fn text(&mut self) -> Result<Cow<'j, str>, String> {
        self.passes(b' ');
        let inside = self.rest.strip_prefix(b"\"").ok_or(CUT)?;
        let mut length = 0;
        loop {
            length += memchr::memchr2(b'"', b'\\', inside.get(length..).unwrap_or_default()).ok_or(CUT)?;
            match inside.get(length) {
                Some(b'\\') => length += 2,
                _ => break,
            }
        }
        let (quoted, rest) = self.rest.split_at_checked(length + 2).ok_or(CUT)?;
        self.rest = rest;
        let plain = quoted.get(1..length + 1).unwrap_or_default();
        if !plain.contains(&b'\\') {
            return std::str::from_utf8(plain).map(Cow::Borrowed).map_err(|error| format!("a string is no UTF-8 ({error})"));
        }
        // Two escapes that stand for one letter may not stand alone, among others.
        serde_json::from_slice(quoted)
            .map(Cow::Owned)
            .map_err(|error| format!("the string `{}` is wrong: {error}", shown(quoted)))
    }

    /// Passes over white space, and `byte` if that is next.
    fn passes(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii_start();
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Members;

    fn kinds(lines: &[&str]) -> Result<Vec<String>, String> {
        let mut seen = Members::default();
        for (number, line) in lines.iter().enumerate() {
            seen.see_line(line.as_bytes(), number as u64 + 1).map_err(|error| format!("{}: {error}", number + 1))?;
        }
        let column = |(name, kind): (&str, Result<arrow_schema::DataType, super::Clash>)| match kind {
            Ok(kind) => Ok(format!("{name} {kind}")),
            Err(clash) => Err(format!("{}: {}", clash.line, clash.reason)),
        };
        seen.columns().map(column).collect()
    }

    #[test]
    fn types_are_those_of_csv_in_lists_and_objects_too() {
        assert_eq!(
            kinds(&[r#"{"b" : 1, "a":[ 1 , 2.5 ],"t":"2026-11-24T10:00:00Z", "z\u0041":null}"#, r#" {"b":true,"a":[]} "#])
                .unwrap(),
            ["b Utf8", "a List(Float64)", "t Timestamp(µs, \"UTC\")", "zA Utf8"]
        );
        assert_eq!(kinds(&[r#"{"n":18446744073709551615}"#, r#"{"n":1}"#]).unwrap(), ["n Utf8"]);
        assert_eq!(kinds(&[r#"{"n":1e3}"#, r#"{"n":-5}"#]).unwrap(), ["n Float64"]);
        assert_eq!(kinds(&[r#"{"n":"12","d":"2026-11-24","q":"a\"}"}"#]).unwrap(), ["n Utf8", "d Date32", "q Utf8"]);
        assert!(kinds(&[r#"{"o":{"b":[{"c":false}],"a":1}}"#]).unwrap()[0].contains("Boolean"));
        for (lines, words) in [
            (&[r#"{"a":1}"#, r#"{"a":[1]}"#][..], "2: `a` is a list here, and a plain value"),
            (&[r#"{"a":{"b":[1]}}"#, "{}", r#"{"a":{"b":[{}]}}"#], "3: `a.b[]` is an object here"),
            (&[r#"{"a":{}}"#, r#"{"a":3}"#], "2: `a` is a plain value here"),
            (&["{}", r#"{"a":[1E400]}"#], "2: `a[]` is `1E400`"),
            (&["{}", r#"{"a":"\ud83d"}"#], "2: the string"),
            (&["{}", r#"{"a":1}}"#], "2: it is no JSON object"),
            (&["[1]"], "1: it is no JSON object"),
        ] {
            let error = kinds(lines).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
