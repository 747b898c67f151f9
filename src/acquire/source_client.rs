//! The client of one source: its credential, its requests and their retries.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::context::FetchContext;
use super::instance::Instance;
use super::rate_limit::Rate;
use super::retry::{Next, ROOM, Retries};
use crate::model::{Error, Failure, Host, Level, Limits, Links, ReadError, Secret, Token, milliseconds};
use crate::policy::Purpose;
use crate::sources::entra::{Entra, MAX_TOKEN_FILE, RegionSearch};
use crate::sources::request::OutgoingRequest;
use crate::sources::response::RoundTrip;
use crate::sources::{
    Assertion, CONNECT_LIMIT, Certificate, MAX_BODY, MAX_PEM, Prerequisite, RetryClass, Source, SourceCall,
    SourceError, TokenCheck, arc, verify,
};
use crate::wire::{redacted, uuid};

/// The client of a source, for one fetch.
pub(crate) struct SourceClient<'a, H> {
    pub(crate) source: &'a Source,
    pub(crate) fetch: &'a FetchContext<'a, H>,
    /// True once the source has answered. A failed connection is then retried.
    pub(crate) has_answered: &'a Cell<bool>,
}

impl<H: Host> SourceClient<'_, H> {
    /// Requests a token, with retries within the fetch's time.
    ///
    /// # Errors
    /// A [`SourceError`] if the source gives no token.
    pub(crate) async fn run(&self) -> Result<Token, SourceError> {
        let (request, names) = (self.fetch.request, &self.instance().names);
        let refused = request.claims().and_then(|_| self.instance().memory.held(request, self.now()));
        let call = SourceCall { request, credential: None, refused: refused.as_deref(), names };
        self.source.accepts(&call)?;
        self.find_region().await;
        let mut retries = Retries::default();
        loop {
            let credential = self.credential(&call).await?;
            let (failure, class) =
                match self.attempt(&SourceCall { credential: credential.as_ref(), ..call }).await {
                    Ok(token) => return Ok(self.checked(&call, token)?),
                    Err(SourceError::Retry(failure, class)) => (failure, class),
                    Err(error) => return Err(error),
                };
            if class == RetryClass::Stale {
                self.drop_credential();
            }
            let message = failure.message.clone();
            match retries.next(&class, failure, self.fetch.left(self.now()), self.host().random()) {
                Next::Stop(error) => return Err(error.into()),
                Next::Wait(wait) => {
                    self.log_retry(&message, wait);
                    self.host().sleep(wait).await;
                }
            }
        }
    }

    fn log_retry(&self, message: &str, wait: Duration) {
        let key = self.fetch.request.key();
        let (identity, wait_ms) = (key.identity().to_string(), milliseconds(wait).to_string());
        let (attempt, correlation_id) = (self.fetch.requests().to_string(), self.fetch.correlation_id());
        let fields = [
            ("audience", key.audience()),
            ("identity", &*identity),
            ("attempt", &*attempt),
            ("correlation_id", &*correlation_id),
            ("wait_ms", &*wait_ms),
            ("message", message),
        ];
        self.instance().log(Level::Info, "retrying", &fields);
    }

    /// Obtains the credential of a request.
    async fn credential(&self, call: &SourceCall<'_>) -> Result<Option<Secret>, SourceError> {
        match self.source.prerequisite() {
            Prerequisite::Nothing => Ok(None),
            Prerequisite::Presence(path) => self.presence(call, path).await.map(|()| None),
            Prerequisite::TokenFile(entra, path) => self.token_file(call, entra, path).await.map(Some),
            Prerequisite::Signature(entra, certificate) => {
                self.signature(call, entra, certificate).await.map(Some)
            }
            Prerequisite::Variable(entra, assertion) => entra.variable(call, assertion, self.now()).map(Some),
            Prerequisite::Token(request) => {
                let request = Rc::clone(request);
                let deadline = self.now().saturating_add(self.fetch.left(self.now()));
                let token = self.fetch.assertions.assertion(request, deadline).await;
                Ok(Some(token?.secret().clone()))
            }
        }
    }

    fn drop_credential(&self) {
        match self.source.prerequisite() {
            Prerequisite::Signature(_, certificate) => certificate.drop_assertion(),
            Prerequisite::Token(request) => self.instance().memory.drop_token(request),
            Prerequisite::Nothing
            | Prerequisite::Presence(_)
            | Prerequisite::TokenFile(..)
            | Prerequisite::Variable(..) => {}
        }
    }

    async fn presence(&self, call: &SourceCall<'_>, path: &str) -> Result<(), SourceError> {
        let message = match self.host().read(path, 1, Links::Follow).await {
            Ok(_) | Err(ReadError::TooLarge) => return Ok(()),
            Err(ReadError::NotFound) => format!("there is no file {path}"),
            Err(error) => format!("the file {path} cannot be read: {error}"),
        };
        let source = self.source.summary(call).source.into();
        let remedy =
            Some("on a server with Azure Arc, give the broker access to the agent's file".to_owned());
        Err(SourceError::Declined(Failure { source, message, remedy, ..Failure::default() }))
    }

    /// The token in a file. It is read for every request, because its issuer replaces it, and again for a while if it is
    /// empty or a part: spiffe-helper and Teleport's tbot write in place.
    async fn token_file(
        &self,
        call: &SourceCall<'_>,
        entra: &Entra,
        path: &str,
    ) -> Result<Secret, SourceError> {
        let mut waits = FILE_WAITS.iter();
        loop {
            let read = self.host().read(path, MAX_TOKEN_FILE, Links::Follow).await;
            let text = read.map_err(|error| entra.unreadable_file(call, path, &error))?;
            match (Assertion::parse(text.expose_secret()), waits.next()) {
                (Ok(assertion), _) => return Ok(assertion.secret),
                (Err(_), Some(wait)) => self.host().sleep(Duration::from_millis(*wait)).await,
                (Err(why), None) => return Err(entra.invalid_file(call, path, why)),
            }
        }
    }

    async fn signature(
        &self,
        call: &SourceCall<'_>,
        entra: &Entra,
        certificate: &Certificate,
    ) -> Result<Secret, SourceError> {
        let (claims, now) = (entra.assertion_claims(self.fetch.request.key()), self.now());
        if let Some(assertion) = certificate.assertion(&claims, now) {
            return Ok(assertion);
        }
        let path = certificate.path();
        let read = self.host().read(path, MAX_PEM, Links::Follow).await;
        let pem = read.map_err(|error| entra.unreadable_file(call, path, &error))?;
        let signed = certificate.sign(&pem, &claims, now, || self.host().random());
        signed.map_err(|why| entra.invalid_file(call, path, &why))
    }

    /// Sends a request, and answers a challenge.
    async fn attempt(&self, call: &SourceCall<'_>) -> Result<Token, SourceError> {
        let result = self.send(call).await;
        let Err(SourceError::Retry(_, RetryClass::KeyFile(path))) = &result else { return result };
        let key = self.key_file(call, path).await?;
        self.send(&SourceCall { credential: Some(&key), ..*call }).await
    }

    /// The content of the file that a challenge names.
    async fn key_file(&self, call: &SourceCall<'_>, path: &str) -> Result<Secret, Error> {
        let why = match self.host().read(path, arc::MAX_KEY, Links::Refuse).await {
            Ok(key) if arc::is_key(&key) => return Ok(key),
            Ok(_) => "does not contain a key".to_owned(),
            Err(ReadError::NotFound) => "does not exist, or is not visible to the broker".to_owned(),
            Err(ReadError::TooLarge) => format!("is longer than {} bytes", arc::MAX_KEY),
            Err(error) => format!("cannot be read: {error}"),
        };
        let failure =
            self.source.summary(call).failure(&format!("got a challenge for the file {path}, which {why}"));
        Err(Error::Protocol(Failure {
            status: Some(401),
            remedy: Some(arc::KEY_REMEDY.to_owned()),
            ..failure
        }))
    }

    /// Asks for this machine's region, once, if the source's URL depends on it. Whatever fails, the global endpoint answers.
    async fn find_region(&self) {
        let Some(search) = self.source.region_search() else { return };
        let Some(request) = search.request() else { return };
        let request_id = uuid(|| self.host().random()).to_string();
        self.log_request(&request, &request_id);
        let total = RegionSearch::LIMIT.min(self.fetch.left(self.now())).max(Duration::from_millis(1));
        let limits = Limits { connect: CONNECT_LIMIT.min(total), total, body: RegionSearch::MAX_BODY };
        if let Ok(request) = request.into_http(&request_id) {
            search.end(self.host().send(request, limits).await);
        }
    }

    fn log_request(&self, request: &OutgoingRequest<'_>, request_id: &str) {
        if self.instance().logs(Level::Debug) {
            let fields = [("request", &*request.redacted()), ("request_id", request_id)];
            self.instance().log(Level::Debug, "sending a request", &fields);
        }
    }

    /// Sends one request, and reads its response.
    async fn send(&self, call: &SourceCall<'_>) -> Result<Token, SourceError> {
        let request_id = uuid(|| self.host().random()).to_string();
        let request = self.source.request(call);
        self.log_request(&request, &request_id);
        let request = request.into_http(&request_id)?;
        self.wait_for_rate_limit(request.uri()).await?;
        let sent_at = self.now();
        let limits = self.limits(sent_at);
        self.fetch.mark_sent(&request_id, sent_at.saturating_add(limits.total));
        let response = self.host().send(request, limits).await;
        self.fetch.mark_answered();
        let mut result = match response {
            Ok(response) => {
                let round_trip = RoundTrip { sent_at, received_at: self.now() };
                let result = self.source.parse(call, &response, round_trip);
                self.has_answered
                    .set(self.has_answered.get() | !matches!(result, Err(SourceError::Absent(_))));
                result
            }
            Err(error) => {
                let is_present = self.fetch.limits.requires_managed_identity || self.has_answered.get();
                Err(self.source.send_failed(call, &error, is_present))
            }
        };
        if let Err(
            SourceError::Absent(failure)
            | SourceError::Declined(failure)
            | SourceError::Retry(failure, _)
            | SourceError::Failed(Error::Rejected(failure) | Error::Protocol(failure)),
        ) = &mut result
        {
            failure.correlation_id.get_or_insert(request_id);
        }
        result
    }

    /// Waits for the endpoint's rate limit. If the wait ends late, because nobody polled the fetch, it begins again.
    ///
    /// # Errors
    /// [`Error::Throttled`] if less than [`ROOM`] of the fetch's time would be left.
    async fn wait_for_rate_limit(&self, endpoint: &http::Uri) -> Result<(), Error> {
        let endpoint = endpoint.host().unwrap_or_default();
        loop {
            let now = self.now();
            let longest = self.fetch.left(now).saturating_sub(ROOM);
            let limits = &self.instance().rate_limits;
            let turn = limits.take(endpoint, Rate::of(self.source), now, longest);
            let wait = turn.map_err(|wait| over_the_limit(endpoint, limits.is_store_lost(), wait))?;
            if wait.is_zero() {
                return Ok(());
            }
            self.instance().count(|stats| &mut stats.budget_waits);
            self.host().sleep(wait).await;
            if self.now() <= now.saturating_add(wait).saturating_add(LATE) {
                return Ok(());
            }
        }
    }

    fn limits(&self, now: Duration) -> Limits {
        let total = self.fetch.limits.timeout.min(self.fetch.left(now)).max(Duration::from_millis(1));
        Limits { connect: self.source.connect_limit().min(total), total, body: MAX_BODY }
    }

    fn checked(&self, call: &SourceCall<'_>, token: Token) -> Result<Token, Error> {
        if self.fetch.request.key().purpose() == Purpose::IssuerAssertion {
            // Entra compares its claims with those of the federated credential.
            return Ok(token);
        }
        let summary = self.source.summary(call);
        let refuse = |answer: &str, remedy: &str| {
            let remedy = Some(remedy.to_owned());
            Err(Error::Protocol(Failure { remedy, ..summary.failure(answer) }))
        };
        match verify(&token, self.fetch.request.key()) {
            TokenCheck::Matches => Ok(token),
            TokenCheck::OtherAudience(aud) => {
                let aud = redacted(&aud, &summary.secrets);
                let fields = [("requested", self.fetch.request.key().audience()), ("aud", &aud)];
                self.instance().log(Level::Warn, "unexpected audience", &fields);
                Ok(token)
            }
            TokenCheck::OtherIdentity(claim, value) => refuse(
                &match value {
                    Some(value) => format!(
                        "got the token of another identity: its claim {claim} is {}",
                        summary.quoted(&value)
                    ),
                    None => format!("got the token of another identity: its claim {claim} is not a text"),
                },
                "check the identities that are assigned here, `az identity list`; the endpoint may have ignored the id",
            ),
            TokenCheck::InvalidClaims => refuse(
                "got a JWT with invalid claims",
                "check which server listens there: Azure's tokens have valid claims",
            ),
        }
    }

    fn instance(&self) -> &Instance<H> {
        self.fetch.instance
    }

    fn host(&self) -> &H {
        &self.instance().host
    }

    fn now(&self) -> Duration {
        self.instance().now()
    }
}

/// The waits before a token file without a whole token is read again, in milliseconds.
const FILE_WAITS: [u64; 4] = [20, 50, 100, 200];

/// The tolerated lateness of a wait for the rate limit.
const LATE: Duration = Duration::from_secs(1);

fn over_the_limit(endpoint: &str, is_store_lost: bool, wait: Duration) -> Error {
    let (why, remedy) = if is_store_lost {
        (
            ", which is lower while the shared store is unavailable",
            "repair the store, whose error is in the log; until then request fewer different tokens",
        )
    } else {
        (
            "",
            "request fewer different tokens: scopes, identities, tenants and claims; use a token until it expires",
        )
    };
    Error::Throttled(Failure {
        source: "token-broker".into(),
        message: format!("this instance has reached its rate limit for {endpoint}{why}"),
        remedy: Some(remedy.to_owned()),
        retry_after: Some(wait),
        ..Failure::default()
    })
}
