//! Where a request goes, read as whoever connects will read it.
//!
//! An address has many spellings: the resolvers of operating systems take `0xA9FEA9FE`, `169.254.43518` and
//! `[::ffff:169.254.169.254]` for the metadata service as well. What is judged is the address and not its spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use http::uri::Authority;

use crate::error::Error;
use crate::words::shown;

/// The scheme, host and port of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// Something that is no concern of rules.
    Other,
}

/// A name in lower case without a dot at its end, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Name(String),
    Ip(IpAddr),
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
            Error::Denied(format!("the request goes to {}, which {why}", shown(place, &[])))
        })
    }

    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(crate) fn read(scheme: Scheme, authority: &str) -> Result<Self, &'static str> {
        if authority.contains('@') {
            return Err("has user information before its host");
        }
        if authority.len() > MAX_AUTHORITY {
            return Err("is longer than any name");
        }
        // A colon in brackets is part of an IPv6 address.
        let bracket = authority.rfind(']').unwrap_or(0);
        let colon = authority.get(bracket..).and_then(|rest| rest.find(':'));
        let colon = colon.map_or(authority.len(), |at| bracket.saturating_add(at));
        let (host, port) = authority.split_at_checked(colon).unwrap_or((authority, ""));
        let port = match port.strip_prefix(':') {
            None => scheme.port(),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| "has an invalid port")?
            }
            Some(_) => return Err("has an invalid port"),
        };
        let host = Host::read(host).ok_or("is neither a name nor an address")?;
        Ok(Self { scheme, host, port })
    }

    /// Whether only the server that the host names can read the request.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether an address is one that the host can have been resolved to: its own where it is one, one of this machine
    /// where it is a name that every machine has for itself (RFC 6761, 6.3), and any other of another name.
    pub fn may_be_at(&self, address: IpAddr) -> bool {
        match &self.host {
            Host::Ip(named) => *named == effective(address),
            Host::Name(_) => !self.host.is_loopback() || is_loopback(effective(address)),
        }
    }

    /// Whether both lead to one server, as far as host and port tell.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        self.port == other.port
            && (self.host == other.host || (self.host.is_loopback() && other.host.is_loopback()))
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host and port as a challenge is compared with them.
    pub(crate) fn authority(&self) -> Option<Authority> {
        format!("{}:{}", self.host, self.port).parse().ok()
    }
}

/// Host and port as a log has them: the port only where it is not the scheme's own.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
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

impl Host {
    fn read(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[') {
            let address = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(effective(IpAddr::V6(address))));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if ends_in_number(&name) {
            return loose_ipv4(&name).map(|address| Self::Ip(address.into()));
        }
        is_name(&name).then_some(Self::Name(name))
    }

    /// Whether what listens there is on this machine, as far as a name tells.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => {
                LOOPBACK.contains(&name.as_str()) || name.rsplit('.').next() == Some("localhost")
            }
            Self::Ip(address) => is_loopback(*address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// RFC 1123, 2.1, and the underscore that resolvers take all the same.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A connection to no address is one to this machine.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// The address that is reached through another: the IPv4 one in an IPv6 one that is mapped, compatible, or translated by
/// NAT64 or 6to4.
pub(crate) fn effective(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let octets = v6.octets();
    let embedded = match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => octets.last_chunk(),
        [0x2002, ..] => octets.get(2..).and_then(<[u8]>::first_chunk),
        _ => None,
    };
    embedded.map_or(address, |octets: &[u8; 4]| Ipv4Addr::from(*octets).into())
}

/// An IPv4 address as `inet_aton` reads it: one to four numbers, of which the last one fills what is left.
fn loose_ipv4(text: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    let mut octets = last.to_be_bytes();
    let free = octets.get_mut(..first.len())?;
    for (octet, number) in free.iter_mut().zip(first) {
        if *octet != 0 {
            return None;
        }
        *octet = u8::try_from(*number).ok()?;
    }
    Some(octets.into())
}

/// Whether it is an address or nothing: no domain is a number (RFC 3696, 2), and readers differ in which numbers they take.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_decimal = last.bytes().all(|byte| byte.is_ascii_digit()) && !last.is_empty();
    is_decimal
        || last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()))
}

/// Decimal, octal behind a zero, hexadecimal behind `0x`.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (text, 10),
    };
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match digits {
        "" => (!text.is_empty()).then_some(0),
        _ => u32::from_str_radix(digits, radix).ok().filter(|_| is_plain),
    }
}

/// A name of 253 characters, a dot at its end, and a port. Zeros before a number could make it as long as one likes, and it is
/// remembered as it is spelt.
const MAX_AUTHORITY: usize = 260;
const LOOPBACK: [&str; 4] = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_as(authority: &str) -> Result<String, String> {
        let target = Target::parse(Some("http"), authority);
        target.map(|target| target.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_read_without_regard_to_case_and_to_the_dot_at_its_end() {
        for (authority, shown) in [
            ("My.Vault.Azure.NET", "my.vault.azure.net"),
            ("my.vault.azure.net.", "my.vault.azure.net"),
            ("my.vault.azure.net:80", "my.vault.azure.net"),
            ("my_vault.example:8080", "my_vault.example:8080"),
            ("localhost", "localhost"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("0x7f.example", "0x7f.example"),
        ] {
            assert_eq!(shown_as(authority).as_deref(), Ok(shown), "{authority}");
        }
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling_that_a_resolver_takes() {
        for authority in [
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xA9FEA9FE",
            "0Xa9fea9fe",
            "169.254.43518",
            "169.16689662",
            "0251.0376.0251.0376",
            "0xa9.0xfe.0xa9.0xfe",
            "025177524776",
            "0000251.254.0xa9.254",
            "[::ffff:169.254.169.254]",
            "[::FFFF:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[::ffff:0:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[2002:a9fe:a9fe::1]",
        ] {
            assert_eq!(shown_as(authority).as_deref(), Ok("169.254.169.254"), "{authority}");
        }
        assert_eq!(shown_as("0"), Ok("0.0.0.0".to_owned()));
        assert_eq!(shown_as("[fe80::1]:8080"), Ok("[fe80::1]:8080".to_owned()));
        assert_eq!(shown_as("[::1]"), Ok("[::1]".to_owned()));
    }

    #[test]
    fn what_two_readers_could_take_for_two_hosts_is_refused() {
        for authority in [
            "",
            "@",
            "user@my.vault.azure.net",
            "user:password@my.vault.azure.net",
            "my.vault.azure.net@169.254.169.254",
            "my.vault.azure.net:",
            "my.vault.azure.net:x",
            "my.vault.azure.net:80:80",
            "my.vault.azure.net/",
            "my.vault.azure.net\\@evil.example",
            "169.254.169.254%00.example",
            "%31%36%39.254.169.254",
            "my..vault.azure.net",
            ".vault.azure.net",
            "my.vault.azure.net..",
            "my,vault.azure.net",
            "169.254.169.256",
            "1.2.3.4.5",
            "256.1.1.1",
            "08.1.1.1",
            "4294967296",
            "evil.example.0x10",
            "[::1",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "ä.example",
            &"a".repeat(64),
            &format!("{}.example", "a.".repeat(150)),
            &format!("127.0.0.{}1", "0".repeat(300)),
            &format!("a.example:{}443", "0".repeat(300)),
        ] {
            let error = shown_as(authority).unwrap_err();
            assert!(error.starts_with("denied: the request goes to "), "{authority}: {error}");
            assert!(!error.contains("password"), "{error}");
        }
    }

    #[test]
    fn the_scheme_decides_the_port_and_is_https_where_there_is_none() {
        let port = |scheme| Target::parse(scheme, "a.example").map(|target| (target.port, target.is_https()));
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

    #[test]
    fn this_machine_is_known_by_its_addresses_and_its_names() {
        for host in ["127.0.0.1", "127.9.9.9", "2130706433", "0", "[::1]", "[::]", "LOCALHOST", "x.localhost"]
        {
            assert!(Target::parse(None, host).unwrap().host.is_loopback(), "{host}");
        }
        for host in ["10.0.0.1", "localhost.example", "[::2]"] {
            assert!(!Target::parse(None, host).unwrap().host.is_loopback(), "{host}");
        }
    }
}
