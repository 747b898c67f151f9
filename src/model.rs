//! The vocabulary of all rooms: requests, tokens, errors, and the traits of the outside world. It imports no other
//! room.

mod claims;
mod duration;
mod error;
mod host;
mod identity;
mod jitter;
mod log;
mod request;
mod scope;
mod secret;
mod stats;
mod store;
mod text;
mod token;

pub use self::claims::Claims;
pub(crate) use self::claims::{CAPABILITY, merged};
pub use self::duration::milliseconds;
pub use self::error::{Error, Failure};
pub use self::host::{Body, Host, Limits, Links, ReadError, SendError, SendErrorKind};
pub use self::identity::{Id, Identity};
pub(crate) use self::jitter::share;
pub use self::log::{Level, Record};
pub(crate) use self::request::OnBehalfOf;
pub use self::request::{MAX_ASSERTION, RawRequest, TokenRequest};
pub use self::scope::Scope;
pub use self::secret::{Secret, fingerprint};
pub use self::stats::Statistics;
pub(crate) use self::stats::count;
pub use self::store::{Store, StoreError};
pub(crate) use self::text::{SEPARATORS, SEVERAL, is_guid, is_tenant_char};
pub use self::text::{is_only_dots, is_tenant};
pub(crate) use self::token::{ASSERTION_EXPIRING, CLOCK_TOLERANCE};
pub use self::token::{EXPIRING, Token};
