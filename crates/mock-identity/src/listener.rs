//! The kinds of listeners: the endpoints of a request depend on its listener.

/// A listener of the mock
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Without TLS
    Plain,
    /// With TLS, by a certificate of the mock's authority
    Tls,
    /// With TLS, by the certificate that Service Fabric's clients pin
    Pinned,
    /// With TLS, by the certificate of a cluster's token proxy
    TokenProxy,
}

impl Listener {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls | Self::Pinned | Self::TokenProxy => "https",
        }
    }
}
