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
