//! Managed identities, and which one a request means.

use serde::Deserialize;

use super::call::Call;

/// An identity that is assigned to the pretended machine or app
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Identity {
    /// What the log and the counters call it; Azure has no such name
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

/// How an identity came to the machine
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
pub(super) struct Selector<'a> {
    pub(super) kind: IdKind,
    pub(super) id: &'a str,
}

/// The ids by which an identity can be chosen
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdKind {
    Client,
    Object,
    Resource,
}

/// A request named more than one identity
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict;

impl<'a> Selector<'a> {
    /// The selector among the request's parameters, by the names that an endpoint has for each kind of id
    ///
    /// A parameter of another name is ignored, as Azure does.
    pub(super) fn of(call: &'a Call, names: &[(&str, IdKind)]) -> Result<Option<Self>, Conflict> {
        let mut selectors =
            names.iter().filter_map(|(name, kind)| Some(Self { kind: *kind, id: call.parameter(name)? }));
        let first = selectors.next();
        if selectors.next().is_some() { Err(Conflict) } else { Ok(first) }
    }

    /// Whether this is an id of `identity`; ids of all kinds are compared without regard to case
    pub(super) fn matches(&self, identity: &Identity) -> bool {
        identity.id(self.kind).eq_ignore_ascii_case(self.id)
    }
}

impl Identity {
    pub(super) fn id(&self, kind: IdKind) -> &str {
        match kind {
            IdKind::Client => &self.client_id,
            IdKind::Object => &self.object_id,
            IdKind::Resource => &self.resource_id,
        }
    }
}
