//! What is in the place of client certificates in a build without them: one that is configured is refused.

use std::convert::Infallible;
use std::time::Duration;

use crate::model::{Error, Secret};
use crate::settings::variables::CERTIFICATE_PATH;

/// There is none.
#[derive(Debug)]
pub(crate) struct Certificate(Infallible);

/// Who says what to whom in an assertion, which nobody can sign.
#[derive(Debug)]
pub(crate) struct AssertionClaims {
    #[expect(dead_code, reason = "it is as it is where somebody signs")]
    pub(crate) client_id: String,
    #[expect(dead_code, reason = "it is as it is where somebody signs")]
    pub(crate) audience: String,
    #[expect(dead_code, reason = "it is as it is where somebody signs")]
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

    pub(crate) fn held(&self, _of: &AssertionClaims, _now: Duration) -> Option<Secret> {
        match self.0 {}
    }

    pub(crate) fn drop_held(&self) {
        match self.0 {}
    }

    /// # Errors
    /// None: nobody comes here.
    pub(crate) fn sign(
        &self,
        _pem: &Secret,
        _of: &AssertionClaims,
        _now: Duration,
        _random: impl FnMut() -> u64,
    ) -> Result<Secret, String> {
        match self.0 {}
    }
}

/// No file is read, however short.
pub(crate) const MAX_PEM: usize = 0;
