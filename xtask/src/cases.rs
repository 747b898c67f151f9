//! A source without a conformance case is a source that nobody has seen work.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::repo;

/// Each file of `src/sources/` that describes a source must have a case in the area of its name
pub(crate) fn every_source_has_one() -> Result<()> {
    let missing = without_case(&repo::path("src/sources"), &repo::path("host-test/conformance"))?;
    ensure!(missing.is_empty(), "no case in host-test/conformance/ for: {}", missing.join(", "));
    Ok(())
}

fn without_case(sources: &Path, cases: &Path) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for name in names(sources, "rs")? {
        let text = fs::read_to_string(sources.join(&name).with_extension("rs"))?;
        if !text.contains(DESCRIPTION) {
            continue;
        }
        // Rust's file names have underscores where areas, as everything on the wire, have dashes.
        let area = name.replace('_', "-");
        if names(&cases.join(&area), "json").unwrap_or_default().is_empty() {
            missing.push(area);
        }
    }
    missing.sort();
    Ok(missing)
}

fn names(folder: &Path, extension: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let fitting = paths.filter(|path| path.extension().is_some_and(|it| it == extension));
    Ok(fitting.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

/// What a source is called, and which variables it looks at.
const DESCRIPTION: &str = ": SourceInfo = SourceInfo {";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_whose_area_is_missing_or_empty_is_named() {
        let scratch = repo::target("xtask-cases-test");
        let (sources, cases) = (scratch.join("source"), scratch.join("cases"));
        for folder in [&sources, &cases.join("app-service"), &cases.join("arc")] {
            fs::create_dir_all(folder).unwrap();
        }
        for file in ["imds.rs", "app_service.rs", "arc.rs"] {
            fs::write(sources.join(file), format!("pub(crate) const SOURCE{DESCRIPTION}")).unwrap();
        }
        fs::write(sources.join("request.rs"), "").unwrap();
        fs::write(cases.join("app-service/A1.json"), "{}").unwrap();

        let missing = without_case(&sources, &cases).unwrap();

        assert_eq!(missing, ["arc", "imds"]);
    }
}
