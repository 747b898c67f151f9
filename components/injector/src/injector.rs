//! The way of a request through the injector.

use std::rc::Rc;

use token_broker::{Error, Settings};
use token_broker_egress::{Challenge, Guard, Rules, Wanted, check_method};
use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};

use crate::audit::Audit;
use crate::credentials::{self, TokenHeader, TokenSpec};
use crate::destination::{Destination, Route};
use crate::request_head::RequestHead;
use crate::request_template::RequestTemplate;
use crate::state::InstanceState;
use crate::{clock, problem, settings};

/// The configuration of an instance, and its state.
pub(crate) struct Injector {
    guard: Guard,
    rules: Rules,
    audit: Audit,
    state: InstanceState,
    /// Whether the host lets requests have a `Host` header. Most hosts do not.
    takes_host: bool,
}

/// A token, and its specification.
type SpecifiedToken = (Rc<TokenSpec>, Rc<TokenHeader>);

impl Injector {
    /// The injector that the settings describe.
    pub(crate) async fn configure() -> Result<Self, Error> {
        let names = Rules::VARIABLES.into_iter().chain(Guard::VARIABLES).chain(Settings::DEFAULT_IDENTITY);
        let settings = settings::read(names.chain([Settings::LOG])).await?;
        Ok(Self {
            guard: Guard::detect(&settings)?,
            rules: Rules::parse(&settings)?,
            audit: Audit::new(settings.log_level()?, settings.default_identity()?),
            state: InstanceState::default(),
            takes_host: Fields::new().append("host", b"a.example").is_ok(),
        })
    }

    /// Sends a request, with a token if there is a rule for its host, or answers it with a problem document.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, ErrorCode> {
        let head = RequestHead::of(&request);
        let headers = request.get_headers();
        let outcome = match self.route(&head, &headers) {
            Ok(Some(route)) => self.inject(&route, request, head, headers).await,
            Ok(None) => Ok(client::send(request).await),
            Err(error) => Err(error),
        };
        outcome.unwrap_or_else(|error| {
            self.audit.refused(&error);
            problem::answer(&error)
        })
    }

    /// The route of a request; none if it is sent without a token.
    fn route(&self, head: &RequestHead, headers: &Fields) -> Result<Option<Rc<Route>>, Error> {
        // One address serves many hosts, and the guard has seen only the one in the URL.
        let names_another = self.takes_host && headers.has("host");
        let Some(authority) = &head.authority else {
            // Some hosts take such a request for one to the application itself.
            Guard::check_path(head.path())?;
            let is_refused = names_another || self.rules.refuses_others();
            return if is_refused { Err(without_host()) } else { Ok(None) };
        };
        let destination = self.destination(head, authority)?;
        destination.access.check(head.method(), head.path(), |name| headers.has(name))?;
        let applies = |route: &&Rc<Route>| route.rule.applies(headers.has("authorization"), head.path());
        let Some(route) = destination.route.as_ref().filter(applies) else {
            self.audit.passed(destination.access.target());
            return Ok(None);
        };
        check_method(head.method())?;
        if names_another {
            return Err(Error::denied(
                format_args!("no token goes to {} with a Host header", route.target),
                "leave the header out",
            ));
        }
        Ok(Some(Rc::clone(route)))
    }

    fn destination(&self, head: &RequestHead, authority: &str) -> Result<Rc<Destination>, Error> {
        let known = self.state.destination(authority);
        if let Some(destination) = known.filter(|destination| destination.is_for(head)) {
            return Ok(destination);
        }
        let destination = Destination::find(head, authority, &self.guard, &self.rules)?;
        Ok(self.state.keep_destination(authority.to_owned(), destination))
    }

    /// Sends a request with its token, and once more with another token if the service asks for one.
    ///
    /// # Errors
    /// The broker's error, if there is no token. Nothing was sent.
    async fn inject(
        &self,
        route: &Route,
        request: Request,
        head: RequestHead,
        headers: Fields,
    ) -> Result<Result<Response, ErrorCode>, Error> {
        let spec = route.token();
        let token = self.token(&spec).await?;
        let mut template = RequestTemplate::new(request, head, headers).await;
        let answer = self.send_with(route, &spec, &token, template.make(&token)?).await;
        if let Ok(refusal) = &answer
            && refusal.get_status_code() == UNAUTHORIZED
            && let Some((spec, token)) = self.another(route, &spec, &token, refusal).await
            && template.is_repeatable()
            && let Ok(again) = template.make(&token)
        {
            return Ok(self.send_with(route, &spec, &token, again).await);
        }
        Ok(answer)
    }

    async fn send_with(
        &self,
        route: &Route,
        spec: &TokenSpec,
        token: &TokenHeader,
        request: Request,
    ) -> Result<Response, ErrorCode> {
        let audited = self.audit.begin(route, spec, token);
        let answer = client::send(request).await;
        if let Some(audited) = audited {
            audited.end(&answer);
        }
        answer
    }

    /// The token in memory, else the broker's.
    async fn token(&self, spec: &Rc<TokenSpec>) -> Result<Rc<TokenHeader>, Error> {
        match self.state.token(spec, unix_seconds()) {
            Some(token) => Ok(token),
            None => self.fetched(spec, None).await,
        }
    }

    async fn fetched(&self, spec: &Rc<TokenSpec>, claims: Option<String>) -> Result<Rc<TokenHeader>, Error> {
        let token = credentials::token(spec, claims, unix_seconds()).await?;
        Ok(self.state.keep_token(spec, token))
    }

    /// Another token in the place of one that a service refused, if there is one. Later requests get it, too.
    async fn another(
        &self,
        route: &Route,
        spec: &Rc<TokenSpec>,
        refused: &TokenHeader,
        refusal: &Response,
    ) -> Option<SpecifiedToken> {
        let challenges = refusal.get_headers().get("www-authenticate");
        let challenge = Challenge::bearer(&challenges).ok()?;
        let another = match route.rule.wanted(&route.target, &challenge) {
            Ok(wanted) => self.obtain(route, spec, refused, wanted?).await,
            Err(error) => Err(error),
        };
        another.unwrap_or_else(|error| {
            self.audit.unanswered(&route.target, &error);
            None
        })
    }

    async fn obtain(
        &self,
        route: &Route,
        spec: &Rc<TokenSpec>,
        refused: &TokenHeader,
        wanted: Wanted,
    ) -> Result<Option<SpecifiedToken>, Error> {
        let Wanted { scope, tenant, claims } = wanted;
        let other = Rc::new(TokenSpec {
            scope: scope.unwrap_or_else(|| spec.scope.clone()),
            tenant: tenant.or_else(|| spec.tenant.clone()),
            ..TokenSpec::clone(spec)
        });
        if other != *spec && !route.may_answer(&other, monotonic_clock::now()) {
            return Ok(None);
        }
        // Of another tenant or scope, or one that another request has got meanwhile.
        let known = self.state.token(&other, unix_seconds());
        let token = match known.filter(|token| !token.is(refused)) {
            Some(token) => token,
            None => self.fetched(&other, None).await?,
        };
        if !token.is(refused) {
            route.set_token(&other);
            return Ok(Some((other, token)));
        }
        let Some(claims) = self.state.renewal(spec, claims, monotonic_clock::now()) else {
            return Ok(None);
        };
        let token = self.renewed(spec, &claims).await?;
        Ok((!token.is(refused)).then(|| (Rc::clone(spec), token)))
    }

    /// A new token, with the claims that the refused one lacks. It replaces the refused one here and in the broker.
    async fn renewed(&self, spec: &Rc<TokenSpec>, claims: &Option<String>) -> Result<Rc<TokenHeader>, Error> {
        if claims.is_none() {
            credentials::forget(spec.scope.clone()).await;
        }
        self.state.forget_tokens(&spec.scope);
        self.fetched(spec, claims.clone()).await
    }
}

fn without_host() -> Error {
    Error::denied("the request has no host in its URL", "write the host into the URL")
}

fn unix_seconds() -> u64 {
    clock::now().as_secs()
}

const UNAUTHORIZED: u16 = 401;
