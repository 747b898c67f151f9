//! The parser of a `WWW-Authenticate` header: it passes over parts that it cannot read, and reads the others.
//!
//! RFC 9110, 11.2 and 11.6.1. Libraries for it refuse what Storage sends (URLs without quotes, parameters separated by
//! spaces) and give up the whole header at the first mistake.

/// The next part of a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A challenge begins, and the one before it is complete.
    Scheme(&'a [u8]),
    /// A parameter of the challenge that began last; without a value if that is unreadable.
    Parameter(&'a [u8], Option<Vec<u8>>),
    /// The scheme's data without a name: `token68`.
    Data,
    /// Neither of them.
    Junk,
}

/// The items of one header, in time and memory that grow with its length.
pub(super) struct Items<'a> {
    rest: &'a [u8],
    /// Nothing but spaces came after a scheme.
    behind_scheme: bool,
}

impl<'a> Items<'a> {
    pub(super) fn of(header: &'a [u8]) -> Self {
        Self { rest: header, behind_scheme: false }
    }

    /// The bytes before the first one that is not wanted.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|&byte| !wanted(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Whether an equals sign comes next. Spaces around it are "bad", says RFC 9110, 5.6.3, and must be understood.
    fn skip_equals(&mut self) -> bool {
        let Some(rest) = self.rest.trim_ascii_start().strip_prefix(b"=") else { return false };
        self.rest = rest;
        self.take_while(is_space);
        true
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.rest.starts_with(b"\"") {
            return Some(self.take_while(|byte| !is_separator(byte)).to_vec());
        }
        if let Some((value, rest)) = quoted(self.rest) {
            self.rest = rest;
            return Some(value);
        }
        // This quote begins nothing. Another challenge may follow.
        self.take_while(|byte| !is_separator(byte));
        None
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let separator = self.take_while(is_separator);
        if self.rest.is_empty() {
            return None;
        }
        let behind_scheme = self.behind_scheme && !separator.contains(&b',');
        self.behind_scheme = false;
        let word = self.take_while(|byte| !is_separator(byte) && !matches!(byte, b'=' | b'"'));
        if word.is_empty() {
            self.take_while(|byte| !is_separator(byte));
            return Some(Item::Junk);
        }
        if self.skip_equals() {
            return Some(Item::Parameter(word, self.value()));
        }
        if behind_scheme {
            return Some(Item::Data);
        }
        self.behind_scheme = true;
        Some(Item::Scheme(word))
    }
}

/// The content of the quoted string at the beginning of a text, and the rest.
///
/// None if it does not end, or if something sticks to its end: then it was another quote that ended it. An opening
/// quote is looked for behind an equals sign only, so no two searches pass over the same bytes.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            b'"' => break,
            b'\\' => {
                let (&escaped, behind) = rest.split_first()?;
                rest = behind;
                value.push(escaped);
            }
            _ => value.push(byte),
        }
    }
    rest.first().is_none_or(|&byte| is_separator(byte)).then_some((value, rest))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_separator(byte: u8) -> bool {
    is_space(byte) || byte == b','
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(header: &str) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Items::of(header.as_bytes())
            .map(|item| match item {
                Item::Scheme(name) => text(name),
                Item::Parameter(name, Some(value)) => format!("{}:{}", text(name), text(&value)),
                Item::Parameter(name, None) => format!("{}?", text(name)),
                Item::Data => "data".to_owned(),
                Item::Junk => "junk".to_owned(),
            })
            .collect()
    }

    #[test]
    fn challenges_are_told_apart_from_their_parameters() {
        for (header, expected) in [
            (
                r#"Basic realm="a, b", Bearer x=1,y=2"#,
                &["Basic", "realm:a, b", "Bearer", "x:1", "y:2"] as &[_],
            ),
            ("Bearer a=https://x/?b=c d=e", &["Bearer", "a:https://x/?b=c", "d:e"]),
            (r#"Bearer a = "1" ,,	b =2"#, &["Bearer", "a:1", "b:2"]),
            (r#"Bearer a="\"\\\x", b="""#, &["Bearer", r#"a:"\x"#, "b:"]),
            ("Negotiate, NTLM, Bearer a=1", &["Negotiate", "NTLM", "Bearer", "a:1"]),
            ("Negotiate Bearer, Basic x=1", &["Negotiate", "data", "Basic", "x:1"]),
            ("Negotiate YII/+a==, Bearer a=1", &["Negotiate", "YII/+a:=", "Bearer", "a:1"]),
            ("a=, b=", &["a:", "b:"]),
            ("", &[]),
            (" ,\t,", &[]),
        ] {
            assert_eq!(items(header), expected, "{header}");
        }
    }

    #[test]
    fn a_quote_that_does_not_end_spoils_one_parameter() {
        for (header, expected) in [
            (r#"PoP n="open, Bearer a="1", b=2"#, &["PoP", "n?", "Bearer", "a:1", "b:2"] as &[_]),
            (r#"PoP n="open\", Bearer a=1"#, &["PoP", "n?", "Bearer", "a:1"]),
            (r#"PoP n="1"2, Bearer a=1"#, &["PoP", "n?", "Bearer", "a:1"]),
            (r#"PoP "stray", =x, Bearer a=1"#, &["PoP", "junk", "junk", "Bearer", "a:1"]),
            (r#"Bearer"x""#, &["Bearer", "junk"]),
            (r#"a=""#, &["a?"]),
        ] {
            assert_eq!(items(header), expected, "{header}");
        }
    }
}
