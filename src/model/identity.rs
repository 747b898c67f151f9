//! Identities and their ids.

use std::cmp::Ordering;

use super::error::Error;
use super::text::{MAX_ID, check_text};

/// The identity that a token is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// The identity that the deployment names, else the platform's default.
    #[default]
    Default,
    /// The identity that Azure ties to the resource.
    SystemAssigned,
    /// The user-assigned identity or app registration with this client id.
    ClientId(Id),
    /// The user-assigned identity with this object id.
    ObjectId(Id),
    /// The user-assigned identity with this Azure resource id.
    ResourceId(Id),
}

impl Identity {
    /// The user-assigned identity or app registration with this client id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the id is empty, too long, or contains a space or a control character.
    pub fn client_id(text: &str) -> Result<Self, Error> {
        Id::parse("client id", text, |c| c.is_ascii_graphic()).map(Self::ClientId)
    }

    /// The user-assigned identity with this object id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] as [`Identity::client_id`].
    pub fn object_id(text: &str) -> Result<Self, Error> {
        Id::parse("object id", text, |c| c.is_ascii_graphic()).map(Self::ObjectId)
    }

    /// The user-assigned identity with this resource id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] as [`Identity::client_id`].
    pub fn resource_id(text: &str) -> Result<Self, Error> {
        // Names of resource groups may contain letters of any script.
        Id::parse("resource id", text, |c| !c.is_control() && !c.is_whitespace()).map(Self::ResourceId)
    }

    /// The id of a user-assigned identity or app registration.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Default | Self::SystemAssigned => None,
            Self::ClientId(id) | Self::ObjectId(id) | Self::ResourceId(id) => Some(id),
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("the default identity"),
            Self::SystemAssigned => f.write_str("the system-assigned identity"),
            Self::ClientId(id) => write!(f, "the identity with client id {}", id.as_str()),
            Self::ObjectId(id) => write!(f, "the identity with object id {}", id.as_str()),
            Self::ResourceId(id) => write!(f, "the identity with resource id {}", id.as_str()),
        }
    }
}

/// The id of an identity. Ids are compared without regard to case, as in Azure.
#[derive(Clone, Debug)]
pub struct Id(String);

impl Id {
    fn parse(name: &str, text: &str, allowed: impl Fn(char) -> bool) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::invalid_request(
                format_args!("the {name} of the identity is empty"),
                "name an identity, or omit it for the default one",
            ));
        }
        if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
            return Err(Error::invalid_request(
                format_args!("the {name} has a quote at its beginning or end"),
                "remove the quotes",
            ));
        }
        check_text(name, text, MAX_ID, allowed)?;
        Ok(Self(text.to_owned()))
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Id {}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::refusal;

    #[test]
    fn ids_differ_in_more_than_case_or_are_the_same() {
        let lower = Identity::client_id("abc-d").unwrap();
        assert_eq!(lower, Identity::client_id("ABC-d").unwrap());
        assert_ne!(lower, Identity::object_id("abc-d").unwrap());
        assert!(Identity::client_id("B").unwrap() > lower);
        assert_eq!(Identity::client_id("ABC-d").unwrap().id().unwrap().as_str(), "ABC-d");
    }

    #[test]
    fn empty_and_broken_ids_are_refused_by_name() {
        assert!(refusal(Identity::client_id("")).contains("client id of the identity is empty"));
        assert!(refusal(Identity::object_id("a\nb")).contains("object id has the character U+000A"));
        assert!(refusal(Identity::client_id("ä")).contains("client id"));
        assert!(refusal(Identity::resource_id("\u{a0}")).contains("resource id"));
        for id in ["\"a\"", "'a'", "`a`", "\"a", "a'"] {
            assert!(refusal(Identity::client_id(id)).contains("quote"), "{id}");
            assert!(refusal(Identity::resource_id(id)).contains("quote"), "{id}");
        }
        assert!(Identity::resource_id("/subscriptions/s/resourceGroups/größe").is_ok());
    }
}
