//! Which requests a rule is for.

use crate::target::{Host, Scheme, Target};

/// A host or the hosts of a domain, at one port of one scheme. Its order is for searching, and means nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    host: Host,
    /// Whether it is for what is in the domain, and not for the domain itself.
    pub(super) is_wildcard: bool,
    scheme: Scheme,
    port: u16,
}

impl Pattern {
    /// Read a pattern: a host, with `*.` or a scheme before it and a port behind it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Https, text),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(_) => return Err("its scheme is neither https nor http".to_owned()),
        };
        let (is_wildcard, authority) = rest.strip_prefix("*.").map_or((false, rest), |domain| (true, domain));
        if authority.contains('*') {
            return Err("a `*` may only be its first label".to_owned());
        }
        let target = Target::read(scheme, authority).map_err(|why| format!("its host {why}"))?;
        let is_domain = matches!(&target.host, Host::Name(name) if name.contains('.'));
        if is_wildcard && !is_domain {
            return Err("behind `*.` must come a domain of two labels at least".to_owned());
        }
        Ok(Self { is_wildcard, ..Self::of(&target) })
    }

    /// That of the very host.
    pub(super) fn of(target: &Target) -> Self {
        Self { host: target.host.clone(), is_wildcard: false, scheme: target.scheme(), port: target.port }
    }

    /// That of the hosts of a domain, at the same port of the same scheme.
    pub(super) fn wildcard(&self, domain: &str) -> Self {
        Self { host: Host::Name(domain.to_owned()), is_wildcard: true, ..*self }
    }

    /// The host or the domain, if it is at the port of https.
    pub(super) fn usual(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) if self.scheme == Scheme::Https && self.port == 443 => Some(name),
            Host::Name(_) | Host::Ip(_) => None,
        }
    }
}
