//! The content of a file.

use secrecy::SecretString;
use serde_json::json;
use token_broker_host::AccessToken;

use crate::args::FileFormat;

impl FileFormat {
    /// The content with a token, wiped when it is dropped. Without a line end: clients send the content as it is.
    pub(super) fn content(self, token: &AccessToken, scope: &str) -> SecretString {
        match self {
            Self::Token => token.token().to_owned(),
            Self::Bearer => format!("{} {}", token.token_type(), token.token()),
            // The names of RFC 6749, 5.1, and of IMDS.
            Self::Json => json!({
                "access_token": token.token(),
                "token_type": token.token_type(),
                "expires_on": token.expires_on(),
                "refresh_on": token.refresh_on(),
                "scope": scope,
            })
            .to_string(),
        }
        .into()
    }
}
