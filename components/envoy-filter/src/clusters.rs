//! The clusters of the configuration: the filter sends its calls to these alone.

use http::Uri;
use http::uri::Scheme;

/// The clusters of one identity source.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    /// The URL of the managed identity endpoint or of the assertion's issuer, and its cluster.
    pub(crate) endpoint: Option<(Uri, String)>,
    /// The cluster of Entra's token endpoint.
    pub(crate) entra: Option<String>,
    /// The path of the federated token, and the cluster that serves it.
    pub(crate) token_file: Option<(String, String)>,
}

impl Clusters {
    pub(crate) fn for_url(&self, uri: &Uri) -> Option<&str> {
        let origin = |uri: &Uri| Some((uri.scheme().cloned()?, uri.authority().cloned()?));
        match &self.endpoint {
            Some((endpoint, cluster)) if origin(endpoint) == origin(uri) => Some(cluster),
            // Entra has https only.
            _ => self.entra.as_deref().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)),
        }
    }

    pub(crate) fn for_file(&self, path: &str) -> Option<&str> {
        self.token_file.as_ref().filter(|(known, _)| known == path).map(|(_, cluster)| cluster.as_str())
    }

    /// The namespace of this source's tokens in the shared data.
    pub(crate) fn namespace(&self) -> String {
        let names = [self.endpoint.as_ref().map(|(_, cluster)| cluster), self.entra.as_ref()];
        names.map(|name| name.map_or("", String::as_str)).join("/")
    }
}
