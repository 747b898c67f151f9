//! The format of a case. A field that is left out is not checked or has no effect. An unknown field is an error: it
//! would be a check that never runs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::content::{Content, Raw, Text};

/// A case: the environment of the component, and the steps.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of its file, where it is given.
    pub(crate) id: Option<String>,
    /// The behaviour under test.
    pub about: Option<String>,
    /// The area of the source whose description completes it.
    pub(crate) source: Option<String>,
    /// The start of the clock, in Unix seconds.
    #[serde(default = "default_now")]
    pub(crate) now: u64,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Text>,
    #[serde(default)]
    pub(crate) files: BTreeMap<String, Content>,
    /// Whether the component has a store, which survives a restart, and settings.
    #[serde(default)]
    pub store: bool,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, Text>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

impl Case {
    /// Whether the case has several calls at the same time.
    pub fn is_concurrent(&self) -> bool {
        self.steps.iter().filter_map(|step| step.ask.as_ref()).any(|ask| ask.concurrent > 1)
    }

    /// The values of all environment variables that the case ever sets.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let set_later = self.steps.iter().filter_map(|step| step.set_env.as_ref());
        set_later.chain([&self.env]).flat_map(BTreeMap::values).map(|Text(value)| value.as_str())
    }

    /// The URL of each expected request, where the case names one.
    pub fn urls(&self) -> impl Iterator<Item = Option<&str>> {
        self.steps.iter().flat_map(|step| &step.http).map(|exchange| exchange.expect.url.as_deref())
    }
}

/// A step. Its parts happen in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Step {
    pub(crate) set_env: Option<BTreeMap<String, Text>>,
    pub(crate) set_files: Option<BTreeMap<String, Content>>,
    /// The condition of the store from this step on.
    pub(crate) store_condition: Option<StoreCondition>,
    /// A change of everything in the store.
    pub(crate) store_change: Option<StoreChange>,
    #[serde(default)]
    pub(crate) restart: bool,
    pub(crate) advance_ms: Option<u64>,
    pub(crate) forget: Option<String>,
    /// A text is a request for this scope and nothing else.
    #[serde(default, deserialize_with = "scope_or_ask")]
    pub(crate) ask: Option<Ask>,
    pub(crate) peek: Option<String>,
    #[serde(default)]
    pub(crate) http: Vec<Exchange>,
    /// The outcome of `ask` or `peek`. `null` means that a peek returns no token.
    #[serde(default, deserialize_with = "given")]
    pub(crate) then: Option<Option<Then>>,
    pub(crate) stats: Option<BTreeMap<Counter, Count>>,
    /// The verdicts of the report, by source.
    pub(crate) explain: Option<BTreeMap<String, Verdict>>,
}

impl Step {
    /// The fields that this step gives, and those of another where it gives none.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            set_env: self.set_env.or(other.set_env),
            set_files: self.set_files.or(other.set_files),
            store_condition: self.store_condition.or(other.store_condition),
            store_change: self.store_change.or(other.store_change),
            restart: self.restart || other.restart,
            advance_ms: self.advance_ms.or(other.advance_ms),
            forget: self.forget.or(other.forget),
            ask: self.ask.or(other.ask),
            peek: self.peek.or(other.peek),
            http: if self.http.is_empty() { other.http } else { self.http },
            then: self.then.or(other.then),
            stats: self.stats.or(other.stats),
            explain: self.explain.or(other.explain),
        }
    }
}

/// The condition of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoreCondition {
    #[default]
    Working,
    /// Operations fail.
    Unavailable,
    /// The host denies access.
    Denied,
    /// Operations never end.
    Hanging,
}

/// A change of everything in the store.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoreChange {
    /// All entries are gone.
    Emptied,
    /// Each value is reversed.
    Reversed,
    /// Each value loses its second half.
    Truncated,
    /// Each value is stored under the name of another.
    Swapped,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Ask {
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) identity: Identity,
    pub(crate) tenant_id: Option<String>,
    pub(crate) claims: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) enable_cae: bool,
    pub(crate) user_assertion: Option<String>,
    /// The number of calls, one after the other.
    #[serde(default = "one")]
    pub(crate) times: u32,
    /// The number of calls at the same time, each time.
    #[serde(default = "one")]
    pub(crate) concurrent: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Identity {
    #[default]
    Default,
    SystemAssigned,
    ClientId(String),
    ObjectId(String),
    ResourceId(String),
}

/// An expected request, and its answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Exchange {
    /// One request of the case's source. Without this and without a URL, it is the request for a token, preceded by
    /// the assertion and the challenge of the source.
    pub(crate) request: Option<Request>,
    #[serde(default)]
    pub(crate) expect: Expect,
    /// All files from just before the answer on, while the call waits for it.
    pub(crate) set_files: Option<BTreeMap<String, Content>>,
    #[serde(default)]
    pub(crate) reply: Reply,
}

/// A request of a source.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    Assertion,
    Challenge,
    Token,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Expect {
    pub(crate) method: Option<String>,
    /// Scheme, authority and path; a query in it counts as `query`.
    pub(crate) url: Option<String>,
    pub(crate) query: BTreeMap<String, Text>,
    pub(crate) query_absent: Vec<String>,
    pub(crate) headers: BTreeMap<String, Text>,
    pub(crate) headers_absent: Vec<String>,
    pub(crate) form: BTreeMap<String, Text>,
    /// The earliest and the latest time, in milliseconds of the virtual clock since the start of the step.
    pub(crate) after_ms: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    pub(crate) headers: BTreeMap<String, Values>,
    /// Sent as JSON, with that content type unless the headers have one. A text is sent as it is, without one.
    pub(crate) body: Option<Value>,
    /// Sent byte for byte.
    pub(crate) raw: Option<Raw>,
    /// The good answer of the case's source with this token. Fields of the body are added or replaced.
    pub(crate) token: Option<String>,
    pub(crate) delay_ms: u64,
    pub(crate) fault: Option<Fault>,
}

/// The value of a header, or the values of several headers of one name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    One(Text),
    Several(Vec<Text>),
}

impl Values {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Text> {
        match self {
            Self::One(value) => std::slice::from_ref(value).iter(),
            Self::Several(values) => values.iter(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The connection is refused.
    Refused,
    /// The connection is neither made nor refused.
    BlackHole,
    /// The host does not trust the peer's certificate.
    Untrusted,
    /// The connection is made, and no answer ever begins.
    Timeout,
    /// The connection breaks before an answer begins.
    Reset,
    /// The connection breaks in the middle of the body.
    Truncated,
    /// The body is 50 MB.
    Oversize,
    /// The body comes one byte a second.
    Drip,
}

/// A token or an error. Only the given fields are checked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Then {
    pub(crate) token: Option<String>,
    pub(crate) expires_on: Option<u64>,
    #[serde(deserialize_with = "given")]
    pub(crate) refresh_on: Option<Option<u64>>,
    pub(crate) error: Option<ErrorKind>,
    #[serde(deserialize_with = "given")]
    pub(crate) status: Option<Option<u16>>,
    #[serde(deserialize_with = "given")]
    pub(crate) code: Option<Option<String>>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) message_contains: Vec<String>,
    pub(crate) message_lacks: Vec<String>,
    pub(crate) remedy_contains: Vec<String>,
    pub(crate) remedy_lacks: Vec<String>,
    #[serde(deserialize_with = "given")]
    pub(crate) retry_after_ms: Option<Option<u64>>,
}

impl Then {
    pub(crate) fn is_error(&self) -> bool {
        self.error.is_some()
            || self.status.is_some()
            || self.code.is_some()
            || self.retry_after_ms.is_some()
            || self.correlation_id.is_some()
            || [&self.message_contains, &self.message_lacks, &self.remedy_contains, &self.remedy_lacks]
                .iter()
                .any(|parts| !parts.is_empty())
    }

    pub(crate) fn is_token(&self) -> bool {
        self.token.is_some() || self.expires_on.is_some() || self.refresh_on.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ErrorKind {
    InvalidRequest,
    Misconfigured,
    Denied,
    Unavailable,
    Rejected,
    Throttled,
    Transient,
    Protocol,
    Other,
}

/// The verdict of the report on a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Used,
    Ready,
    NotConfigured,
    Misconfigured,
    Failed,
}

/// A counter, by its name in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counter {
    Requests,
    Hits,
    StaleHits,
    Misses,
    Refreshes,
    Fetches,
    Waiters,
    Failures,
    StoreHits,
    StoreMisses,
    StoreErrors,
    StoreTampered,
    LeaseWaits,
    LeaseTakeovers,
    BudgetWaits,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Count {
    Plain(u64),
    /// Failures by kind of error.
    ByKind(BTreeMap<String, u64>),
}

fn scope_or_ask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ask>, D::Error> {
    struct ScopeOrAsk;

    impl<'de> Visitor<'de> for ScopeOrAsk {
        type Value = Ask;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a scope or an ask")
        }

        fn visit_str<E: Error>(self, scope: &str) -> Result<Ask, E> {
            self.visit_map(MapDeserializer::new([("scopes", vec![scope.to_owned()])].into_iter()))
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Ask, A::Error> {
            Ask::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    deserializer.deserialize_any(ScopeOrAsk).map(Some)
}

/// Tells a field that is `null` from one that is left out.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn null_is_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn one() -> u32 {
    1
}

/// 9 October 2025, 08:53:20 UTC.
fn default_now() -> u64 {
    1_760_000_000
}
