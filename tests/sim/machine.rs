//! The host of an instance: a seat on a machine with its own clock.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use token_broker::{Body, Host, Limits, Links, ReadError, Record, Secret, SendError, SendErrorKind};

use crate::blocking::Blocking;
use crate::fault::Plan;
use crate::invariant::Invariants;
use crate::platform;
use crate::world::{Group, World};

/// The host of one instance.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) world: World,
    pub(crate) plan: Rc<Plan>,
    pub(crate) invariants: Invariants,
    pub(crate) machine: usize,
    pub(crate) instance: Group,
    /// Set for an instance of WASI 0.2.
    pub(crate) blocking: Option<Blocking>,
}

impl Seat {
    /// The time since the Unix epoch by the machine's clock.
    pub(crate) fn clock(&self) -> Duration {
        let offset = self.ahead();
        let moment = START + self.world.now();
        if offset < 0 {
            moment - Duration::from_secs(offset.unsigned_abs())
        } else {
            moment + Duration::from_secs(offset.unsigned_abs())
        }
    }

    async fn unblocked<T>(&self, other: impl Future<Output = T>) -> T {
        match &self.blocking {
            Some(blocking) => blocking.stand_still(other).await,
            None => other.await,
        }
    }

    /// The offset of the clock from true time, in seconds.
    pub(crate) fn ahead(&self) -> i64 {
        self.plan.offset(self.machine, self.world.now())
    }
}

impl Host for Seat {
    fn now(&self) -> Duration {
        self.clock()
    }

    async fn send(
        &self,
        request: http::Request<Body>,
        limits: Limits,
    ) -> Result<http::Response<Body>, SendError> {
        let key = platform::key(request.uri());
        let request_id = self.invariants.asked(self, key, limits.total);
        self.world.note(|| format!("instance {} asks for token {key}", self.instance));
        let (answer, limit) = (pin!(platform::answer(self, key)), self.world.sleep(limits.total));
        let mut exchange = select(answer, limit);
        let ended = poll_fn(|context| {
            self.invariants.polled(self, key, request_id);
            exchange.poll_unpin(context)
        });
        let (reply, rest) = match self.unblocked(ended).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let kind = SendErrorKind::TimedOut;
                (Err(SendError { kind, detail: "as planned".to_owned() }), Duration::ZERO)
            }
        };
        let status = reply.as_ref().ok().map(|response| response.status().as_u16());
        self.world.note(|| format!("instance {} gets {status:?} for token {key}", self.instance));
        self.invariants.answered(self, key, request_id, (status, rest));
        reply
    }

    async fn sleep(&self, duration: Duration) {
        self.unblocked(self.world.sleep(duration)).await;
    }

    fn random(&self) -> u64 {
        self.world.random(|rng| rng.u64(..))
    }

    async fn read(&self, _: &str, _: usize, _: Links) -> Result<Secret, ReadError> {
        Err(ReadError::NotFound)
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.to_json(self.clock());
        self.invariants.shown("a log", &line);
        self.world.note(|| format!("instance {} on machine {} logs {line}", self.instance, self.machine));
    }
}

/// The beginning of a run, since the Unix epoch.
pub(crate) const START: Duration = Duration::from_secs(1_760_000_000);
