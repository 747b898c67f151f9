//! What the component is told by its environment and arguments.

use http::Uri;
use http::uri::{Authority, Scheme};

/// What to read, and whether to show it
pub(crate) struct Settings {
    pub(crate) vault: Vault,
    pub(crate) name: String,
    /// The latest, if there is none
    pub(crate) version: Option<String>,
    pub(crate) show: bool,
}

/// A vault's address, fit to be sent a token
#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl Settings {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place of this component that reads the environment"
    )]
    pub(crate) fn from_environment() -> Result<Self, String> {
        let url = std::env::var("KEY_VAULT_URL").unwrap_or_default();
        let name = std::env::var("SECRET_NAME").unwrap_or_else(|_| DEFAULT_NAME.into());
        let version = std::env::var("SECRET_VERSION").ok().filter(|version| !version.is_empty());
        Ok(Self {
            vault: Vault::parse(&url)?,
            name: secret_name(name)?,
            version: version.map(secret_version).transpose()?,
            show: std::env::args().any(|argument| argument == "--show"),
        })
    }
}

impl Vault {
    fn parse(url: &str) -> Result<Self, String> {
        let wrong = || {
            format!("KEY_VAULT_URL is {url:?}; it must be the vault's address, https://my.vault.azure.net")
        };
        let parts = url.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(wrong()) };
        let bare = parts.path_and_query.is_none_or(|path| path == "/") && !authority.as_str().contains('@');
        let private = scheme == Scheme::HTTPS || (scheme == Scheme::HTTP && is_loopback(authority.host()));
        match bare && private {
            true => Ok(Self { scheme, authority }),
            false => Err(wrong()),
        }
    }

    /// Whether it is a vault on this machine, which is for tests: its name is not in the domain of any audience.
    pub(crate) fn is_on_loopback(&self) -> bool {
        is_loopback(self.authority.host())
    }
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}

fn secret_name(name: String) -> Result<String, String> {
    let fits = (1..=127).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match fits {
        true => Ok(name),
        false => Err(format!("SECRET_NAME is {name:?}; it must be 1 to 127 letters, digits and dashes")),
    }
}

fn secret_version(version: String) -> Result<String, String> {
    match version.len() <= 64 && version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(version),
        false => Err(format!("SECRET_VERSION is {version:?}; it must be 32 hexadecimal digits")),
    }
}

const DEFAULT_NAME: &str = "MySecret";
