//! What a source implements: the request for a token and the reading of its response, both pure.

use std::borrow::Cow;
use std::time::Duration;

use super::entra::RegionSearch;
use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{Prerequisite, SourceCall, SourceError, SourceInfo, response};
use crate::model::{Body, Error, Failure, Token};
use crate::policy::CacheKey;
use crate::settings::SettingNames;

/// The protocol of a source. The defaults are those of an endpoint on this machine.
pub(crate) trait Protocol {
    fn info(&self) -> &'static SourceInfo;

    /// The URL that is asked, without a query.
    fn url(&self, key: &CacheKey) -> Cow<'_, str>;

    /// The secret of the settings that each request carries, with its variable.
    fn secret(&self) -> Option<(&'static str, &str)> {
        None
    }

    /// Whether the source has tokens on behalf of users.
    fn serves_users(&self) -> bool {
        false
    }

    /// Checks that the source serves a request.
    ///
    /// # Errors
    /// [`SourceError::Declined`] if another source may serve it,
    /// [`InvalidRequest`](crate::Error::InvalidRequest) if this platform cannot,
    /// [`Misconfigured`](crate::Error::Misconfigured) if the platform does not name the identity of the source.
    fn check(&self, _call: &SourceCall<'_>) -> Result<(), SourceError> {
        Ok(())
    }

    fn prerequisite(&self) -> Prerequisite<'_> {
        Prerequisite::Nothing
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a>;

    /// The error for a response with an error status.
    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError;

    /// The tenant, where the broker and not the platform names it.
    fn tenant(&self) -> Option<&str> {
        None
    }

    /// The search for this machine's region, on which the URL depends.
    fn region_search(&self) -> Option<&RegionSearch> {
        None
    }

    /// Instructions for renewing the credential of an app registration.
    fn renewal(&self) -> Option<&'static str> {
        None
    }

    /// What the operator should know of the way to the server, as a sentence.
    fn note(&self, _names: &SettingNames) -> Option<String> {
        None
    }

    /// Reads a response.
    ///
    /// # Errors
    /// A [`SourceError`] if it has no token.
    fn read(
        &self,
        _call: &SourceCall<'_>,
        summary: &CallSummary<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        response::read(summary, response, round_trip, &|refusal| self.refused(summary, refusal))
    }

    /// Whether only an answer proves that the source is present. A configured endpoint is present, though it may not be
    /// up yet.
    fn may_be_absent(&self) -> bool {
        false
    }

    /// The remedy for a source that is not present.
    fn absent_remedy(&self) -> &'static str {
        ""
    }

    /// The longest time to establish a connection.
    fn connect_limit(&self) -> Duration {
        Duration::MAX
    }

    /// The error for an untrusted certificate, to which nothing was sent; `failure` has [`Protocol::untrusted_remedy`].
    fn untrusted(&self, _summary: &CallSummary<'_>, failure: Failure) -> SourceError {
        // A certificate does not become trusted by a retry, and the server may be another one.
        SourceError::Failed(Error::Protocol(failure))
    }

    /// The remedy for an untrusted certificate.
    fn untrusted_remedy(&self) -> &'static str {
        "check the server's certificate, `openssl s_client -connect <host>:443`; for a private certificate authority, add \
         its root to the host's trusted roots, for the command by SSL_CERT_FILE"
    }
}

impl dyn Protocol {
    /// The summary of a call, for errors about it.
    pub(crate) fn summary<'a>(&'a self, call: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(self, call)
    }
}
