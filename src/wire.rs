//! Readers and writers of the formats that peers use.
//!
//! The public items are shared with the crates `token-broker-egress` and `token-broker-identity-endpoint` and with the
//! bindings: each format has one reader.

mod base64url;
mod expiry;
mod form;
mod host_port;
mod jwt;
mod loose_json;
mod named_field;
mod redact;
mod retry_after;
mod uuid;

pub use crate::model::{is_only_dots, is_tenant};

pub use self::base64url::from_base64url;
pub(crate) use self::expiry::{Seconds, end_of_life, http_date};
pub use self::form::percent_encoded;
pub(crate) use self::form::{Field, form_encoded};
pub use self::host_port::{HostPort, ServerName};
pub(crate) use self::jwt::Jwt;
pub(crate) use self::loose_json::LooseText;
pub(crate) use self::named_field::secret_field;
pub use self::redact::redacted;
pub(crate) use self::retry_after::retry_after;
pub(crate) use self::uuid::uuid;
