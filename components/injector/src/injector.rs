//! What becomes of a request.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use token_broker::{Error, Settings};
use token_broker_egress::{Challenge, Guard, Rules, Wanted, check_method};
use wasip3::cli::environment::get_environment;
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};

use crate::audit::Audit;
use crate::bindings::token_broker::identity::settings;
use crate::credentials::{self, Demand, Held};
use crate::draft::{Draft, Head};
use crate::memory::Memory;
use crate::place::{Place, Way};
use crate::problem;

/// The configuration of an instance, and what it has learned.
pub(crate) struct Injector {
    guard: Guard,
    rules: Rules,
    audit: Audit,
    memory: Memory,
    /// Whether the host lets requests have a `Host` header. Most do not.
    takes_host: bool,
}

impl Injector {
    /// # Errors
    /// [`Error::Misconfigured`] for what cannot be read or used.
    pub(crate) async fn configure() -> Result<Self, Error> {
        let settings = read_settings().await?;
        Ok(Self {
            guard: Guard::detect(&settings)?,
            rules: Rules::parse(&settings)?,
            audit: Audit::new(settings.log_level()?, settings.default_identity()?),
            memory: Memory::default(),
            takes_host: Fields::new().append("host", b"a.example").is_ok(),
        })
    }

    /// Send a request on, with a token if there is a rule for it, or answer in the place of its host.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, ErrorCode> {
        let head = Head::of(&request);
        let headers = request.get_headers();
        let outcome = match self.judge(&head, &headers) {
            Ok(Some(way)) => self.inject(&way, request, head, headers).await,
            Ok(None) => Ok(client::send(request).await),
            Err(error) => Err(error),
        };
        outcome.unwrap_or_else(|error| {
            self.audit.refused(&error);
            problem::answer(&error)
        })
    }

    /// How a request gets its token; none if it passes as it is.
    ///
    /// # Errors
    /// [`Error::Denied`] if it does not pass at all.
    fn judge(&self, head: &Head, headers: &Fields) -> Result<Option<Rc<Way>>, Error> {
        // Behind one address there are many hosts, and only one of them has been judged.
        let names_another = self.takes_host && headers.has("host");
        let Some(authority) = &head.authority else {
            // Some hosts take it for a request to the application itself.
            Guard::check_path(head.path())?;
            let is_refused = names_another || self.rules.refuses_others();
            return if is_refused { Err(nowhere()) } else { Ok(None) };
        };
        let place = self.place(head, authority)?;
        place.access.check(head.method(), head.path(), |name| headers.has(name))?;
        let applies = |way: &&Rc<Way>| way.rule.applies(headers.has("authorization"), head.path());
        let Some(way) = place.way.as_ref().filter(applies) else {
            self.audit.passed(place.access.target());
            return Ok(None);
        };
        check_method(head.method())?;
        if names_another {
            let host = &way.target;
            return Err(Error::Denied(format!("no token goes to {host} with a Host header; leave it out")));
        }
        Ok(Some(Rc::clone(way)))
    }

    fn place(&self, head: &Head, authority: &str) -> Result<Rc<Place>, Error> {
        if let Some(place) = self.memory.place(authority).filter(|place| place.is_for(head)) {
            return Ok(place);
        }
        let place = Place::find(head, authority, &self.guard, &self.rules)?;
        Ok(self.memory.keep(authority.to_owned(), place))
    }

    /// Send a request with its token, and once more with another one if the service asks for that.
    ///
    /// # Errors
    /// Why there is no token. Nothing was sent.
    async fn inject(
        &self,
        way: &Way,
        request: Request,
        head: Head,
        headers: Fields,
    ) -> Result<Result<Response, ErrorCode>, Error> {
        let demand = way.demand();
        let held = self.token(&demand).await?;
        let mut draft = Draft::of(request, head, headers).await;
        let answer = self.send_with(way, &demand, &held, draft.make(&held)?).await;
        if let Ok(refusal) = &answer
            && refusal.get_status_code() == UNAUTHORIZED
            && let Some((demand, held)) = self.another(way, &demand, &held, refusal).await
            && draft.is_repeatable()
            && let Ok(again) = draft.make(&held)
        {
            return Ok(self.send_with(way, &demand, &held, again).await);
        }
        Ok(answer)
    }

    async fn send_with(
        &self,
        way: &Way,
        demand: &Demand,
        held: &Held,
        request: Request,
    ) -> Result<Response, ErrorCode> {
        let sending = self.audit.sending(way, demand, held);
        let answer = client::send(request).await;
        if let Some(sending) = sending {
            sending.answered(&answer);
        }
        answer
    }

    /// The token that is held for a demand, else the broker's.
    async fn token(&self, demand: &Rc<Demand>) -> Result<Rc<Held>, Error> {
        match self.memory.held(demand, unix_seconds()) {
            Some(held) => Ok(held),
            None => self.fetched(demand, None).await,
        }
    }

    async fn fetched(&self, demand: &Rc<Demand>, claims: Option<String>) -> Result<Rc<Held>, Error> {
        let held = credentials::token(demand, claims, unix_seconds()).await?;
        Ok(self.memory.hold(demand, held))
    }

    /// Another token in the place of one that a service refused, if there is one. It serves later requests too.
    async fn another(
        &self,
        way: &Way,
        demand: &Rc<Demand>,
        refused: &Held,
        refusal: &Response,
    ) -> Option<(Rc<Demand>, Rc<Held>)> {
        let challenges = refusal.get_headers().get("www-authenticate");
        let challenge = Challenge::bearer(&challenges).ok()?;
        let another = match way.rule.wanted(&way.target, &challenge) {
            Ok(wanted) => self.obtain(way, demand, refused, wanted?).await,
            Err(error) => Err(error),
        };
        another.unwrap_or_else(|error| {
            self.audit.unanswered(&way.target, &error);
            None
        })
    }

    async fn obtain(
        &self,
        way: &Way,
        demand: &Rc<Demand>,
        refused: &Held,
        wanted: Wanted,
    ) -> Result<Option<(Rc<Demand>, Rc<Held>)>, Error> {
        let Wanted { scope, tenant, claims } = wanted;
        let other = Rc::new(Demand {
            scope: scope.unwrap_or_else(|| demand.scope.clone()),
            tenant: tenant.or_else(|| demand.tenant.clone()),
            ..Demand::clone(demand)
        });
        if other != *demand && !way.may_learn(&other, monotonic_clock::now()) {
            return Ok(None);
        }
        // Of the directory that is asked for, or one that another request has got meanwhile.
        let held = match self.memory.held(&other, unix_seconds()).filter(|held| !held.is(refused)) {
            Some(held) => held,
            None => self.fetched(&other, None).await?,
        };
        if !held.is(refused) {
            way.learn(&other);
            return Ok(Some((other, held)));
        }
        let Some(claims) = self.memory.renewal(demand, claims, monotonic_clock::now()) else {
            return Ok(None);
        };
        let held = self.renewed(demand, &claims).await?;
        Ok((!held.is(refused)).then(|| (Rc::clone(demand), held)))
    }

    /// A new token, with the claims that the refused one lacks. It takes the place of the refused one here and in the
    /// broker.
    async fn renewed(&self, demand: &Rc<Demand>, claims: &Option<String>) -> Result<Rc<Held>, Error> {
        if claims.is_none() {
            credentials::forget(&demand.scope);
        }
        self.memory.forget(&demand.scope);
        self.fetched(demand, claims.clone()).await
    }
}

/// The environment, and for what it does not have the host's settings.
///
/// # Errors
/// [`Error::Misconfigured`] for a setting that cannot be looked up: rules that are kept there would not hold.
async fn read_settings() -> Result<Settings, Error> {
    let mut read = Settings::from_pairs(get_environment());
    let names = Rules::VARIABLES.into_iter().chain(Guard::VARIABLES).chain(Settings::DEFAULT_IDENTITY);
    for name in names.chain([Settings::LOG]) {
        if !read.is_set(name)
            && let Some(value) = setting(name).await?
        {
            read.set(name, value);
        }
    }
    Ok(read)
}

async fn setting(name: &str) -> Result<Option<String>, Error> {
    let looked_up = pin!(settings::get(name.to_owned()));
    let why = match select(looked_up, pin!(monotonic_clock::wait_for(SETTING_LIMIT))).await {
        Either::Left((Ok(value), _)) => return Ok(value),
        Either::Left((Err(why), _)) => why,
        Either::Right(((), _)) => "no answer in time".to_owned(),
    };
    Err(Error::Misconfigured(format!(
        "the host cannot look up the setting {name}: {why}; mend the host's settings, or set {name} in the environment"
    )))
}

fn nowhere() -> Error {
    Error::Denied("the request does not say in its URL which host it is for".to_owned())
}

fn unix_seconds() -> u64 {
    u64::try_from(system_clock::now().seconds).unwrap_or(0)
}

const UNAUTHORIZED: u16 = 401;
/// Nanoseconds that a host may take to look up one setting.
const SETTING_LIMIT: u64 = 5_000_000_000;
