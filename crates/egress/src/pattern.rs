//! The pattern of the requests that a rule is for.

use std::net::IpAddr;

use token_broker::wire::ServerName;

use crate::target::{Scheme, Target};

/// A host or the hosts of a domain, at one port of one scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    target: Target,
    is_wildcard: bool,
}

/// The key of a pattern in a search. Its order has no other meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a> {
    place: Place<'a>,
    /// True if the pattern matches the hosts below the domain, false if it matches the domain itself.
    is_wildcard: bool,
    scheme: Scheme,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

impl Pattern {
    /// Read a pattern: a host, with `*.` or a scheme before it and a port behind it. The error is its flaw, as a clause.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Https, text),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(_) => return Err("its scheme is neither https nor http".to_owned()),
        };
        let (is_wildcard, authority) = rest.strip_prefix("*.").map_or((false, rest), |domain| (true, domain));
        if authority.contains('*') {
            return Err("a `*` may be its first label only".to_owned());
        }
        let target = Target::read(scheme, authority).map_err(|why| format!("its host {why}"))?;
        let is_domain = matches!(target.host(), ServerName::Name(name) if name.contains('.'));
        if is_wildcard && !is_domain {
            return Err("`*.` needs a domain of two or more labels after it".to_owned());
        }
        Ok(Self { target, is_wildcard })
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key { is_wildcard: self.is_wildcard, ..Key::of(&self.target) }
    }
}

impl<'a> Key<'a> {
    /// Of the very host of a request.
    pub(crate) fn of(target: &'a Target) -> Self {
        let place = match target.host() {
            ServerName::Name(name) => Place::Name(name),
            ServerName::Ip(address) => Place::Ip(*address),
        };
        Self { place, is_wildcard: false, scheme: target.scheme, port: target.port() }
    }

    /// Of the domains that a host is in, the smallest first.
    pub(crate) fn domains(self) -> impl Iterator<Item = Self> {
        let first = match self.place {
            Place::Name(name) => name.split_once('.'),
            Place::Ip(_) => None,
        };
        std::iter::successors(first, |(_, domain)| domain.split_once('.')).map(move |(_, domain)| Self {
            place: Place::Name(domain),
            is_wildcard: true,
            ..self
        })
    }

    /// The name, and whether it is that of a domain, if it is at the port of https.
    pub(crate) fn usual(self) -> Option<(&'a str, bool)> {
        match self.place {
            Place::Name(name) if self.scheme == Scheme::Https && self.port == 443 => {
                Some((name, self.is_wildcard))
            }
            Place::Name(_) | Place::Ip(_) => None,
        }
    }
}
