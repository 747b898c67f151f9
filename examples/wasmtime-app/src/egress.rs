//! Where an instance may send requests: to the vault, and nowhere else.

use std::future::Future;

use http::Uri;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Without it an instance could ask the identity endpoint itself, and so go round its policy.
#[derive(Clone)]
pub(crate) struct OnlyVault(pub(crate) Uri);

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl OnlyVault {
    fn is_vault(&self, uri: &Uri) -> bool {
        uri.scheme() == self.0.scheme() && uri.authority() == self.0.authority()
    }
}

impl WasiHttpHooks for OnlyVault {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if !self.is_vault(request.uri()) {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        Box::new(async move {
            let (response, io) = wasmtime_wasi_http::default_send_request(request, options).await?;
            Ok((response.map(|body| body.boxed_unsync()), Box::new(io) as Box<_>))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vault_is_reached_and_not_by_another_scheme_or_port() {
        let egress = OnlyVault(Uri::from_static("https://my.vault.azure.net"));
        assert!(egress.is_vault(&Uri::from_static("https://my.vault.azure.net/secrets/a?api-version=7.4")));
        for other in [
            "http://my.vault.azure.net/",
            "https://my.vault.azure.net:8443/",
            "https://my.vault.azure.net.evil.example/",
            "https://user@my.vault.azure.net/",
            "http://169.254.169.254/metadata/identity/oauth2/token",
        ] {
            assert!(!egress.is_vault(&Uri::from_static(other)), "{other}");
        }
    }
}
