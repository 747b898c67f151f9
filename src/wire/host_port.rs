//! The host and port of a server, parsed as operating systems parse them.
//!
//! An address has many spellings: resolvers accept `0xA9FEA9FE`, `169.254.43518` and `[::ffff:169.254.169.254]` for the
//! metadata service as well. Rules are applied to the address, not to its spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host and port of a server: an authority (RFC 3986, 3.2) without user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: ServerName,
    port: u16,
}

/// The host of a server: a name in lower case without a trailing dot, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerName {
    /// A name of DNS or of the hosts file.
    Name(String),
    /// An address. An IPv6 address that embeds an IPv4 address is stored as the latter.
    Ip(IpAddr),
}

impl HostPort {
    /// Parses an authority. `default_port` is used if it has no port.
    ///
    /// # Errors
    /// The fault of the authority, as the end of a sentence. An authority that two parsers may read differently is
    /// refused.
    pub fn parse(authority: &str, default_port: u16) -> Result<Self, &'static str> {
        if authority.contains('@') {
            return Err("has user information before its host");
        }
        if authority.len() > MAX_AUTHORITY {
            return Err("is longer than a name can be");
        }
        // A colon inside of brackets belongs to an IPv6 address.
        let bracket = authority.rfind(']').unwrap_or(0);
        let colon = authority.get(bracket..).and_then(|rest| rest.find(':'));
        let colon = colon.map_or(authority.len(), |at| bracket.saturating_add(at));
        let (host, port) = authority.split_at_checked(colon).unwrap_or((authority, ""));
        let port = match port.strip_prefix(':') {
            None => default_port,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| "has an invalid port")?
            }
            Some(_) => return Err("has an invalid port"),
        };
        let host = ServerName::parse(host).ok_or("is neither a name nor an address")?;
        Ok(Self { host, port })
    }

    /// The host.
    pub fn host(&self) -> &ServerName {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether both name the same server. All loopback hosts are the same host.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.port == other.port
            && (self.host == other.host || (self.host.is_loopback() && other.host.is_loopback()))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The embedded IPv4 address, if there is one, else the address itself.
impl From<IpAddr> for ServerName {
    fn from(address: IpAddr) -> Self {
        Self::Ip(effective(address))
    }
}

impl ServerName {
    fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(IpAddr::V6(address).into());
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if ends_in_number(&name) {
            return loose_ipv4(&name).map(|address| Self::Ip(address.into()));
        }
        is_name(&name).then_some(Self::Name(name))
    }

    /// Whether the host is a loopback address, or a well-known name of one.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => {
                LOOPBACK.contains(&name.as_str()) || name.rsplit('.').next() == Some("localhost")
            }
            Self::Ip(address) => is_loopback(*address),
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Whether a text is a host name (RFC 1123, 2.1). The underscore is allowed, as resolvers accept it.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A connection to the unspecified address reaches this machine.
fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// The address that is reached: for an IPv4-mapped, IPv4-compatible, NAT64 or 6to4 address the embedded IPv4 address.
fn effective(address: IpAddr) -> IpAddr {
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

/// Parses an IPv4 address as `inet_aton` does: one to four numbers, of which the last one fills the remaining bytes.
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

/// Whether the last label is a number: such a text is an IPv4 address or invalid, never a domain (RFC 3696, 2).
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_decimal = last.bytes().all(|byte| byte.is_ascii_digit()) && !last.is_empty();
    is_decimal
        || last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()))
}

/// Parses a number: hexadecimal after `0x`, octal after `0`, else decimal.
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

/// The longest authority: a name of 253 characters, a dot, and a port. Leading zeros could make it arbitrarily long.
const MAX_AUTHORITY: usize = 260;
const LOOPBACK: [&str; 4] = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_as(authority: &str) -> Result<String, &'static str> {
        let read = HostPort::parse(authority, 80)?;
        Ok(if read.port() == 80 { read.host().to_string() } else { read.to_string() })
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
        for (form, authorities) in [
            ("dotted", &["169.254.169.254", "169.254.169.254.", "169.254.43518", "169.16689662"][..]),
            ("a number", &["2852039166", "0xA9FEA9FE", "0Xa9fea9fe", "025177524776"]),
            ("octal or hexadecimal", &["0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "0000251.254.0xa9.254"]),
            ("mapped", &["[::ffff:169.254.169.254]", "[::FFFF:a9fe:a9fe]", "[::169.254.169.254]"]),
            ("translated", &["[::ffff:0:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]"]),
            ("6to4", &["[2002:a9fe:a9fe::]", "[2002:a9fe:a9fe::1]"]),
        ] {
            for authority in authorities {
                assert_eq!(shown_as(authority).as_deref(), Ok("169.254.169.254"), "{form}: {authority}");
            }
        }
        assert_eq!(shown_as("0"), Ok("0.0.0.0".to_owned()));
        assert_eq!(shown_as("[fe80::1]:8080"), Ok("[fe80::1]:8080".to_owned()));
        assert_eq!(shown_as("[::1]"), Ok("[::1]".to_owned()));
    }

    #[test]
    fn an_ambiguous_host_is_refused() {
        for (ambiguity, authorities) in [
            ("no host", &["", "@"][..]),
            ("a user", &["user@my.vault.azure.net", "user:password@my.vault.azure.net"]),
            ("another host", &["my.vault.azure.net@169.254.169.254", "my.vault.azure.net\\@evil.example"]),
            ("no port", &["my.vault.azure.net:", "my.vault.azure.net:x", "my.vault.azure.net:80:80"]),
            ("a path or a list", &["my.vault.azure.net/", "my,vault.azure.net"]),
            ("percent", &["169.254.169.254%00.example", "%31%36%39.254.169.254"]),
            ("an empty label", &["my..vault.azure.net", ".vault.azure.net", "my.vault.azure.net.."]),
            ("no number", &["169.254.169.256", "1.2.3.4.5", "256.1.1.1", "08.1.1.1", "4294967296"]),
            ("a number at the end", &["evil.example.0x10"]),
            ("brackets", &["[::1", "[fe80::1%25eth0]", "[v1.a]"]),
            ("no ASCII", &["ä.example"]),
            ("a long label", &[&"a".repeat(64)]),
            ("a long name", &[&format!("{}.example", "a.".repeat(150))]),
            ("a long address", &[&format!("127.0.0.{}1", "0".repeat(300))]),
            ("a long port", &[&format!("a.example:{}443", "0".repeat(300))]),
        ] {
            for authority in authorities {
                assert!(shown_as(authority).is_err(), "{ambiguity}: {authority}");
            }
        }
    }

    #[test]
    fn this_machine_is_known_by_its_addresses_and_its_names() {
        for host in ["127.0.0.1", "127.9.9.9", "2130706433", "0", "[::1]", "[::]", "LOCALHOST", "x.localhost"]
        {
            assert!(HostPort::parse(host, 443).unwrap().host().is_loopback(), "{host}");
        }
        for host in ["10.0.0.1", "localhost.example", "[::2]"] {
            assert!(!HostPort::parse(host, 443).unwrap().host().is_loopback(), "{host}");
        }
    }
}
