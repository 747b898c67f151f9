//! The handler of requests: answers with a token of the broker, or with statistics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use token_broker::Body;
use token_broker_host::{AccessToken, Broker, Error, Failure, Identity, log_line};
use token_broker_identity_endpoint::{Granted, IdentityApi, Question, Reply};
use tokio::time::timeout;

use crate::serve::listener::Client;

/// The state that all answers share.
pub(crate) struct Handler {
    broker: Broker,
    api: IdentityApi,
    audits: bool,
    /// Counts by status.
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Handler {
    pub(crate) fn new(broker: Broker, api: IdentityApi, audits: bool) -> Self {
        Self { broker, api, audits, answers: Mutex::default() }
    }

    pub(crate) fn has_secret(&self) -> bool {
        self.api.has_secret()
    }

    pub(crate) async fn answer(&self, mut request: Parts, client: &Client) -> Response<Full<Bytes>> {
        if client.is_on_socket() {
            // A client invents this name: it has addressed a path.
            request.headers.remove(HOST);
        }
        if request.method == Method::GET && request.uri.path() == STATISTICS {
            return whole(self.statistics(&request, client).await.unwrap_or_else(|refusal| refusal));
        }
        let reply = match self.api.read(&request) {
            Ok(question) => self.token(&question, client).await,
            Err(refusal) => refusal,
        };
        self.count(reply.status());
        whole(reply)
    }

    async fn token(&self, question: &Question, client: &Client) -> Reply {
        let token = timeout(LONGEST, self.ask(question)).await.unwrap_or_else(|_| Err(too_long()));
        let (outcome, now) = (token.as_ref().map(granted), now());
        if self.audits {
            log_line(&question.audit_line(outcome, &client.to_string(), now));
        }
        question.answer(outcome, now)
    }

    /// From a copy on this side of the broker if there is one.
    async fn ask(&self, question: &Question) -> Result<AccessToken, Error> {
        match question.identity() {
            Identity::Default => self.broker.get_token(question.audience()).await,
            _ => self.broker.request_token(question.request()).await,
        }
    }

    fn count(&self, status: StatusCode) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status.as_u16()).or_default() += 1;
    }

    /// # Errors
    /// The refusal: statistics are for clients on this machine.
    async fn statistics(&self, request: &Parts, client: &Client) -> Result<Reply, Reply> {
        self.api.check_origin(request)?;
        if !client.is_local() {
            let text = "statistics are for clients on this machine; fix: request them there";
            return Err(reply(StatusCode::FORBIDDEN, &refusal("access_denied", text)));
        }
        let broker = self.broker.stats().await.map_err(|error| {
            reply(StatusCode::INTERNAL_SERVER_ERROR, &refusal(error.kind(), &error.to_string()))
        })?;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reply(StatusCode::OK, &json!({ "answers": *answers, "broker": broker })))
    }
}

fn granted(token: &AccessToken) -> Granted<'_> {
    Granted { token: token.token(), token_type: token.token_type(), expires_on: token.expires_on() }
}

fn refusal(error: &str, text: &str) -> Value {
    json!({ "error": error, "error_description": text })
}

fn reply(status: StatusCode, body: &Value) -> Reply {
    let mut reply = Response::new(Body::from(body.to_string().into_bytes()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    reply
}

fn whole(reply: Reply) -> Response<Full<Bytes>> {
    reply.map(|body| Full::new(Bytes::from_owner(Bare(body))))
}

/// The bytes of a body for the connection, wiped when they are written.
struct Bare(Body);

impl AsRef<[u8]> for Bare {
    fn as_ref(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn too_long() -> Error {
    let message = format!("the broker did not answer within {} s", LONGEST.as_secs());
    Error::Transient(Failure::new("endpoint", message).with_remedy("request the token again"))
}

/// Longer than the longest budget, so that the broker's own error comes first.
const LONGEST: Duration = Duration::from_secs(610);
const STATISTICS: &str = "/stats";
