//! The identity sources, and how one of them is asked.
//!
//! A source is a pure `request` and a pure `parse` in a file of its own; this file holds the only loop around them.

pub(crate) mod app_service;
pub(crate) mod imds;

use std::cell::Cell;
use std::time::Duration;

use http::header::{ACCEPT, USER_AGENT};

pub(crate) use self::app_service::AppService;
pub(crate) use self::imds::Imds;

use crate::answer::{Answer, Asked, Exchange};
use crate::config::Config;
use crate::error::{Error, Failure};
use crate::host::{Body, Host, Limits, SendError, SendErrorKind, milliseconds};
use crate::log::{Level, Record};
use crate::policy::Key;
use crate::request::{Id, Identity};
use crate::retry::{Class, Next, Retries};
use crate::token::Token;
use crate::verify::{Verdict, verify};
use crate::words::shown;

/// A place that gives tokens, ready to be asked.
#[derive(Debug)]
pub(crate) enum Source {
    AppService(AppService),
    Imds(Imds),
}

/// What a source is called, and the variables that it looks at.
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// It is here if all of them are set.
    pub(crate) needs: &'static [&'static str],
    pub(crate) takes: &'static [&'static str],
}

/// How an asking ended without a token.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This is not the source's platform: the next source may be tried.
    Declined(Failure),
    /// The source is this platform's, and gave no token: no other may be tried instead.
    Failed(Error),
}

impl Source {
    fn asked<'a>(&'a self, key: &'a Key) -> Asked<'a> {
        match self {
            Self::AppService(source) => source.asked(key),
            Self::Imds(source) => source.asked(key),
        }
    }

    fn url(&self, key: &Key) -> String {
        match self {
            Self::AppService(source) => source.url(key),
            Self::Imds(source) => source.url(key),
        }
    }

    /// The request for a token, as one line without its headers.
    pub(crate) fn would_send(&self, key: &Key) -> String {
        format!("GET {}", self.url(key))
    }

    fn request(&self, key: &Key, request_id: &str) -> Result<http::Request<Body>, Error> {
        let builder = http::Request::get(self.url(key))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .header("x-ms-client-request-id", request_id);
        let builder = match self {
            Self::AppService(source) => source.headers(builder),
            Self::Imds(source) => source.headers(builder),
        };
        builder
            .body(Body::from(Vec::new()))
            .map_err(|_| Error::InvalidRequest("the scope and the identity do not fit into a URL".to_owned()))
    }

    fn parse(&self, key: &Key, response: &http::Response<Body>, exchange: Exchange) -> Answer {
        match self {
            Self::AppService(source) => source.parse(key, response, exchange),
            Self::Imds(source) => source.parse(key, response, exchange),
        }
    }

    /// What it means that there is no HTTP answer. `patient`: the source is known to be here.
    fn unanswered(&self, key: &Key, error: &SendError, patient: bool) -> Answer {
        let asked = self.asked(key);
        let detail = shown(&error.detail, &[asked.secret_text()]);
        let again = |what: &str| Answer::Again(asked.failure(&format!("{what}: {detail}")), Class::Busy);
        match error.kind {
            SendErrorKind::NotConnected if matches!(self, Self::Imds(_)) && !patient => {
                Answer::Absent(imds::absent(&asked, &format!("got no connection: {detail}")))
            }
            SendErrorKind::NotConnected => again("got no connection"),
            SendErrorKind::TimedOut => again("got no answer in time"),
            SendErrorKind::Broken => again("lost the connection"),
            SendErrorKind::Truncated => {
                asked.protocol(None, &format!("got an answer without its end: {detail}"))
            }
            SendErrorKind::TooLarge => {
                asked.protocol(None, &format!("got an answer of more than {MAX_BODY} bytes"))
            }
            SendErrorKind::Unsendable => Answer::Final(Error::Other(format!(
                "the host cannot make the request to {}: {detail}",
                asked.endpoint
            ))),
            SendErrorKind::Forbidden => Answer::Final(Error::Misconfigured(format!(
                "the host does not let the broker send to {}: {detail}; allow that address, \
                 in Spin by allowed_outbound_hosts",
                asked.endpoint
            ))),
        }
    }

    fn limits(&self, config: &Config, left: Duration) -> Limits {
        let total = config.timeout.min(left).max(Duration::from_millis(1));
        let connect = match self {
            Self::AppService(_) => total,
            Self::Imds(_) => imds::CONNECT_LIMIT.min(total),
        };
        Limits { connect, total, body: MAX_BODY }
    }
}

/// One asking of a source, with all its tries.
pub(crate) struct Asking<'a, H> {
    pub(crate) source: &'a Source,
    pub(crate) host: &'a H,
    pub(crate) config: &'a Config,
    pub(crate) key: &'a Key,
    /// Nothing begins after it (time since the Unix epoch).
    pub(crate) deadline: Duration,
    /// Whether the source has ever shown that it is here: its absence is then a fault to wait out.
    pub(crate) has_answered: &'a Cell<bool>,
}

impl<H: Host> Asking<'_, H> {
    /// Ask until there is a token, a no, or no time left.
    pub(crate) async fn run(&self) -> Result<Token, Stop> {
        let mut retries = Retries::until(self.deadline);
        loop {
            let (failure, class) = match self.ask().await.map_err(Stop::Failed)? {
                Answer::Token(token) => return self.checked(token).map_err(Stop::Failed),
                Answer::Absent(failure) | Answer::Declined(failure) => return Err(Stop::Declined(failure)),
                Answer::Final(error) => return Err(Stop::Failed(error)),
                Answer::Again(failure, class) => (failure, class),
            };
            let message = failure.message.clone();
            match retries.next(class, failure, self.host.now(), self.host.random()) {
                Next::Stop(error) => return Err(Stop::Failed(error)),
                Next::Wait(wait) => {
                    let wait_ms = milliseconds(wait).to_string();
                    self.log(Level::Info, "trying again", &[("message", &message), ("wait_ms", &wait_ms)]);
                    self.host.sleep(wait).await;
                }
            }
        }
    }

    /// One try.
    async fn ask(&self) -> Result<Answer, Error> {
        let request_id = uuid(self.host).to_string();
        let request = self.source.request(self.key, &request_id)?;
        if self.config.log >= Level::Debug {
            let request = self.source.would_send(self.key);
            self.log(Level::Debug, "asking", &[("request", &request), ("request_id", &request_id)]);
        }
        let asked_at = self.host.now();
        let limits = self.source.limits(self.config, self.deadline.saturating_sub(asked_at));
        let mut answer = match self.host.send(request, limits).await {
            Ok(response) => {
                let exchange = Exchange { asked_at, received_at: self.host.now() };
                let answer = self.source.parse(self.key, &response, exchange);
                self.has_answered.set(self.has_answered.get() | !matches!(answer, Answer::Absent(_)));
                answer
            }
            Err(error) => {
                let patient = self.config.managed_identity_selected || self.has_answered.get();
                self.source.unanswered(self.key, &error, patient)
            }
        };
        if let Answer::Absent(failure)
        | Answer::Declined(failure)
        | Answer::Again(failure, _)
        | Answer::Final(Error::Rejected(failure) | Error::Protocol(failure)) = &mut answer
        {
            failure.correlation_id.get_or_insert(request_id);
        }
        Ok(answer)
    }

    fn checked(&self, token: Token) -> Result<Token, Error> {
        let asked = self.source.asked(self.key);
        let refuse = |came_back: &str, remedy: &str| {
            let remedy = Some(remedy.to_owned());
            Err(Error::Protocol(Failure { remedy, ..asked.failure(came_back) }))
        };
        match verify(&token, self.key) {
            Verdict::Fits => Ok(token),
            Verdict::OtherAudience(aud) => {
                let aud = shown(&aud, &[asked.secret_text()]);
                self.log(
                    Level::Info,
                    "unexpected audience",
                    &[("asked", self.key.audience()), ("aud", &aud)],
                );
                Ok(token)
            }
            Verdict::OtherIdentity(claim) => refuse(
                &format!("got the token of another identity: its claim {claim} differs"),
                "see which identities are assigned here, az identity list; the endpoint may have ignored the id",
            ),
            Verdict::Unreadable => refuse(
                "got a JWT whose claims cannot be read",
                "see what listens there: Azure's tokens have readable claims",
            ),
        }
    }

    fn log(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        log(self.host, self.config, level, event, fields);
    }
}

pub(crate) fn log<H: Host>(
    host: &H,
    config: &Config,
    level: Level,
    event: &'static str,
    fields: &[(&'static str, &str)],
) {
    if level <= config.log {
        host.log(&Record { level, event, fields });
    }
}

/// The parameter that names a user-assigned identity; `resource_id` is what the endpoint calls a resource id.
fn identity_parameter<'a>(
    identity: &'a Identity,
    resource_id: &'static str,
) -> Option<(&'static str, &'a str)> {
    match identity {
        Identity::Default | Identity::SystemAssigned => None,
        Identity::ClientId(id) => Some(("client_id", id.as_str())),
        Identity::ObjectId(id) => Some(("object_id", id.as_str())),
        Identity::ResourceId(id) => Some((resource_id, id.as_str())),
    }
}

/// An id as it may stand in a command that an operator copies: a consumer's text is not pasted into a shell.
fn in_a_command(id: &Id) -> &str {
    let guid =
        |text: &str| text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if guid(id.as_str()) { id.as_str() } else { "<id>" }
}

fn uuid<H: Host>(host: &H) -> uuid::Uuid {
    let bits = (u128::from(host.random()) << 64) | u128::from(host.random());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

const AGENT: &str = concat!("token-broker/", env!("CARGO_PKG_VERSION"));

/// Four times the largest token that Entra issues, in bytes.
const MAX_BODY: usize = 64 * 1024;
