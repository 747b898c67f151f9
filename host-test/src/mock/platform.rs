//! What all endpoints share: configuration, issuer, faults and log; and the way of a request through them.

use std::{
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use http::{Response, StatusCode};

use super::{
    admin, app_service,
    body::ScriptedBody,
    call::Call,
    config::MockConfig,
    endpoint::Endpoint,
    fault::{Answer, Fault, FaultScript, StatusAnswer},
    identity::Identity,
    imds,
    issuer::{Issued, Issuer},
    key_vault,
    log::RequestLog,
    open_id,
    reply::Reply,
    start_page,
};

pub(super) struct Platform {
    pub(super) config: MockConfig,
    pub(super) url: String,
    pub(super) tls_url: Option<String>,
    pub(super) issuer: Issuer,
    pub(super) log: RequestLog,
    faults: Mutex<FaultScript>,
}

/// The connection is to be reset instead of answered
#[derive(Debug)]
pub(super) struct Reset;

impl Platform {
    pub(super) fn new(config: MockConfig, url: String, tls_url: Option<String>) -> Result<Self> {
        let issuer = Issuer::new(&config.tenant_id)?;
        let faults = Mutex::new(FaultScript::new(&config.faults));
        Ok(Self { config, url, tls_url, issuer, log: RequestLog::default(), faults })
    }

    pub(super) async fn answer(&self, call: Call) -> Result<Response<ScriptedBody>, Reset> {
        match call.segments().as_slice() {
            [] => Ok(ScriptedBody::whole(start_page::answer(self))),
            ["admin", path @ ..] => Ok(ScriptedBody::whole(admin::answer(self, &call, path))),
            _ => self.play(call).await,
        }
    }

    /// Answer as Azure does, unless a fault is to be played
    async fn play(&self, mut call: Call) -> Result<Response<ScriptedBody>, Reset> {
        let fault = self.faults().next(call.endpoint);
        let number = self.log.arrival(&call, fault.as_ref());
        let Some(fault) = fault else {
            let reply = self.route(&call);
            self.log.answered(number, &reply);
            return Ok(ScriptedBody::whole(reply));
        };
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        call.wrong_identity = fault.answer == Answer::WrongIdentity;
        let reply = self.faulty(&call, &fault).ok_or(Reset)?;
        self.log.answered(number, &reply);
        Ok(ScriptedBody::scripted(reply, &fault.answer))
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultScript> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reset(&self) {
        *self.faults() = FaultScript::new(&self.config.faults);
        self.log.clear();
    }

    pub(super) fn issue(
        &self,
        identity: &Identity,
        resource: &str,
        lifetime: NonZeroU64,
    ) -> Result<Issued, Reply> {
        self.issuer
            .issue(identity, resource, lifetime.get())
            .map_err(|error| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("no token: {error:#}")))
    }

    /// The identity that is answered for: another one than `asked` if a fault wants that and there is another
    pub(super) fn played<'a>(&'a self, asked: &'a Identity, call: &Call) -> &'a Identity {
        let other = self.config.identities.iter().find(|identity| call.wrong_identity && *identity != asked);
        other.unwrap_or(asked)
    }

    pub(super) fn unknown_audience(&self, resource: &str) -> String {
        format!(
            "AADSTS500011: The resource principal named {resource} was not found in the tenant named {}. This can \
             happen if the application has not been installed by the administrator of the tenant or consented to by \
             any user in the tenant. You might have sent your authentication request to the wrong tenant.",
            self.config.tenant_id
        )
    }

    /// The answer of a healthy platform: one arm, one file
    fn route(&self, call: &Call) -> Reply {
        match call.endpoint {
            Endpoint::Imds => imds::answer(self, call),
            Endpoint::AppService => app_service::answer(self, call),
            Endpoint::OpenId => open_id::answer(self, call),
            Endpoint::KeyVault => key_vault::answer(self, call),
            Endpoint::Unknown => Reply::text(StatusCode::NOT_FOUND, "no such endpoint here: see /"),
        }
    }

    /// The answer that `fault` asks for; none is a reset
    fn faulty(&self, call: &Call, fault: &Fault) -> Option<Reply> {
        Some(match &fault.answer {
            Answer::Reset => return None,
            Answer::AsUsual | Answer::Truncated | Answer::SlowDrip | Answer::WrongIdentity => {
                self.route(call)
            }
            Answer::Status(answer) => status(call.endpoint, answer),
            Answer::Html => Reply::html(StatusCode::OK, "<html><body><h1>Sign in</h1></body></html>\n"),
            Answer::Oversize => Reply::json(StatusCode::OK, &()),
            Answer::Redirect(url) => Reply::text(StatusCode::FOUND, "").with(http::header::LOCATION, url),
            Answer::Garbage => {
                Reply { body: r#"{"access_token": tru"#.to_owned(), ..Reply::json(StatusCode::OK, &()) }
            }
        })
    }
}

fn status(endpoint: Endpoint, answer: &StatusAnswer) -> Reply {
    let code = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = match (&answer.body, endpoint) {
        (Some(body), _) => Reply { body: body.clone(), ..Reply::json(code, &()) },
        (None, Endpoint::Imds) => imds::failure(code),
        (None, Endpoint::AppService) => app_service::failure(code),
        (None, Endpoint::KeyVault) => key_vault::failure(code),
        (None, _) => Reply::text(code, "a scripted failure"),
    };
    if let Some(content_type) = &answer.content_type {
        reply = reply.with(http::header::CONTENT_TYPE, content_type);
    }
    if let Some(value) = &answer.retry_after {
        reply = reply.with(http::header::RETRY_AFTER, value);
    }
    reply
}
