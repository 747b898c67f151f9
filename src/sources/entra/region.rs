//! The search for the region of this machine, where the configuration leaves it to be detected, as MSAL does it.
//!
//! <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service#instance-metadata>

use std::cell::OnceCell;
use std::time::Duration;

use http::HeaderValue;
use secrecy::ExposeSecret as _;

use crate::model::{Body, Error, SendError};
use crate::settings::Settings;
use crate::settings::cloud::{Authority, is_region};
use crate::settings::variables::POD_IDENTITY_HOST;
use crate::sources::request::OutgoingRequest;
use crate::sources::{Endpoint, IMDS_URL};

/// The search for the region, and its result.
#[derive(Debug)]
pub(crate) struct RegionSearch {
    endpoint: Endpoint,
    /// Set once the search has ended, though it may have found none.
    result: OnceCell<Option<String>>,
}

impl RegionSearch {
    /// The longest time for the search. Without a region the global endpoint answers.
    pub(crate) const LIMIT: Duration = Duration::from_secs(2);
    /// The largest answer, in bytes.
    pub(crate) const MAX_BODY: usize = 1024;

    /// The search, if the authority has to be completed by a region.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`].
    pub(super) fn detect(settings: &Settings, authority: &Authority) -> Result<Option<Self>, Error> {
        if !authority.searches_region() {
            return Ok(None);
        }
        let base = settings.get(POD_IDENTITY_HOST).unwrap_or(IMDS_URL);
        let endpoint = Endpoint::parse(settings, POD_IDENTITY_HOST, base)?.join(PATH);
        Ok(Some(Self { endpoint, result: OnceCell::new() }))
    }

    /// The region, once it is found.
    pub(super) fn found(&self) -> Option<&str> {
        self.result.get()?.as_deref()
    }

    /// The request for the region; none once the search has ended.
    pub(crate) fn request(&self) -> Option<OutgoingRequest<'static>> {
        let request = OutgoingRequest::get(self.endpoint.as_str().to_owned());
        let request = request.header("metadata", HeaderValue::from_static("true"));
        self.result.get().is_none().then_some(request)
    }

    /// Ends the search. An answer without a region is none.
    pub(crate) fn end(&self, answer: Result<http::Response<Body>, SendError>) {
        let answer = answer.ok().filter(|answer| answer.status() == http::StatusCode::OK);
        let text = answer.and_then(|answer| String::from_utf8(answer.body().expose_secret().to_vec()).ok());
        let region = text.map(|text| text.trim().to_owned()).filter(|text| is_region(text));
        // Another fetch may have ended it meanwhile.
        _ = self.result.set(region);
    }
}

const PATH: &str = "/metadata/instance/compute/location?api-version=2020-06-01&format=text";
