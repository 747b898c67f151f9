//! The identity endpoint of a Service Fabric cluster, authenticated by the thumbprint of its certificate.
//!
//! A wasm guest does not see certificates, so the host must pin the certificate, and declare that it does. Otherwise
//! the secret is not sent.
//!
//! <https://learn.microsoft.com/azure/service-fabric/how-to-managed-identity-service-fabric-app-code>

use std::borrow::Cow;
use std::fmt::Write as _;

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal};
use super::{
    Endpoint, Protocol, Role, SecretHeader, Source, SourceCall, SourceError, SourceInfo, container_instances,
    half_configured, refuse_user_assigned,
};
use crate::model::{CAPABILITY, Error, Failure, Token};
use crate::policy::CacheKey;
use crate::settings::variables::{
    IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT, PINNED_THUMBPRINT,
};
use crate::settings::{Credential, Settings};

/// The endpoint of the three `IDENTITY_` variables.
#[derive(Debug)]
pub(crate) struct ServiceFabric {
    endpoint: Endpoint,
    secret: SecretHeader,
    thumbprint: String,
    /// Whether the host pins the certificate.
    is_pinned: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "service-fabric",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT],
    optional: &[PINNED_THUMBPRINT],
    detect: |settings| Ok(ServiceFabric::detect(settings)?.map(Source::ServiceFabric)),
    health: |_| "read the log of the cluster's managed identity token service".to_owned(),
};

impl ServiceFabric {
    /// The endpoint of the settings, if they have one. A header and a thumbprint without an endpoint are the variables
    /// of a Linux container of Azure Container Instances, which uses IMDS.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a thumbprint without a header, and for invalid values.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(thumbprint) = settings.get(IDENTITY_SERVER_THUMBPRINT) else { return Ok(None) };
        let (endpoint, header) = match (settings.get(IDENTITY_ENDPOINT), settings.get(IDENTITY_HEADER)) {
            _ if container_instances::is_here(settings) => return Ok(None),
            (None, Some(_)) => return Ok(None),
            (_, None) => return Err(half_configured(settings, IDENTITY_SERVER_THUMBPRINT, IDENTITY_HEADER)),
            (Some(endpoint), Some(header)) => (endpoint, header),
        };
        let thumbprint = normal(settings.name(IDENTITY_SERVER_THUMBPRINT), thumbprint)?;
        let pinned = settings
            .get(PINNED_THUMBPRINT)
            .map(|text| normal(settings.name(PINNED_THUMBPRINT), text))
            .transpose()?;
        Ok(Some(Self {
            endpoint: Endpoint::parse_tls(settings.name(IDENTITY_ENDPOINT), endpoint)?,
            secret: SecretHeader::parse(settings, IDENTITY_HEADER, header)?,
            is_pinned: pinned.as_ref() == Some(&thumbprint),
            thumbprint,
        }))
    }
}

impl Protocol for ServiceFabric {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().into()
    }

    fn secret(&self) -> Option<(&'static str, &str)> {
        self.secret.secret()
    }

    fn untrusted_remedy(&self) -> &'static str {
        "restart the application: IDENTITY_SERVER_THUMBPRINT is renewed with the cluster's certificate"
    }

    /// # Errors
    /// [`SourceError::Blocked`] if the host does not pin the certificate, [`Error::InvalidRequest`] for a user-assigned
    /// identity.
    fn check(&self, call: &SourceCall<'_>) -> Result<(), SourceError> {
        let remedy =
            "omit the identity: the application's manifest names it (https://aka.ms/servicefabricmi)";
        refuse_user_assigned(call.request.key(), "a Service Fabric application", remedy)?;
        if self.is_pinned {
            return Ok(());
        }
        let remedy = format!(
            "run the broker in a host that pins the certificate {} and sets {PINNED_THUMBPRINT} to it, as \
             token-broker-host does",
            self.thumbprint
        );
        let message = format!(
            "{} is authenticated by its certificate, which a wasm component cannot see and this host does not pin: nothing \
             was sent",
            self.endpoint.as_str()
        );
        Err(SourceError::Blocked(Failure {
            source: SOURCE.name.into(),
            message,
            remedy: Some(remedy),
            ..Failure::default()
        }))
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let mut query =
            vec![("api-version", "2019-07-01-preview".into()), ("resource", key.audience().into())];
        if let Some(refused) = call.refused {
            query.push(("token_sha256_to_refresh", digest(refused).into()));
        }
        if key.cae() {
            query.push(("xms_cc", CAPABILITY.into()));
        }
        OutgoingRequest::get(self.endpoint.with_query(&query)).header("secret", self.secret.value.clone())
    }

    fn refused(&self, _: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        // 404: the application has no identity.
        refusal.not_found_is_final().error(|refusal| remedy(refusal.code()).to_owned())
    }
}

fn remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("ManagedIdentityNotFound") => {
            "assign an identity to the application in its manifest, https://aka.ms/servicefabricmi"
        }
        Some("SecretHeaderNotFound") => "restart the application, which renews its IDENTITY_HEADER",
        Some("ArgumentNullOrEmpty") => "check the audience: the endpoint did not receive one",
        _ => "read the log of the cluster's managed identity token service, and check the audience",
    }
}

/// Parses a thumbprint: 40 hexadecimal digits, with or without separators.
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

/// The SHA-256 of a token in lower-case hexadecimal, by which the endpoint identifies a token to replace.
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
        let settings = crate::tests::settings(&[
            (IDENTITY_ENDPOINT, "https://10.0.0.4:2377/metadata/identity/oauth2/token"),
            (IDENTITY_HEADER, "s"),
            (IDENTITY_SERVER_THUMBPRINT, thumbprint),
            (PINNED_THUMBPRINT, pinned),
        ]);
        ServiceFabric::detect(&settings).map(Option::unwrap)
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
