//! The identity sources, and how one of them is asked.
//!
//! A source is a pure `request` and a pure `parse` in a file of its own; this file holds the only loop around them.

pub(crate) mod app_service;
pub(crate) mod imds;

use std::time::Duration;

use http::header::{ACCEPT, USER_AGENT};

pub(crate) use self::app_service::AppService;
pub(crate) use self::imds::Imds;

use crate::answer::{Answer, Asked};
use crate::config::Config;
use crate::error::{Error, Failure};
use crate::host::{Body, Host, Limits, SendError, SendErrorKind, milliseconds};
use crate::log::{Level, Record};
use crate::policy::Key;
use crate::request::Identity;
use crate::retry::{Class, Next, Retries};
use crate::token::Token;
use crate::verify::{Verdict, verify};

/// A place that gives tokens, ready to be asked.
#[derive(Debug)]
pub(crate) enum Source {
    AppService(AppService),
    Imds(Imds),
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

    fn parse(&self, key: &Key, response: &http::Response<Body>, now: Duration) -> Answer {
        match self {
            Self::AppService(source) => source.parse(key, response, now),
            Self::Imds(source) => source.parse(key, response, now),
        }
    }

    /// What it means that there is no HTTP answer. `patient`: the source is known to be here.
    fn unanswered(&self, key: &Key, error: &SendError, patient: bool) -> Answer {
        let asked = self.asked(key);
        let detail = &error.detail;
        match error.kind {
            SendErrorKind::NotConnected if matches!(self, Self::Imds(_)) && !patient => {
                Answer::Declined(imds::absent(&asked, &format!("got no connection: {detail}")))
            }
            SendErrorKind::NotConnected => {
                Answer::Again(asked.failure(&format!("got no connection: {detail}")), Class::Busy)
            }
            SendErrorKind::TimedOut => {
                Answer::Again(asked.failure(&format!("got no answer in time: {detail}")), Class::Busy)
            }
            SendErrorKind::Broken => {
                Answer::Again(asked.failure(&format!("lost the connection: {detail}")), Class::Busy)
            }
            SendErrorKind::Truncated => {
                asked.protocol(None, &format!("got an answer without its end: {detail}"))
            }
            SendErrorKind::TooLarge => {
                asked.protocol(None, &format!("got an answer of more than {MAX_BODY} bytes"))
            }
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

/// Ask a source until it gives a token, says no, or `deadline` (time since the Unix epoch) has come.
pub(crate) async fn fetch<H: Host>(
    source: &Source,
    (host, config): (&H, &Config),
    key: &Key,
    deadline: Duration,
    patient: bool,
) -> Result<Token, Stop> {
    let mut retries = Retries::until(deadline);
    loop {
        let answer = ask(source, (host, config), key, deadline, patient).await.map_err(Stop::Failed)?;
        let (failure, class) = match answer {
            Answer::Token(token) => return checked(source, (host, config), key, token),
            Answer::Declined(failure) => return Err(Stop::Declined(failure)),
            Answer::Final(error) => return Err(Stop::Failed(error)),
            Answer::Again(failure, class) => (failure, class),
        };
        let message = failure.message.clone();
        match retries.next(class, failure, host.now(), host.random()) {
            Next::Stop(error) => return Err(Stop::Failed(error)),
            Next::Wait(wait) => {
                let wait_ms = milliseconds(wait).to_string();
                log(
                    host,
                    config,
                    Level::Info,
                    "trying again",
                    &[("message", &message), ("wait_ms", &wait_ms)],
                );
                host.sleep(wait).await;
            }
        }
    }
}

/// One try.
async fn ask<H: Host>(
    source: &Source,
    (host, config): (&H, &Config),
    key: &Key,
    deadline: Duration,
    patient: bool,
) -> Result<Answer, Error> {
    let request_id = uuid(host).to_string();
    let request = source.request(key, &request_id)?;
    log(
        host,
        config,
        Level::Debug,
        "asking",
        &[("request", &source.would_send(key)), ("request_id", &request_id)],
    );
    let limits = source.limits(config, deadline.saturating_sub(host.now()));
    let mut answer = match host.send(request, limits).await {
        Ok(response) => source.parse(key, &response, host.now()),
        Err(error) => source.unanswered(key, &error, patient),
    };
    if let Answer::Declined(failure)
    | Answer::Again(failure, _)
    | Answer::Final(Error::Rejected(failure) | Error::Protocol(failure)) = &mut answer
    {
        failure.correlation_id.get_or_insert(request_id);
    }
    Ok(answer)
}

fn checked<H: Host>(
    source: &Source,
    (host, config): (&H, &Config),
    key: &Key,
    token: Token,
) -> Result<Token, Stop> {
    match verify(&token, key) {
        Verdict::Fits => Ok(token),
        Verdict::OtherAudience(aud) => {
            log(
                host,
                config,
                Level::Info,
                "unexpected audience",
                &[("asked", key.audience()), ("aud", &aud)],
            );
            Ok(token)
        }
        Verdict::OtherIdentity(claim) => {
            let asked = source.asked(key);
            let failure =
                asked.failure(&format!("got the token of another identity: its claim {claim} differs"));
            let remedy = "see which identities are assigned here, az identity list; the endpoint may have ignored the id";
            Err(Stop::Failed(Error::Protocol(Failure { remedy: Some(remedy.to_owned()), ..failure })))
        }
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

fn uuid<H: Host>(host: &H) -> uuid::Uuid {
    let bits = (u128::from(host.random()) << 64) | u128::from(host.random());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

const AGENT: &str = concat!("token-broker/", env!("CARGO_PKG_VERSION"));

/// Four times the largest token that Entra issues, in bytes.
const MAX_BODY: usize = 64 * 1024;
