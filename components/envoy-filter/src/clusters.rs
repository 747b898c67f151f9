//! Which cluster leads where: the filter sends to what its configuration names, and nowhere else.

use http::Uri;

/// The clusters of one identity source.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    /// Of the managed identity endpoint, beside its URL.
    pub(crate) managed_identity: Option<(Uri, String)>,
    /// Of Entra's token endpoint.
    pub(crate) entra: Option<String>,
    /// Of the federated token, beside the path that stands for it.
    pub(crate) token_file: Option<(String, String)>,
}

impl Clusters {
    pub(crate) fn of(&self, uri: &Uri) -> Option<&str> {
        let origin = |uri: &Uri| Some((uri.scheme().cloned()?, uri.authority().cloned()?));
        match &self.managed_identity {
            Some((endpoint, cluster)) if origin(endpoint) == origin(uri) => Some(cluster),
            _ => self.entra.as_deref(),
        }
    }

    pub(crate) fn of_file(&self, path: &str) -> Option<&str> {
        self.token_file.as_ref().filter(|(known, _)| known == path).map(|(_, cluster)| cluster.as_str())
    }

    /// What tells the tokens of this source from those of another that is configured beside it.
    pub(crate) fn namespace(&self) -> String {
        let names = [self.managed_identity.as_ref().map(|(_, cluster)| cluster), self.entra.as_ref()];
        names.map(|name| name.map_or("", String::as_str)).join("/")
    }
}
