//! Leaving out what only a debugger reads.

use anyhow::{Context, Result};
use wasm_encoder::{Component, RawSection};
use wasmparser::{Parser, Payload};

/// A component without the names of its parts: ten kilobytes that no host needs.
pub(super) fn names(component: &[u8]) -> Result<Vec<u8>> {
    let mut stripped = Component::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.context("not a component")?;
        if depth == 0
            && let Some((id, range)) = payload.as_section()
            && !is_names(&payload)
        {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            let data = component.get(range).context("a section beyond the end")?;
            stripped.section(&RawSection { id, data });
        }
        // What is inside a section went with it.
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(stripped.finish())
}

fn is_names(payload: &Payload<'_>) -> bool {
    matches!(payload, Payload::CustomSection(section) if section.name() == "component-name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::fixture::component;
    use crate::artefact::imports;

    #[test]
    fn a_component_without_names_is_the_same_otherwise() {
        let plain = component("package a:b@1.0.0; interface g { f: func(n: u8); } world it { import g; }");
        let mut named = plain.clone();
        // Section 0, 16 bytes, of which the first 15 are the name.
        named.extend([0, 16, 14]);
        named.extend(b"component-name");
        named.push(0);

        let stripped = names(&named).unwrap();

        assert_eq!(imports::of(&stripped).unwrap(), imports::of(&plain).unwrap());
        assert!(!stripped.windows(14).any(|window| window == b"component-name"));
        assert_eq!(names(&stripped).unwrap(), stripped);
    }
}
