//! Writes the metadata that registries show into a component.

use anyhow::{Context, Result};
use wasm_metadata::{AddMetadata, AddMetadataField};

use super::Release;

impl Release {
    /// The component with its name, purpose, licence and origin in it, by the names of OCI's annotations
    pub(super) fn describe(&self, component: &[u8], name: &str, about: &str) -> Result<Vec<u8>> {
        let mut metadata = AddMetadata::default();
        metadata.name = AddMetadataField::Set(name.to_owned());
        metadata.description = set(about)?;
        metadata.authors = set(AUTHORS)?;
        metadata.licenses = set(LICENCES)?;
        metadata.version = set(self.version)?;
        metadata.revision = set(&self.revision)?;
        metadata.source = set(self.source)?;
        metadata.to_wasm(component).with_context(|| format!("{name} cannot be described"))
    }
}

fn set<T: std::str::FromStr<Err = anyhow::Error> + std::fmt::Debug + Clone>(
    text: &str,
) -> Result<AddMetadataField<T>> {
    Ok(AddMetadataField::Set(text.parse().with_context(|| format!("{text} cannot be said"))?))
}

const AUTHORS: &str = "The token-broker authors";
pub(super) const LICENCES: &str = "Apache-2.0 OR MIT";

#[cfg(test)]
mod tests {
    use wasm_metadata::Payload;

    use super::*;
    use crate::artefact::fixture;

    #[test]
    fn what_is_said_of_a_component_is_in_it_and_it_imports_what_it_did() {
        let plain =
            fixture::component("package a:b@1.0.0; interface g { f: func(n: u8); } world it { import g; }");
        let release = Release {
            version: "1.2.3",
            revision: "abc".to_owned(),
            created: String::new(),
            source: "https://example.com/source",
        };

        let described = release.describe(&plain, "it", "Does it.").unwrap();

        let payload = Payload::from_binary(&described).unwrap();
        let said = payload.metadata();
        assert_eq!(said.name.as_deref(), Some("it"));
        assert_eq!(said.description.as_ref().unwrap().to_string(), "Does it.");
        assert_eq!(said.licenses.as_ref().unwrap().to_string(), LICENCES);
        assert_eq!(said.version.as_ref().unwrap().to_string(), "1.2.3");
        assert_eq!(said.revision.as_ref().unwrap().to_string(), "abc");
        assert_eq!(said.source.as_ref().unwrap().to_string(), "https://example.com/source");
        let imports = crate::artefact::imports;
        assert_eq!(imports(&described).unwrap(), imports(&plain).unwrap());
    }
}
