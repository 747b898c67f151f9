//! What all endpoints share: configuration, issuer, faults and log; and the way of a request through them.

use std::{
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use http::{Response, StatusCode};

use super::{
    admin, app_service, arc,
    arc_keys::ArcKeys,
    body::ScriptedBody,
    call::Call,
    claims::{Grant, Holder},
    cloud_shell,
    config::MockConfig,
    container_group,
    endpoint::Endpoint,
    entra,
    fault::{Answer, Fault, FaultScript, StatusAnswer},
    identity::Identity,
    imds,
    issuer::{Issued, Issuer},
    key_vault,
    log::RequestLog,
    msi_2017, open_id,
    reply::Reply,
    server::Addresses,
    service_fabric, start_page,
    throttle::Throttle,
};

pub(super) struct Platform {
    pub(super) config: MockConfig,
    pub(super) addresses: Addresses,
    pub(super) issuer: Issuer,
    pub(super) log: RequestLog,
    /// The keys of the Arc agent, if there is one
    pub(super) arc_keys: Option<ArcKeys>,
    pub(super) fabric_tokens: service_fabric::Held,
    pub(super) imds_throttle: Throttle,
    faults: Mutex<FaultScript>,
}

/// The connection ends in the place of an answer
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a TCP RST
    Reset,
    /// As at the end of a conversation
    Closed,
}

impl Platform {
    pub(super) fn new(config: MockConfig, addresses: Addresses) -> Result<Self> {
        Ok(Self {
            issuer: Issuer::new(&config.tenant_ids().collect::<Vec<_>>())?,
            arc_keys: config.arc.as_ref().map(|arc| ArcKeys::new(&arc.key_directory)).transpose()?,
            faults: Mutex::new(FaultScript::new(&config.faults)),
            log: RequestLog::default(),
            fabric_tokens: service_fabric::Held::default(),
            imds_throttle: Throttle::default(),
            addresses,
            config,
        })
    }

    pub(super) async fn answer(&self, call: Call) -> Result<Response<ScriptedBody>, Ended> {
        match call.segments().as_slice() {
            [] => Ok(ScriptedBody::whole(start_page::answer(self))),
            ["admin", path @ ..] => Ok(ScriptedBody::whole(admin::answer(self, &call, path))),
            _ => self.play(call).await,
        }
    }

    /// Answer as Azure does, unless a fault is to be played
    async fn play(&self, mut call: Call) -> Result<Response<ScriptedBody>, Ended> {
        let fault = self.faults().next(call.endpoint);
        let number = self.log.arrival(&call, fault.as_ref());
        let Some(fault) = fault else {
            let reply = self.route(&call);
            self.log.answered(number, &reply);
            return Ok(ScriptedBody::whole(reply));
        };
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        call.wrong_identity = fault.answer == Answer::WrongIdentity;
        let reply = self.faulty(&call, &fault)?;
        self.log.answered(number, &reply);
        Ok(ScriptedBody::scripted(reply, &fault.answer))
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultScript> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reset(&self) {
        *self.faults() = FaultScript::new(&self.config.faults);
        self.fabric_tokens.clear();
        self.log.clear();
    }

    /// A token of a managed identity
    pub(super) fn issue_to(
        &self,
        identity: &Identity,
        call: &Call,
        audience: &str,
        lifetime: NonZeroU64,
    ) -> Result<Issued, Reply> {
        self.issue(call, self.grant(Holder::Identity(identity), audience, lifetime))
    }

    /// What allows a token in the tenant that the identities are in
    pub(super) fn grant<'a>(
        &'a self,
        holder: Holder<'a>,
        audience: &'a str,
        lifetime: NonZeroU64,
    ) -> Grant<'a> {
        let tenant_id = &self.config.tenant_id;
        Grant { holder, tenant_id, audience, lifetime: lifetime.get(), capabilities: Vec::new() }
    }

    /// A token as `grant` allows, or that of somebody else if a fault wants that
    pub(super) fn issue(&self, call: &Call, grant: Grant<'_>) -> Result<Issued, Reply> {
        let holder = if call.wrong_identity { self.other_than(grant.holder) } else { grant.holder };
        self.issuer
            .issue(&Grant { holder, ..grant })
            .map_err(|error| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("no token: {error:#}")))
    }

    /// Another identity or app than `asked`, if there is another
    fn other_than<'a>(&'a self, asked: Holder<'a>) -> Holder<'a> {
        let id = asked.object_id();
        let other = match asked {
            Holder::Identity(_) => {
                self.config.identities.iter().find(|other| other.object_id != id).map(Holder::Identity)
            }
            Holder::App(_, proof) | Holder::User { proof, .. } => self
                .config
                .apps
                .iter()
                .find(|other| other.object_id != id)
                .map(|other| Holder::App(other, proof)),
        };
        other.unwrap_or(asked)
    }

    pub(super) fn unknown_audience(&self, resource: &str) -> String {
        format!("AADSTS500011: {}", entra::unknown_resource(resource, &self.config.tenant_id))
    }

    /// The answer of a healthy platform: one arm, one file
    fn route(&self, call: &Call) -> Reply {
        if call.in_chunks && call.endpoint.refuses_chunks() {
            return Reply::empty(StatusCode::NOT_FOUND);
        }
        match call.endpoint {
            Endpoint::Imds => imds::answer(self, call),
            Endpoint::AppService => app_service::answer(self, call),
            Endpoint::AppService2017 => msi_2017::app_service(self, call),
            Endpoint::AzureMl => msi_2017::azure_ml(self, call),
            Endpoint::CloudShell => cloud_shell::answer(self, call),
            Endpoint::ContainerGroup => container_group::answer(self, call),
            Endpoint::Arc => arc::answer(self, call),
            Endpoint::ServiceFabric => service_fabric::answer(self, call),
            Endpoint::Entra => entra::answer(self, call),
            Endpoint::OpenId => open_id::answer(self, call),
            Endpoint::KeyVault => key_vault::answer(self, call),
            Endpoint::Unknown => Reply::text(StatusCode::NOT_FOUND, "no such endpoint here: see /"),
        }
    }

    /// The answer that `fault` asks for
    fn faulty(&self, call: &Call, fault: &Fault) -> Result<Reply, Ended> {
        Ok(match &fault.answer {
            Answer::Reset => return Err(Ended::Reset),
            Answer::Closed => return Err(Ended::Closed),
            Answer::AsUsual
            | Answer::Truncated
            | Answer::TruncatedUnsized
            | Answer::SlowDrip
            | Answer::WrongIdentity => self.route(call),
            Answer::Chunked | Answer::TruncatedChunks => self.route(call).in_chunks(),
            Answer::Empty => Reply { body: String::new(), ..self.route(call) },
            Answer::Status(answer) => status(self, call, answer),
            Answer::Html => Reply::html(StatusCode::OK, "<html><body><h1>Sign in</h1></body></html>\n"),
            Answer::Oversize => Reply::json(StatusCode::OK, &()),
            Answer::Redirect(url) => Reply::text(StatusCode::FOUND, "").with(http::header::LOCATION, url),
            Answer::Garbage => {
                Reply { body: r#"{"access_token": tru}"#.to_owned(), ..Reply::json(StatusCode::OK, &()) }
            }
        })
    }
}

fn status(platform: &Platform, call: &Call, answer: &StatusAnswer) -> Reply {
    let code = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = match &answer.body {
        Some(body) => Reply { body: body.clone(), ..Reply::json(code, &()) },
        None => failure(platform, call, code),
    };
    if let Some(content_type) = &answer.content_type {
        reply = reply.with(http::header::CONTENT_TYPE, content_type);
    }
    answer.retry_after.iter().fold(reply, |reply, value| reply.beside(http::header::RETRY_AFTER, value))
}

/// This status in the endpoint's own words
fn failure(platform: &Platform, call: &Call, code: StatusCode) -> Reply {
    match call.endpoint {
        Endpoint::Imds => imds::failure(code),
        Endpoint::AppService => app_service::failure(code),
        Endpoint::AppService2017 => msi_2017::app_service_failure(code),
        Endpoint::AzureMl => msi_2017::azure_ml_failure(code),
        Endpoint::CloudShell => cloud_shell::failure(code),
        Endpoint::ContainerGroup => container_group::failure(code),
        Endpoint::Arc => arc::failure(code),
        Endpoint::ServiceFabric => service_fabric::failure(code),
        Endpoint::Entra => entra::failure(call, code),
        Endpoint::KeyVault => key_vault::failure(platform, code),
        Endpoint::OpenId | Endpoint::Unknown => Reply::text(code, "a scripted failure"),
    }
}
