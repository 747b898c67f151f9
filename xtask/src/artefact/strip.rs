//! Leaves out the names that only a debugger reads.

use std::convert::Infallible;

use anyhow::{Context, Result};
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{Component, ComponentSectionId, RawSection};
use wasmparser::{CustomSectionReader, Parser};

/// A component without the names of its parts: ten kilobytes that no host needs
pub(super) fn names(component: &[u8]) -> Result<Vec<u8>> {
    let mut stripped = Component::new();
    WithoutNames.parse_component(&mut stripped, Parser::new(0), component).context("not a component")?;
    Ok(stripped.finish())
}

struct WithoutNames;

impl Reencode for WithoutNames {
    type Error = Infallible;
}

impl ReencodeComponent for WithoutNames {
    fn parse_component_custom_section(
        &mut self,
        component: &mut Component,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        match section.name() {
            "component-name" => Ok(()),
            _ => component_utils::parse_component_custom_section(self, component, section),
        }
    }

    /// The code stays as the linker made it.
    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        _: Parser,
        module: &[u8],
    ) -> Result<(), Error<Infallible>> {
        component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: module });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::fixture::component;
    use crate::artefact::imports;

    #[test]
    fn a_component_without_names_is_the_same_otherwise() {
        let named = component("package a:b@1.0.0; interface g { f: func(n: u8); } world it { import g; }");

        let stripped = names(&named).unwrap();

        let has_names = |it: &[u8]| it.windows(14).any(|window| window == b"component-name");
        assert!(has_names(&named) && !has_names(&stripped));
        assert_eq!(imports::of(&stripped).unwrap(), imports::of(&named).unwrap());
        assert_eq!(names(&stripped).unwrap(), stripped);
    }
}
