//! The format of a case. A field that is left out is not checked, or has no effect; a field that is not known here is
//! an error, since it would be a check that never runs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;

use super::content::{Content, Raw, Text};

/// One case: what the component is lent, and what is done with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The row that it comes from.
    pub id: Option<String>,
    /// What it shows.
    pub about: Option<String>,
    /// Where the clock starts, in Unix seconds.
    #[serde(default = "default_now")]
    pub(crate) now: u64,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Text>,
    #[serde(default)]
    pub(crate) files: BTreeMap<String, Content>,
    /// Whether it is lent a store, which stays when it is started anew, and settings.
    #[serde(default)]
    pub(crate) store: bool,
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, Text>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

impl Case {
    /// Whether calls of it wait for one another.
    pub(crate) fn is_concurrent(&self) -> bool {
        self.steps.iter().filter_map(|step| step.ask.as_ref()).any(|ask| ask.concurrent > 1)
    }
}

/// What is done, in the order of the fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Step {
    pub(crate) set_env: Option<BTreeMap<String, Text>>,
    pub(crate) set_files: Option<BTreeMap<String, Content>>,
    /// How the store is from now on.
    pub(crate) store_stands: Option<Stands>,
    /// What happens to all that it holds.
    pub(crate) store_happens: Option<Happens>,
    #[serde(default)]
    pub(crate) restart: bool,
    pub(crate) advance_ms: Option<u64>,
    pub(crate) forget: Option<String>,
    pub(crate) ask: Option<Ask>,
    pub(crate) peek: Option<String>,
    #[serde(default)]
    pub(crate) http: Vec<Exchange>,
    /// For an ask or a peek. `null` is said of a peek that has nothing to give.
    #[serde(default, deserialize_with = "given")]
    pub(crate) then: Option<Option<Then>>,
    pub(crate) stats: Option<BTreeMap<Counter, Count>>,
    /// How sources stand in the report, by name.
    pub(crate) explain: Option<BTreeMap<String, Verdict>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stands {
    #[default]
    Well,
    /// Operations fail.
    Gone,
    /// The host does not let the component use it.
    Forbidden,
    /// Operations do not end.
    Silent,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Happens {
    /// Nothing is left.
    Emptied,
    /// Each value is written backwards.
    Changed,
    /// Half of each value is left.
    Cut,
    /// Each value is under the name of another.
    Exchanged,
}

#[derive(Clone, Debug, Deserialize)]
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
    /// How often, one after the other.
    #[serde(default = "one")]
    pub(crate) times: u32,
    /// How many at once, each time.
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

/// A request that must come, and what it is answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Exchange {
    #[serde(default)]
    pub(crate) expect: Expect,
    /// What all files become before the answer: under the feet of the call that waits for it.
    pub(crate) set_files: Option<BTreeMap<String, Content>>,
    #[serde(default)]
    pub(crate) reply: Reply,
}

#[derive(Clone, Debug, Default, Deserialize)]
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
    /// Not before and not after, in milliseconds of the virtual clock since the step began.
    pub(crate) after_ms: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    pub(crate) headers: BTreeMap<String, Values>,
    /// Sent as JSON; a text is sent as it is.
    pub(crate) body: Option<Value>,
    /// Sent byte for byte.
    pub(crate) raw: Option<Raw>,
    pub(crate) delay_ms: u64,
    pub(crate) fault: Option<Fault>,
}

/// The value of a header, or those of several headers of one name.
#[derive(Clone, Debug, Deserialize)]
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
    /// No connection: something says so.
    Refused,
    /// No connection, and nothing says so.
    BlackHole,
    /// No connection, because the peer's certificate is not trusted.
    Untrusted,
    /// A connection, and then nothing for as long as anybody waits.
    Timeout,
    /// The connection breaks before an answer begins.
    Reset,
    /// The connection breaks in the middle of the body.
    Truncated,
    /// The body goes on and on.
    Oversize,
    /// The body comes one byte at a time.
    Drip,
}

/// A token or an error, of which only what is said here is checked.
#[derive(Clone, Debug, Default, Deserialize)]
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

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Used,
    Ready,
    NotConfigured,
    Misconfigured,
    Failed,
}

/// A counter by its name in the contract.
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

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Count {
    Plain(u64),
    /// Of failures, by kind of error.
    ByKind(BTreeMap<String, u64>),
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
