//! The state that all endpoints share: configuration, issuer, log, faults, and the state of single endpoints.

use std::num::NonZeroU64;

use anyhow::Result;
use http::StatusCode;
use parking_lot::Mutex;

use crate::{
    addresses::Addresses,
    arc_keys::ArcKeys,
    call::Call,
    claims::{Grant, Subject},
    config::MockConfig,
    entra_error,
    fault::FaultScript,
    identity::Identity,
    issuer::{Issued, Issuer},
    log::RequestLog,
    reply::Reply,
    throttle::Throttle,
    token_cache::TokenCache,
};

pub(crate) struct Platform {
    pub(crate) config: MockConfig,
    pub(crate) addresses: Addresses,
    pub(crate) issuer: Issuer,
    pub(crate) log: RequestLog,
    /// The keys of the Arc agent, if there is one
    pub(crate) arc_keys: Option<ArcKeys>,
    /// The tokens that Service Fabric gives again
    pub(crate) fabric_tokens: TokenCache,
    pub(crate) imds_throttle: Throttle,
    pub(crate) faults: Mutex<FaultScript>,
}

impl Platform {
    pub(crate) fn new(config: MockConfig, addresses: Addresses) -> Result<Self> {
        Ok(Self {
            issuer: Issuer::new(&config.tenant_ids().collect::<Vec<_>>())?,
            arc_keys: config.arc.as_ref().map(|arc| ArcKeys::new(&arc.key_directory)).transpose()?,
            faults: Mutex::new(FaultScript::new(&config.faults)),
            log: RequestLog::default(),
            fabric_tokens: TokenCache::default(),
            imds_throttle: Throttle::default(),
            addresses,
            config,
        })
    }

    pub(crate) fn reset(&self) {
        *self.faults.lock() = FaultScript::new(&self.config.faults);
        self.fabric_tokens.clear();
        self.log.clear();
    }

    pub(crate) fn issue_to(
        &self,
        identity: &Identity,
        call: &Call,
        audience: &str,
        lifetime: NonZeroU64,
    ) -> Result<Issued, Reply> {
        self.issue(call, self.grant(Subject::identity(identity), audience, lifetime))
    }

    /// The grant of a token in the tenant that the identities are in
    pub(crate) fn grant<'a>(
        &'a self,
        subject: Subject<'a>,
        audience: &'a str,
        lifetime: NonZeroU64,
    ) -> Grant<'a> {
        let tenant_id = &self.config.tenant_id;
        Grant { subject, tenant_id, audience, lifetime: lifetime.get(), capabilities: Vec::new() }
    }

    /// A token as `grant` allows, or that of another subject if a fault wants that
    pub(crate) fn issue(&self, call: &Call, grant: Grant<'_>) -> Result<Issued, Reply> {
        let subject = if call.wrong_identity { self.other_than(grant.subject) } else { grant.subject };
        self.issuer
            .issue(&Grant { subject, ..grant })
            .map_err(|error| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("no token: {error:#}")))
    }

    /// Another identity or app than `asked`, if there is another
    fn other_than<'a>(&'a self, asked: Subject<'a>) -> Subject<'a> {
        let Subject { object_id: id, proof, .. } = asked;
        let other = if asked.resource_id.is_some() {
            self.config.identities.iter().find(|other| other.object_id != id).map(Subject::identity)
        } else {
            let other = self.config.apps.iter().find(|other| other.object_id != id);
            other.map(|other| Subject::app(other, proof))
        };
        other.unwrap_or(asked)
    }

    /// Check that tokens can be asked for this audience; else Entra ID's words, as the managed identity endpoints quote them
    pub(crate) fn check_audience(&self, resource: &str) -> Result<(), String> {
        match self.config.knows_audience(resource) {
            true => Ok(()),
            false => Err(format!(
                "AADSTS500011: {}",
                entra_error::unknown_resource(resource, &self.config.tenant_id)
            )),
        }
    }
}
