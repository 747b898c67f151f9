//! One asking of a source, with everything that it needs and all its tries.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::context::FetchContext;
use super::instance::Instance;
use super::rate_limit::Rate;
use super::retry::{Next, ROOM, Retries};
use crate::model::{Error, Failure, Host, Level, Limits, Links, ReadError, Secret, Token, milliseconds};
use crate::sources::entra::{Entra, MAX_TOKEN_FILE};
use crate::sources::response::RoundTrip;
use crate::sources::{
    Certificate, MAX_BODY, MAX_PEM, Prerequisite, RetryClass, Source, SourceCall, SourceError, TokenCheck,
    arc, verify,
};
use crate::wire::{redacted, uuid};

/// Who is asked, by whom, for what.
pub(crate) struct SourceClient<'a, H> {
    pub(crate) source: &'a Source,
    pub(crate) fetch: &'a FetchContext<'a, H>,
    /// Whether the source has ever shown that it is here: its absence is then a fault to wait out.
    pub(crate) has_answered: &'a Cell<bool>,
}

impl<H: Host> SourceClient<'_, H> {
    /// Ask until there is a token, a no, or no time left.
    pub(crate) async fn run(&self) -> Result<Token, SourceError> {
        let refused = self
            .fetch
            .request
            .claims()
            .and_then(|_| self.instance().memory.held(self.fetch.request, self.now()));
        let ask = SourceCall {
            request: self.fetch.request,
            proof: None,
            refused: refused.as_deref(),
            names: &self.instance().names,
        };
        self.source.takes(&ask)?;
        let mut retries = Retries::default();
        loop {
            let proof = self.proof(&ask).await?;
            let (failure, class) = match self.answer(&SourceCall { proof: proof.as_ref(), ..ask }).await {
                Ok(token) => return Ok(self.checked(&ask, token)?),
                Err(SourceError::Retry(failure, class)) => (failure, class),
                Err(error) => return Err(error),
            };
            if class == RetryClass::Stale {
                self.drop_proof();
            }
            let message = failure.message.clone();
            match retries.next(&class, failure, self.fetch.left(self.now()), self.host().random()) {
                Next::Stop(error) => return Err(error.into()),
                Next::Wait(wait) => {
                    self.tell_of_retry(&message, wait);
                    self.host().sleep(wait).await;
                }
            }
        }
    }

    fn tell_of_retry(&self, message: &str, wait: Duration) {
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
        self.instance().log(Level::Info, "trying again", &fields);
    }

    /// What this try proves itself with.
    async fn proof(&self, ask: &SourceCall<'_>) -> Result<Option<Secret>, SourceError> {
        match self.source.need() {
            Prerequisite::Nothing => Ok(None),
            Prerequisite::Presence(path) => self.presence(ask, path).await.map(|()| None),
            Prerequisite::TokenFile(entra, path) => self.token_file(ask, entra, path).await.map(Some),
            Prerequisite::Signature(entra, certificate) => {
                self.signature(ask, entra, certificate).await.map(Some)
            }
            Prerequisite::ManagedIdentity(request) => {
                let request = Rc::clone(request);
                let deadline = self.now().saturating_add(self.fetch.left(self.now()));
                let token = self.fetch.assertions.assertion(request, deadline).await;
                Ok(Some(token?.secret().clone()))
            }
        }
    }

    fn drop_proof(&self) {
        match self.source.need() {
            Prerequisite::Signature(_, certificate) => certificate.drop_held(),
            Prerequisite::ManagedIdentity(request) => self.instance().memory.drop_held(request),
            Prerequisite::Nothing | Prerequisite::Presence(_) | Prerequisite::TokenFile(..) => {}
        }
    }

    async fn presence(&self, ask: &SourceCall<'_>, path: &str) -> Result<(), SourceError> {
        let message = match self.host().read(path, 1, Links::Follow).await {
            Ok(_) | Err(ReadError::TooLarge) => return Ok(()),
            Err(ReadError::NotFound) => format!("there is no file {path}"),
            Err(error) => format!("the file {path} cannot be read: {error}"),
        };
        let source = self.source.asked(ask).source.into();
        let remedy = Some("on a server with Azure Arc, let the broker see its agent's file".to_owned());
        Err(SourceError::Declined(Failure { source, message, remedy, ..Failure::default() }))
    }

    /// The token in a file, read at every try: its issuer replaces it while we run.
    async fn token_file(
        &self,
        ask: &SourceCall<'_>,
        entra: &Entra,
        path: &str,
    ) -> Result<Secret, SourceError> {
        let read = self.host().read(path, MAX_TOKEN_FILE, Links::Follow).await;
        let text = read.map_err(|error| entra.unreadable(ask, path, &error))?;
        let token = text.expose_secret().trim();
        if token.is_empty() {
            return Err(entra.unusable(ask, path, "is empty"));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(entra.unusable(ask, path, "does not hold a token"));
        }
        Ok(token.into())
    }

    async fn signature(
        &self,
        ask: &SourceCall<'_>,
        entra: &Entra,
        certificate: &Certificate,
    ) -> Result<Secret, SourceError> {
        let (claimed, now) = (entra.claimed(self.fetch.request.key()), self.now());
        if let Some(held) = certificate.held(&claimed, now) {
            return Ok(held);
        }
        let path = certificate.path();
        let read = self.host().read(path, MAX_PEM, Links::Follow).await;
        let pem = read.map_err(|error| entra.unreadable(ask, path, &error))?;
        let signed = certificate.sign(&pem, &claimed, now, || self.host().random());
        signed.map_err(|why| entra.unusable(ask, path, &why))
    }

    /// One try, a challenge answered.
    async fn answer(&self, ask: &SourceCall<'_>) -> Result<Token, SourceError> {
        let result = self.exchange(ask).await;
        let Err(SourceError::Retry(_, RetryClass::KeyFile(path))) = &result else { return result };
        let key = self.key_file(ask, path).await?;
        self.exchange(&SourceCall { proof: Some(&key), ..*ask }).await
    }

    /// The content of the file that a challenge names.
    async fn key_file(&self, ask: &SourceCall<'_>, path: &str) -> Result<Secret, Error> {
        let why = match self.host().read(path, arc::MAX_KEY, Links::Refuse).await {
            Ok(key) if arc::is_key(&key) => return Ok(key),
            Ok(_) => "does not hold a key".to_owned(),
            Err(ReadError::NotFound) => "is not there, or is not shown to the broker".to_owned(),
            Err(ReadError::TooLarge) => format!("is longer than {} bytes", arc::MAX_KEY),
            Err(error) => format!("cannot be read: {error}"),
        };
        let failure =
            self.source.asked(ask).failure(&format!("got a challenge for the file {path}, which {why}"));
        Err(Error::Protocol(Failure {
            status: Some(401),
            remedy: Some(arc::KEY_REMEDY.to_owned()),
            ..failure
        }))
    }

    /// One request and its answer.
    async fn exchange(&self, ask: &SourceCall<'_>) -> Result<Token, SourceError> {
        let request_id = uuid(|| self.host().random()).to_string();
        let call = self.source.call(ask);
        if self.instance().logs(Level::Debug) {
            let request = call.shown();
            self.instance().log(
                Level::Debug,
                "asking",
                &[("request", &request), ("request_id", &request_id)],
            );
        }
        let request = call.into_request(&request_id)?;
        self.hold_back(request.uri()).await?;
        let asked_at = self.now();
        let limits = self.limits(asked_at);
        self.fetch.sends(&request_id, asked_at.saturating_add(limits.total));
        let response = self.host().send(request, limits).await;
        self.fetch.mark_answered();
        let mut result = match response {
            Ok(response) => {
                let exchange = RoundTrip { asked_at, received_at: self.now() };
                let result = self.source.parse(ask, &response, exchange);
                self.has_answered
                    .set(self.has_answered.get() | !matches!(result, Err(SourceError::Absent(_))));
                result
            }
            Err(error) => {
                let patient = self.fetch.limits.is_patient || self.has_answered.get();
                Err(self.source.unanswered(ask, &error, patient))
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

    /// Wait for a turn under the endpoint's rate limit. A turn that was missed, because nobody polled the fetch, is over.
    ///
    /// # Errors
    /// [`Error::Throttled`] if that would leave the request less than [`ROOM`] of the fetch's time.
    async fn hold_back(&self, endpoint: &http::Uri) -> Result<(), Error> {
        let endpoint = endpoint.host().unwrap_or_default();
        loop {
            let now = self.now();
            let longest = self.fetch.left(now).saturating_sub(ROOM);
            let limits = &self.instance().rate_limits;
            let turn = limits.take(endpoint, Rate::of(self.source), now, longest);
            let wait = turn.map_err(|wait| over_the_limit(endpoint, limits.is_alone(), wait))?;
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
        Limits { connect: self.source.connect_limit(total), total, body: MAX_BODY }
    }

    fn checked(&self, ask: &SourceCall<'_>, token: Token) -> Result<Token, Error> {
        let asked = self.source.asked(ask);
        let refuse = |came_back: &str, remedy: &str| {
            let remedy = Some(remedy.to_owned());
            Err(Error::Protocol(Failure { remedy, ..asked.failure(came_back) }))
        };
        match verify(&token, self.fetch.request.key()) {
            TokenCheck::Fits => Ok(token),
            TokenCheck::OtherAudience(aud) => {
                let aud = redacted(&aud, &asked.secrets);
                let fields = [("asked", self.fetch.request.key().audience()), ("aud", &aud)];
                self.instance().log(Level::Warn, "unexpected audience", &fields);
                Ok(token)
            }
            TokenCheck::OtherIdentity(claim, value) => refuse(
                &match value {
                    Some(value) => format!(
                        "got the token of another identity: its claim {claim} is {}",
                        asked.quoted(&value)
                    ),
                    None => format!("got the token of another identity: its claim {claim} is not a text"),
                },
                "see which identities are assigned here, az identity list; the endpoint may have ignored the id",
            ),
            TokenCheck::Unreadable => refuse(
                "got a JWT whose claims cannot be read",
                "see what listens there: Azure's tokens have readable claims",
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

/// By how much a turn under a rate limit may be missed.
const LATE: Duration = Duration::from_secs(1);

fn over_the_limit(endpoint: &str, is_alone: bool, wait: Duration) -> Error {
    let (why, remedy) = if is_alone {
        (
            "without the store that instances share, which does not answer",
            "mend the store: the log says what it answers; until then ask for fewer different tokens",
        )
    } else {
        (
            "for all that was asked of the broker",
            "ask for fewer different tokens: scopes, identities, tenants and claims; keep a token until its end",
        )
    };
    Error::Throttled(Failure {
        source: "token-broker".into(),
        message: format!("this instance has asked {endpoint} as often as it may {why}"),
        remedy: Some(remedy.to_owned()),
        retry_after: Some(wait),
        ..Failure::default()
    })
}
