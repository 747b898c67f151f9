//! The rooms of the core: each imports only from those below it, in the order in which `src/lib.rs` lists them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::repo;

/// The imports that go up, each as `file: room`
fn upward(core: &Path) -> Result<Vec<String>> {
    let lib = core.join("lib.rs");
    let rooms = rooms(&fs::read_to_string(&lib)?);
    let mut found = Vec::new();
    for file in repo::sources(core)?.into_iter().filter(|file| *file != lib) {
        let path = file.strip_prefix(core)?;
        let room = path.iter().next().and_then(|name| name.to_str()).context("no room")?;
        let floor = |room: &str| rooms.iter().position(|it| it == room.trim_end_matches(".rs"));
        let text = fs::read_to_string(&file)?;
        for import in imports(&text).filter(|import| floor(room).is_none() || floor(import) < floor(room)) {
            found.push(format!("{}: {import}", path.display()));
        }
    }
    Ok(found)
}

/// The rooms from the top down: the table in the documentation of the crate
fn rooms(lib: &str) -> Vec<String> {
    let names = lib.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// What a file names behind `crate::`, or two steps up, outside of its comments and tests
fn imports(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let behind = |prefix: &'static str| move |line| str::split(line, prefix).skip(1);
    let named = code.flat_map(move |line| behind("crate::")(line).chain(behind("super::super::")(line)));
    named.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_of_the_core_imports_from_one_above_it() {
        assert_eq!(upward(&repo::path("src")).unwrap(), [""; 0]);
    }

    #[test]
    fn an_import_from_above_and_a_room_that_is_not_listed_are_named() {
        let core = repo::target("xtask-arrows-test");
        fs::create_dir_all(core.join("low")).unwrap();
        for (file, text) in [
            ("lib.rs", "//! | `high` | above |\n//! | `low` | below |\n"),
            ("high.rs", "use crate::low::Thing;\n"),
            (
                "low.rs",
                "// crate::high is no arrow here.\n#[cfg(test)]\nmod tests {\n    use crate::high;\n}\n",
            ),
            ("low/thing.rs", "fn f(of: crate::high::Other) {}\nuse crate::low::Thing;\n"),
            ("cellar.rs", "use crate::low::Thing;\n"),
            ("low/deep.rs", "use super::super::high::Thing;\n"),
        ] {
            fs::write(core.join(file), text).unwrap();
        }
        assert_eq!(upward(&core).unwrap(), ["cellar.rs: low", "low/deep.rs: high", "low/thing.rs: high"]);
    }
}
