//! Managed identities, and the ids by which a request selects one.

use serde::Deserialize;

/// An identity that is assigned to the pretended machine or app
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Identity {
    /// Its name in the log; Azure has no such name
    pub name: String,
    /// Whether Azure made it with the machine or a user assigned it
    pub kind: IdentityKind,
    /// The application id: `appid` in the token
    pub client_id: String,
    /// The id of the service principal: `oid` and `sub` in the token
    pub object_id: String,
    /// `xms_mirid` in the token: of a system-assigned identity the id of the machine
    pub resource_id: String,
}

/// Who created an identity
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// Made with the machine, at most one
    SystemAssigned,
    /// Assigned by a user, chosen by an id in the request
    UserAssigned,
}

/// The identity that a request asks for
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Selector<'a> {
    pub(crate) kind: IdKind,
    pub(crate) id: &'a str,
}

/// The ids by which an identity can be chosen
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    Client,
    Object,
    Resource,
}

impl Selector<'_> {
    /// Whether this is an id of `identity`; ids of all kinds are compared without regard to case
    pub(crate) fn matches(&self, identity: &Identity) -> bool {
        identity.id(self.kind).eq_ignore_ascii_case(self.id)
    }
}

impl Identity {
    pub(crate) fn id(&self, kind: IdKind) -> &str {
        match kind {
            IdKind::Client => &self.client_id,
            IdKind::Object => &self.object_id,
            IdKind::Resource => &self.resource_id,
        }
    }
}
