//! Client certificates in a build without them: a configured one is refused.

use std::convert::Infallible;
use std::time::Duration;

use crate::model::{Error, Secret};
use crate::settings::variables::CERTIFICATE_PATH;

/// A certificate, which cannot exist in this build.
#[derive(Debug)]
pub(crate) struct Certificate(Infallible);

/// The claims of an assertion, which this build cannot sign.
#[derive(Debug)]
pub(crate) struct AssertionClaims {
    #[expect(dead_code, reason = "used in the build with certificates")]
    pub(crate) client_id: String,
    #[expect(dead_code, reason = "used in the build with certificates")]
    pub(crate) audience: String,
    #[expect(dead_code, reason = "used in the build with certificates")]
    pub(crate) adfs: bool,
}

impl Certificate {
    /// # Errors
    /// [`Error::Misconfigured`], always.
    pub(crate) fn new(_path: String, _send_chain: bool) -> Result<Self, Error> {
        Err(Error::misconfigured(
            format_args!("{CERTIFICATE_PATH} is set, and this broker is built without client certificates"),
            "unset it, or use a broker with the feature `certificate`",
        ))
    }

    pub(crate) fn path(&self) -> &str {
        match self.0 {}
    }

    pub(crate) fn assertion(&self, _claims: &AssertionClaims, _now: Duration) -> Option<Secret> {
        match self.0 {}
    }

    pub(crate) fn drop_assertion(&self) {
        match self.0 {}
    }

    /// # Errors
    /// None: never called.
    pub(crate) fn sign(
        &self,
        _pem: &Secret,
        _claims: &AssertionClaims,
        _now: Duration,
        _random: impl FnMut() -> u64,
    ) -> Result<Secret, String> {
        match self.0 {}
    }
}

/// No file is read.
pub(crate) const MAX_PEM: usize = 0;
