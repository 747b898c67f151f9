//! The rules: conditions on requests, and the token and the header for them.

mod pattern;

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use token_broker::{Body, ExposeSecret as _, Token, TokenRequest};

use self::pattern::host;
use crate::abi::{Status, Stream};

pub(crate) use self::pattern::{NamePattern, PatternError};

/// A rule: the requests that it is for, and their token.
pub(crate) struct TokenRule {
    /// The name in metrics and logs.
    pub(crate) name: String,
    pub(crate) conditions: RuleConditions,
    pub(crate) request: TokenRequest,
    pub(crate) header: HeaderTemplate,
    /// The last token that the broker gave.
    pub(crate) copy: RefCell<Option<TokenCopy>>,
    /// True while a fetch is under way.
    pub(crate) is_fetching: Cell<bool>,
}

/// The header that carries a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderTemplate {
    /// The name, in lower case.
    pub(crate) name: String,
    /// The text before the token.
    pub(crate) prefix: String,
}

pub(crate) struct TokenCopy {
    pub(crate) token: Rc<Token>,
    /// The value of the header.
    value: Body,
    /// The time, in Unix seconds, in which the broker need not be asked again.
    recent: Range<u64>,
}

impl TokenCopy {
    /// A copy that is made at `now`, the time since the Unix epoch. It is recent for [`RECENT`] seconds; then the broker
    /// is asked, which decides whether the token is refreshed.
    pub(crate) fn new(token: Rc<Token>, form: &HeaderTemplate, now: Duration) -> Self {
        let secret = token.secret().expose_secret();
        // The exact capacity: growing would leave copies of the token behind.
        let mut value = Vec::with_capacity(form.prefix.len() + secret.len());
        value.extend_from_slice(form.prefix.as_bytes());
        value.extend_from_slice(secret.as_bytes());
        let now = now.as_secs();
        let until = token.refresh_on().unwrap_or(now).min(now.saturating_add(RECENT));
        Self { token, value: Body::from(value), recent: now..until }
    }

    /// True while the broker need not be asked again.
    pub(crate) fn is_recent(&self, now: Duration) -> bool {
        self.recent.contains(&now.as_secs())
    }
}

impl HeaderTemplate {
    /// `authorization: Bearer <token>` (RFC 6750, 2.1).
    pub(crate) fn bearer() -> Self {
        Self { name: AUTHORIZATION.to_owned(), prefix: "Bearer ".to_owned() }
    }
}

impl TokenRule {
    pub(crate) fn new(
        name: String,
        conditions: RuleConditions,
        request: TokenRequest,
        header: HeaderTemplate,
    ) -> Self {
        Self { name, conditions, request, header, copy: RefCell::default(), is_fetching: Cell::default() }
    }

    /// Adds the copy of the token to a request. False if there is none that is usable.
    pub(crate) fn add_token(
        &self,
        stream: Stream,
        is_usable: impl FnOnce(&TokenCopy) -> bool,
    ) -> Result<bool, Status> {
        let copy = self.copy.borrow();
        let Some(copy) = copy.as_ref().filter(|copy| is_usable(copy)) else { return Ok(false) };
        let (name, value) = (self.header.name.as_str(), copy.value.expose_secret());
        // Where a request has two headers of another name, a proxy may replace the first alone.
        match name {
            AUTHORIZATION => stream.replace_header(name, value)?,
            _ => {
                stream.remove_header(name)?;
                stream.add_header(name, value)?;
            }
        }
        Ok(true)
    }
}

/// The conditions of a rule. One that is left out holds for every request.
#[derive(Debug, Default)]
pub(crate) struct RuleConditions {
    pub(crate) authority: Option<NamePattern>,
    pub(crate) route: Option<NamePattern>,
    pub(crate) cluster: Option<NamePattern>,
}

impl RuleConditions {
    pub(crate) fn hold(&self, properties: &RequestProperties) -> Result<bool, Status> {
        let holds = |pattern: &Option<NamePattern>,
                     property: fn(&RequestProperties) -> Result<&str, Status>| {
            match pattern {
                Some(pattern) => property(properties).map(|text| pattern.matches(text)),
                None => Ok(true),
            }
        };
        Ok(holds(&self.authority, RequestProperties::authority)?
            && holds(&self.route, RequestProperties::route)?
            && holds(&self.cluster, RequestProperties::cluster)?)
    }
}

/// The properties of a request. Each is looked up when a rule needs it.
pub(crate) struct RequestProperties {
    stream: Stream,
    authority: OnceCell<Result<String, Status>>,
    route: OnceCell<Result<String, Status>>,
    cluster: OnceCell<Result<String, Status>>,
}

impl RequestProperties {
    pub(crate) fn of(stream: Stream) -> Self {
        Self { stream, authority: OnceCell::new(), route: OnceCell::new(), cluster: OnceCell::new() }
    }

    fn authority(&self) -> Result<&str, Status> {
        known(&self.authority, || {
            let authority = self.stream.header(":authority")?;
            Ok(host(&text(authority)).to_ascii_lowercase())
        })
    }

    fn route(&self) -> Result<&str, Status> {
        known(&self.route, || self.stream.property("xds\0route_name").map(text))
    }

    fn cluster(&self) -> Result<&str, Status> {
        known(&self.cluster, || self.stream.property("xds\0cluster_name").map(text))
    }
}

fn known(
    cell: &OnceCell<Result<String, Status>>,
    look: impl FnOnce() -> Result<String, Status>,
) -> Result<&str, Status> {
    cell.get_or_init(look).as_deref().map_err(|status| *status)
}

/// The text of a property; empty, which no pattern matches, if there is none or it is not UTF-8.
fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Envoy joins several headers of this name into one.
const AUTHORIZATION: &str = "authorization";
/// The time for which a copy is recent, in seconds.
const RECENT: u64 = 60;
