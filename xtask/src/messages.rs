//! The texts that users read, frozen: `docs/messages.txt` lists them, since people search for them and match on them.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::repo;

/// The list, one part of the project after the other
fn listed() -> Result<String> {
    let mut list = INTRODUCTION.to_owned();
    for (part, folders) in PARTS {
        let mut texts = BTreeSet::new();
        for folder in folders {
            for file in repo::sources(&repo::path(folder))? {
                let code: TokenStream =
                    fs::read_to_string(&file)?.parse().ok().context(file.display().to_string())?;
                collect(code, HELP.iter().any(|help| file.ends_with(help)), &mut texts);
            }
        }
        list += &format!("\n# {part}\n");
        texts.iter().for_each(|text| list += &format!("{text}\n"));
    }
    Ok(list)
}

/// The string literals that are prose, outside of attributes, tests and assertions
///
/// `is_help`: the documentation is the text of `--help`.
fn collect(code: TokenStream, is_help: bool, texts: &mut BTreeSet<String>) {
    let (mut last, mut is_test) = (String::new(), false);
    for token in code {
        match &token {
            TokenTree::Literal(literal) => texts.extend(prose(&literal.to_string())),
            TokenTree::Group(group) if last == "#" => {
                is_test |= group.to_string().contains("cfg (test)");
                if is_help && group.to_string().contains("doc =") {
                    collect(group.stream(), is_help, texts);
                }
            }
            TokenTree::Group(group) if ASSERTIONS.contains(&&*last) || is_test => {
                is_test &= group.delimiter() != proc_macro2::Delimiter::Brace;
            }
            TokenTree::Group(group) => collect(group.stream(), is_help, texts),
            TokenTree::Punct(punct) if punct.as_char() == ';' => is_test = false,
            TokenTree::Punct(_) | TokenTree::Ident(_) => {}
        }
        // The `!` of a macro stands between its name and its arguments.
        if token.to_string() != "!" {
            last = token.to_string();
        }
    }
}

/// The text of a literal, if it is a sentence or a part of one
fn prose(literal: &str) -> Option<String> {
    let text = literal.trim_start_matches('r').trim_matches('#').strip_prefix('"')?.strip_suffix('"')?.trim();
    let (first, rest) = text.split_once("\\\n").unwrap_or((text, ""));
    let rest = rest.split("\\\n").map(str::trim_start);
    let text: String = std::iter::once(first).chain(rest).collect();
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    (text.split([' ', ',', ';', ':']).filter(is_word).count() > 1).then_some(text)
}

/// The file whose documentation is the text of `--help`
const HELP: [&str; 3] =
    ["crates/cli/src/args.rs", "crates/cli/src/args/request.rs", "crates/cli/src/args/write.rs"];

const INTRODUCTION: &str = "\
The texts that users of token-broker read: errors, remedies, log lines, help. People search for them and match on them, so a
change of one is a change that users see. `UPDATE_MESSAGES=1 cargo test -p xtask messages` writes this file anew.
";

const PARTS: [(&str, &[&str]); 5] = [
    (
        "The broker",
        &[
            "src",
            "components/broker",
            "components/broker-sync",
            "components/shared",
            "components/adapter-spin",
            "components/adapter-spin3",
            "components/adapter-wasmcloud",
        ],
    ),
    ("The injector", &["crates/egress", "components/injector"]),
    ("The identity endpoint", &["crates/identity-endpoint", "components/endpoint"]),
    ("The filter for Envoy", &["components/envoy-filter"]),
    ("The command and the Rust crates", &["crates/cli", "crates/client", "crates/host"]),
];

const ASSERTIONS: [&str; 7] =
    ["assert", "assert_eq", "debug_assert", "expect", "panic", "unreachable", "deprecated"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_that_users_read_are_those_of_the_list() {
        let path = repo::path("docs/messages.txt");
        let now = listed().unwrap();
        if std::env::var_os("UPDATE_MESSAGES").is_some() {
            fs::write(&path, &now).unwrap();
        }
        let frozen = fs::read_to_string(&path).unwrap();
        let only_in = |one: &str, other: &str| {
            let others: BTreeSet<_> = other.lines().collect();
            one.lines()
                .filter(|line| !others.contains(line))
                .map(|line| format!("\n    {line}"))
                .collect::<String>()
        };
        assert!(
            now == frozen,
            "docs/messages.txt differs, which its first lines explain; new:{}\ngone:{}",
            only_in(&now, &frozen),
            only_in(&frozen, &now)
        );
    }

    #[test]
    fn prose_is_taken_from_code_and_from_nothing_else() {
        let code = r#"
            //! no comment at all
            #[expect(reason = "no attribute either")]
            fn f() { g("one text\
                        that goes on", h!("another text {x}")); assert!(x, "no words of assertions"); }
            const SHORT: &str = "word";
            #[cfg(test)]
            use crate::tests::no;
            const LAST: &str = "after a test";
            #[cfg(test)]
            #[path = "no"]
            mod tests { fn t() { g("no words of tests"); } }
        "#;
        let mut texts = BTreeSet::new();
        collect(code.parse().unwrap(), false, &mut texts);
        let expected = ["after a test", "another text {x}", "one textthat goes on"];
        assert_eq!(texts.into_iter().collect::<Vec<_>>(), expected);
    }
}
