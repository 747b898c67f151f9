//! The scheme, host and port of a request, read as the program reads them that connects.

use std::fmt;
use std::net::IpAddr;

use http::uri::Authority;
use token_broker::Error;
use token_broker::wire::{HostPort, ServerName, redacted};

/// The scheme, host and port of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) server: HostPort,
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// Another one, for which there are no rules.
    Other,
}

impl Target {
    /// Read the scheme and the authority of a request. Without a scheme it is https, as for the hosts of WASI.
    ///
    /// # Errors
    /// [`Error::Denied`] if two readers of the authority could make different hosts of it: it has user information, an
    /// invalid port, or a host that is neither a name nor an address.
    pub fn parse(scheme: Option<&str>, authority: &str) -> Result<Self, Error> {
        let scheme = Scheme::of(scheme.unwrap_or("https"));
        Self::read(scheme, authority).map_err(|why| {
            // Behind the user information, which may be a password.
            let place = authority.rsplit('@').next().unwrap_or_default();
            Error::denied(
                format_args!("the request goes to {}, which {why}", redacted(place, &[])),
                "name a host or an address in the URL, with a valid port and without a user",
            )
        })
    }

    /// The same; else the flaw of the authority, as the end of a sentence.
    pub(crate) fn read(scheme: Scheme, authority: &str) -> Result<Self, &'static str> {
        Ok(Self { scheme, server: HostPort::parse(authority, scheme.port())? })
    }

    /// Whether only the server that the host names can read the request.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether an address is one that the host can have been resolved to: its own where it is one, one of this machine
    /// where it is a name that every machine has for itself (RFC 6761, 6.3), and any other of another name.
    pub fn may_be_at(&self, address: IpAddr) -> bool {
        let address = ServerName::from(address);
        match self.host() {
            named @ ServerName::Ip(_) => *named == address,
            name @ ServerName::Name(_) => !name.is_loopback() || address.is_loopback(),
        }
    }

    pub(crate) fn host(&self) -> &ServerName {
        self.server.host()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// Host and port as a challenge is compared with them.
    pub(crate) fn authority(&self) -> Option<Authority> {
        self.server.to_string().parse().ok()
    }
}

/// Host and port as a log has them: the port only where it is not the scheme's own.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port() == self.scheme.port() { self.host().fmt(f) } else { self.server.fmt(f) }
    }
}

impl Scheme {
    fn of(text: &str) -> Self {
        match text {
            _ if text.eq_ignore_ascii_case("https") => Self::Https,
            _ if text.eq_ignore_ascii_case("http") => Self::Http,
            _ => Self::Other,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Other => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_named_without_its_user_information() {
        for authority in ["user:password@my.vault.azure.net", "my.vault.azure.net:x", ""] {
            let error = Target::parse(Some("http"), authority).unwrap_err().to_string();
            assert!(error.starts_with("denied: the request goes to "), "{authority}: {error}");
            assert!(!error.contains("password"), "{error}");
        }
    }

    #[test]
    fn the_scheme_decides_the_port_and_is_https_where_there_is_none() {
        let port =
            |scheme| Target::parse(scheme, "a.example").map(|target| (target.port(), target.is_https()));
        assert_eq!(port(None), Ok((443, true)));
        assert_eq!(port(Some("HTTPS")), Ok((443, true)));
        assert_eq!(port(Some("http")), Ok((80, false)));
        assert_eq!(port(Some("ws")), Ok((0, false)));
        let target = Target::parse(Some("https"), "a.example:443").unwrap();
        assert_eq!(target.authority().unwrap(), "a.example:443");
    }

    #[test]
    fn an_address_belongs_to_a_host_that_names_it_or_that_may_be_resolved_to_it() {
        for (host, address, may_be) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("[64:ff9b::a00:1]", "64:ff9b::a00:1", true),
            ("0xA000001", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("[::1]", "127.0.0.1", false),
            ("localhost", "127.0.0.1", true),
            ("x.localhost", "::1", true),
            ("localhost", "::ffff:127.0.0.1", true),
            ("localhost", "10.0.0.1", false),
            ("localhost", "169.254.169.254", false),
            ("a.example", "10.0.0.1", true),
            ("a.example", "127.0.0.1", true),
        ] {
            let target = Target::parse(None, host).unwrap();
            assert_eq!(target.may_be_at(address.parse().unwrap()), may_be, "{host} {address}");
        }
    }
}
