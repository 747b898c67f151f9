//! The identity endpoint of a Service Fabric cluster, known by the thumbprint of its certificate.
//!
//! A wasm guest does not see certificates, so the host must compare the thumbprint, and say so. Without that the secret
//! is not sent.
//!
//! <https://learn.microsoft.com/azure/service-fabric/how-to-managed-identity-service-fabric-app-code>

use std::fmt::Write as _;

use http::HeaderValue;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::request::OutgoingRequest;
use super::response::{CallSummary, RoundTrip};
use super::{
    Endpoint, SourceCall, SourceError, SourceInfo, container_instances, half, only_its_own_identity,
    response, secret_header,
};
use crate::model::{Body, CAPABILITY, Error, Failure, Token};
use crate::settings::variables::{
    IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT, PINNED_THUMBPRINT,
};
use crate::settings::{Credential, Settings};

/// The endpoint that the three `IDENTITY_` variables name.
#[derive(Debug)]
pub(crate) struct ServiceFabric {
    endpoint: Endpoint,
    secret: HeaderValue,
    thumbprint: String,
    /// The host says that it lets this request through to nobody else.
    is_pinned: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "service-fabric",
    credential: Credential::ManagedIdentity,
    needs: &[IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT],
    takes: &[PINNED_THUMBPRINT],
    health: |_| "see the log of the cluster's managed identity token service".to_owned(),
};

impl ServiceFabric {
    /// The endpoint, if there is one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for values that cannot be used, and for a thumbprint without a header. Header and
    /// thumbprint without an endpoint are what each container of Azure Container Instances has, whose identity is IMDS's.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(thumbprint) = settings.get(IDENTITY_SERVER_THUMBPRINT) else { return Ok(None) };
        let (endpoint, header) = match (settings.get(IDENTITY_ENDPOINT), settings.get(IDENTITY_HEADER)) {
            _ if container_instances::is_here(settings) => return Ok(None),
            (None, Some(_)) => return Ok(None),
            (_, None) => return Err(half(settings, IDENTITY_SERVER_THUMBPRINT, IDENTITY_HEADER)),
            (Some(endpoint), Some(header)) => (endpoint, header),
        };
        let thumbprint = normal(settings.name(IDENTITY_SERVER_THUMBPRINT), thumbprint)?;
        let pinned = settings
            .get(PINNED_THUMBPRINT)
            .map(|text| normal(settings.name(PINNED_THUMBPRINT), text))
            .transpose()?;
        Ok(Some(Self {
            endpoint: Endpoint::parse_tls(settings.name(IDENTITY_ENDPOINT), endpoint)?,
            secret: secret_header(settings.name(IDENTITY_HEADER), header)?,
            is_pinned: pinned.as_ref() == Some(&thumbprint),
            thumbprint,
        }))
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), ask, self.secret())
    }

    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.to_str().ok()
    }

    /// # Errors
    /// [`SourceError::Blocked`] without a host that pins, [`Error::InvalidRequest`] for a user-assigned identity.
    pub(crate) fn takes(&self, ask: &SourceCall<'_>) -> Result<(), SourceError> {
        let remedy =
            "leave the identity out: the application's manifest names it (https://aka.ms/servicefabricmi)";
        only_its_own_identity(ask.request.key(), "a Service Fabric application", remedy)?;
        if self.is_pinned {
            return Ok(());
        }
        let remedy = format!(
            "run the broker in a host that pins the certificate {}, as token-broker-host does, or another one that does \
             and sets {PINNED_THUMBPRINT} to it",
            self.thumbprint
        );
        let message = format!(
            "{} is known by its certificate only, which a wasm component cannot see, and this host does not say that it \
             compares it: nothing was sent",
            self.endpoint.as_str()
        );
        Err(SourceError::Blocked(Failure {
            source: SOURCE.name.into(),
            message,
            remedy: Some(remedy),
            ..Failure::default()
        }))
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = ask.request.key();
        let mut query =
            vec![("api-version", "2019-07-01-preview".into()), ("resource", key.audience().into())];
        if let Some(refused) = ask.refused {
            query.push(("token_sha256_to_refresh", digest(refused).into()));
        }
        if key.cae() {
            query.push(("xms_cc", CAPABILITY.into()));
        }
        OutgoingRequest::get(self.endpoint.with_query(&query)).header("secret", self.secret.clone())
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        let asked = self.asked(ask);
        // 404: the application has no identity.
        response::read(&asked, response, exchange, |refusal| {
            refusal.not_found_is_final().error(|refusal| remedy(refusal.code()).to_owned())
        })
    }
}

fn remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("ManagedIdentityNotFound") => {
            "assign an identity to the application in its manifest, https://aka.ms/servicefabricmi"
        }
        Some("SecretHeaderNotFound") => "restart the application: its IDENTITY_HEADER is renewed with it",
        Some("ArgumentNullOrEmpty") => "check the audience: the endpoint did not see one",
        _ => "see the log of the cluster's managed identity token service, and check the audience",
    }
}

/// 40 hexadecimal digits, whatever stands between them.
fn normal(variable: &str, text: &str) -> Result<String, Error> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    if digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_uppercase());
    }
    Err(Error::misconfigured(
        format_args!("{variable} is not the SHA-1 thumbprint of a certificate"),
        "set it to 40 hexadecimal digits, as the platform does",
    ))
}

/// How the endpoint knows which token is not to be given again: its SHA-256 in lower-case hexadecimal.
fn digest(token: &Token) -> String {
    let digest = Sha256::digest(token.secret().expose_secret().as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(thumbprint: &str, pinned: &str) -> Result<ServiceFabric, Error> {
        let pairs = [
            (IDENTITY_ENDPOINT, "https://10.0.0.4:2377/metadata/identity/oauth2/token"),
            (IDENTITY_HEADER, "s"),
            (IDENTITY_SERVER_THUMBPRINT, thumbprint),
            (PINNED_THUMBPRINT, pinned),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ServiceFabric::detect(&Settings::from_pairs(pairs)).map(Option::unwrap)
    }

    #[test]
    fn a_thumbprint_is_compared_by_its_digits() {
        let colons = ["AB"; 20].join(":");
        assert!(detect(&colons, &"ab".repeat(20)).unwrap().is_pinned);
        assert!(!detect(&colons, &"ac".repeat(20)).unwrap().is_pinned);
        assert!(!detect(&colons, "").unwrap().is_pinned);
        for broken in ["not-a-thumbprint", &"a".repeat(39), &"g".repeat(40)] {
            let error = detect(broken, "").unwrap_err().to_string();
            assert!(error.contains(IDENTITY_SERVER_THUMBPRINT), "{error}");
        }
    }

    #[test]
    fn a_refused_token_is_named_by_its_digest() {
        let token = Token::new("service-fabric", "test_token".into(), "Bearer".into(), (0, 3600), None);
        assert_eq!(digest(&token), "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656");
    }
}
