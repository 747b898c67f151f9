//! Where the mock is to be found.

use std::sync::Arc;

use crate::proxy_certificate::ProxyCertificate;

/// The base URLs of the listeners, without a slash at the end
pub(crate) struct Addresses {
    pub(crate) plain: String,
    /// The second listener without TLS
    pub(crate) also: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) pinned: Option<Pinned>,
    pub(crate) token_proxy: Option<TokenProxy>,
}

impl Addresses {
    /// With TLS if a listener has it, for the endpoints that are never without it in reality
    pub(crate) fn secure_if_any(&self) -> &str {
        self.tls.as_ref().unwrap_or(&self.plain)
    }
}

/// The listener of Service Fabric
pub(crate) struct Pinned {
    pub(crate) url: String,
    /// The SHA-1 thumbprint of its certificate
    pub(crate) thumbprint: String,
}

/// The listener of a cluster's token proxy
pub(crate) struct TokenProxy {
    pub(crate) url: String,
    pub(crate) certificate: Arc<ProxyCertificate>,
}
