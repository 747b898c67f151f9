//! The invariants, which are checked at every step. `main.rs` describes them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use token_broker::{Error, ExposeSecret as _, Token};

use crate::fault::Plan;
use crate::machine::Seat;
use crate::store::LONGEST_BLOCK;
use crate::world::{Group, TaskId, World};

/// The invariants with the history of a run. All clones share one state.
#[derive(Clone)]
pub(crate) struct Invariants(Rc<State>);

struct State {
    world: World,
    plan: Rc<Plan>,
    issued: RefCell<BTreeMap<String, Issued>>,
    /// The last request for each key, of all instances and of each one.
    fleets: RefCell<BTreeMap<usize, Last>>,
    own: RefCell<BTreeMap<(Group, usize), Last>>,
    /// The last request for each key that gave a token.
    held: RefCell<BTreeMap<usize, Last>>,
    /// The time of the last refusal of a token by any instance, by key.
    refused_at: RefCell<BTreeMap<usize, Duration>>,
    /// The last token that a service refused, and the time.
    refused: RefCell<BTreeMap<(Group, usize), (String, Duration)>>,
    /// The time at which the bucket of each instance is full: of the rate limit, and below of the one without a store.
    buckets: RefCell<BTreeMap<Group, Duration>>,
    /// The last request of each instance, and the time at which its bucket is full by its own clock.
    turns: RefCell<BTreeMap<Group, (Duration, Duration)>>,
    without_store: RefCell<BTreeMap<Group, Duration>>,
    /// The time until which a token is not forgotten again.
    pauses: RefCell<BTreeMap<(Group, usize), Duration>>,
    /// The last two requests of an instance whose only reason was a refused token.
    forgets: RefCell<BTreeMap<(Group, usize), Twice>>,
}

/// The last two times of an event, the older one first.
type Twice = [Option<Duration>; 2];

/// A token that the platform issued.
struct Issued {
    key: usize,
    at: Duration,
    ends: Duration,
    by: Group,
    /// The offset of the requester's clock, in seconds.
    ahead: i64,
}

#[derive(Clone, Copy)]
struct Last {
    id: u64,
    /// The time at which it was sent.
    sent: Duration,
    /// The time at which it was answered, or else sent.
    at: Duration,
    /// Its timeout.
    limit: Duration,
    /// The time of the first request of its fetch.
    begun: Duration,
    /// The task that polled it last.
    task: TaskId,
    /// Whether its fetch was idle for a time.
    was_idle: bool,
    outcome: Outcome,
    /// Whether a service refused its token.
    excused: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Nothing,
    /// A token, which is not replaced before it is due.
    Token {
        due: Duration,
        ends: Duration,
    },
    Failure {
        until: Duration,
    },
}

impl Invariants {
    pub(crate) fn new(world: &World, plan: &Rc<Plan>) -> Self {
        Self(Rc::new(State {
            world: world.clone(),
            plan: Rc::clone(plan),
            issued: RefCell::default(),
            fleets: RefCell::default(),
            own: RefCell::default(),
            held: RefCell::default(),
            refused_at: RefCell::default(),
            refused: RefCell::default(),
            buckets: RefCell::default(),
            turns: RefCell::default(),
            without_store: RefCell::default(),
            pauses: RefCell::default(),
            forgets: RefCell::default(),
        }))
    }

    fn now(&self) -> Duration {
        self.0.world.now()
    }

    fn check(&self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.0.world.violated(words);
        }
    }

    /// A request reaches the platform. Returns its id.
    pub(crate) fn asked(&self, seat: &Seat, key: usize, limit: Duration) -> u64 {
        let (now, task, id) = (self.now(), self.0.world.running(), self.0.world.serial());
        let own = self.0.own.borrow().get(&(seat.instance, key)).copied();
        let counts = |own: &Last| {
            self.0.plan.is_steady(seat.machine, &(own.sent..=now)) && !self.was_overtaken(own, key)
        };
        if let Some(own) = own.filter(counts) {
            self.check(own.outcome != Outcome::Nothing || own.at + own.limit <= now, || {
                "a fetch goes on when its caller gives up: an instance asks anew after the request's limit"
                    .to_owned()
            });
            self.check_reason(&own, "an instance");
            self.check_forget_rate(seat, key, &own);
        }
        let fleets = self.0.fleets.borrow().get(&key).copied();
        // A fetch that was idle, with its next tries, has lost its lease, and sees only published tokens.
        let goes_on = |own: &Last| {
            own.task == task
                || matches!(own.outcome, Outcome::Failure { .. }) && self.0.world.was_killed(own.task)
        };
        let was_idle = own.filter(goes_on).is_some_and(|own| own.was_idle || own.task != task)
            || self.0.world.was_left_idle_since(seat.instance, now.saturating_sub(LONGEST_CALL));
        if let Some(last) = fleets.filter(|last| self.0.plan.is_undisturbed(last.sent..=now)) {
            let last =
                Last { excused: last.excused && matches!(last.outcome, Outcome::Token { .. }), ..last };
            // The holder of the lease does not look for tokens of a fetch that has lost it.
            if !last.was_idle && (!was_idle || self.was_seen(&last)) {
                self.check_reason(&last, "the fleet");
            }
        }
        let begun = own.filter(goes_on).map_or(now, |own| own.begun);
        self.check_rate(seat);
        self.check_rate_without_store(seat, begun);
        let outcome = Outcome::Nothing;
        let last = Last { id, sent: now, at: now, limit, begun, task, was_idle, outcome, excused: false };
        self.0.own.borrow_mut().insert((seat.instance, key), last);
        self.0.fleets.borrow_mut().insert(key, last);
        id
    }

    /// Whether a request gave a token for so long that a fetch without a lease must have seen it.
    fn was_seen(&self, last: &Last) -> bool {
        let has_ended = !self.0.world.is_alive(last.task) && !self.0.world.was_killed(last.task);
        matches!(last.outcome, Outcome::Token { .. }) && has_ended && last.at + PUBLICATION <= self.now()
    }

    /// Whether a request may have been abandoned for the token of another one.
    fn was_overtaken(&self, own: &Last, key: usize) -> bool {
        let held = self.0.held.borrow();
        own.outcome == Outcome::Nothing && held.get(&key).is_some_and(|held| held.id != own.id)
    }

    /// A task polls a request, which another one may have polled before.
    pub(crate) fn polled(&self, seat: &Seat, key: usize, id: u64) {
        let world = &self.0.world;
        let polled = |last: Option<&mut Last>| {
            if let Some(last) = last.filter(|last| last.id == id) {
                last.was_idle |= world.was_killed_before(last.task);
                last.task = world.running();
            }
        };
        polled(self.0.own.borrow_mut().get_mut(&(seat.instance, key)));
        polled(self.0.fleets.borrow_mut().get_mut(&key));
    }

    /// A refusal leads to one fetch in [`BETWEEN_FORGETS`], but the first may be late.
    fn check_forget_rate(&self, seat: &Seat, key: usize, own: &Last) {
        let now = self.now();
        if !own.excused || !matches!(own.outcome, Outcome::Token { due, .. } if due > now) {
            return;
        }
        let mut forgets = self.0.forgets.borrow_mut();
        let [before, last] = forgets.entry((seat.instance, key)).or_default();
        let since = before.unwrap_or_default();
        let seldom = before.is_none_or(|before| before + BETWEEN_FORGETS <= now);
        self.check(seldom || !self.0.plan.is_steady(seat.machine, &(since..=now)), || {
            "a token is forgotten once in 30 s".to_owned()
        });
        (*before, *last) = (*last, Some(now));
    }

    /// Checks that there is a reason for a request after the last one.
    fn check_reason(&self, last: &Last, who: &str) {
        let (world, now) = (&self.0.world, self.now());
        if world.was_killed(last.task) {
            return;
        }
        let goes_on =
            world.is_alive(last.task) && last.task != world.running() && !world.has_handed_over(last.task);
        match last.outcome {
            Outcome::Nothing => self.check(false, || format!("{who} asks once at a time for a token")),
            Outcome::Token { due, .. } => self.check(last.excused || due <= now, || {
                format!(
                    "{who} asks once for a token and refresh window: it is due at {:.3} s",
                    due.as_secs_f64()
                )
            }),
            Outcome::Failure { .. } if goes_on => {
                self.check(false, || format!("{who} asks once at a time for a token, retries included"));
            }
            Outcome::Failure { until } => self.check(last.excused || until <= now, || {
                format!("{who} rests as long as the platform wants, here until {:.3} s", until.as_secs_f64())
            }),
        }
    }

    fn check_rate(&self, seat: &Seat) {
        let now = self.now();
        let is_steady = self.0.plan.is_steady(seat.machine, &(now.saturating_sub(CLOCK_SKEW)..=now));
        self.count_turn(seat);
        let holds = Bucket::machine().take(&mut self.0.buckets.borrow_mut(), seat.instance, now, is_steady);
        self.check(holds, || "an instance sends 20 requests at once and then five a second".to_owned());
    }

    /// Counts a request in the bucket of an instance, which a clock that was set back empties.
    fn count_turn(&self, seat: &Seat) {
        let (now, bucket) = (self.now(), Bucket::machine());
        let mut turns = self.0.turns.borrow_mut();
        let (last, full_at) = turns.entry(seat.instance).or_default();
        let is_steady = *last == Duration::ZERO || self.0.plan.is_steady(seat.machine, &(*last..=now));
        let debt = if is_steady { full_at.saturating_sub(now) } else { bucket.every * bucket.burst };
        (*last, *full_at) = (now, now + debt + bucket.every);
    }

    /// Whether requests of any instance wait for the rate limit, or just did.
    fn waits_for_turns(&self) -> bool {
        let (bucket, turns) = (Bucket::machine(), self.0.turns.borrow());
        let nearly = bucket.every * (bucket.burst - 2);
        turns.values().any(|(_, full_at)| *full_at >= self.now() + nearly)
    }

    /// A fetch that was begun with the store does not count.
    fn check_rate_without_store(&self, seat: &Seat, begun: Duration) {
        let (plan, now) = (&self.0.plan, self.now());
        let Some(since) = plan.without_store_since(seat.machine, now) else { return };
        if begun < since + STORE_LOSS_NOTICED || !plan.is_steady(seat.machine, &(since..=now)) {
            return;
        }
        let holds =
            Bucket::without_store().take(&mut self.0.without_store.borrow_mut(), seat.instance, now, true);
        self.check(holds, || {
            "without the store an instance sends 10 requests at once and then one a second".to_owned()
        });
    }

    /// The platform issues a token.
    pub(crate) fn issued(&self, seat: &Seat, key: usize, secret: &str, ends: Duration, ahead: i64) {
        let issued = Issued { key, at: self.now(), ends, by: seat.instance, ahead };
        self.0.issued.borrow_mut().insert(secret.to_owned(), issued);
    }

    /// A request ends, with or without a response.
    pub(crate) fn answered(&self, seat: &Seat, key: usize, id: u64, (status, rest): (Option<u16>, Duration)) {
        let (now, plan) = (self.now(), &self.0.plan);
        let outcome = match status {
            Some(200) => {
                // The earliest due time is that of a shared token with the longest jitter, by a clock that is ahead.
                let window = plan.window().min(plan.life - 360) * 9 / 10;
                let due = now + Duration::from_secs(window.saturating_sub(60));
                Outcome::Token { due, ends: now + Duration::from_secs(plan.life) }
            }
            _ => Outcome::Failure { until: now + rest.max(MIN_COOLDOWN) },
        };
        let record = |last: Option<&mut Last>| {
            if let Some(last) = last.filter(|last| last.id == id) {
                last.outcome = outcome;
                last.at = now;
            }
        };
        record(self.0.own.borrow_mut().get_mut(&(seat.instance, key)));
        record(self.0.fleets.borrow_mut().get_mut(&key));
        if let Some(own) = self.0.own.borrow().get(&(seat.instance, key)).filter(|_| status == Some(200)) {
            self.0.held.borrow_mut().insert(key, *own);
        }
    }

    /// A clock that jumped during the response may prolong the lifetime of the token.
    pub(crate) fn received(&self, secret: &str, ahead: i64) {
        if let Some(issued) = self.0.issued.borrow_mut().get_mut(secret) {
            issued.ahead = issued.ahead.max(ahead);
        }
    }

    /// A caller, whose call began at `began`, gets a token.
    pub(crate) fn given(&self, seat: &Seat, key: usize, token: &Token, began: Duration) {
        let (now, plan) = (self.now(), &self.0.plan);
        let secret = token.secret().expose_secret();
        let issued = self.0.issued.borrow();
        let Some(issued) = issued.get(secret) else {
            return self.check(false, || "a token is one that the platform made".to_owned());
        };
        self.check(issued.key == key, || {
            format!("a token is for what was asked: {key}, and this one is for {}", issued.key)
        });
        let adopted = if issued.by == seat.instance { 0 } else { 60 };
        let late = (issued.ahead.max(0) - plan.offset(seat.machine, now) - adopted).max(0).unsigned_abs();
        self.check(token.is_usable(seat.clock()), || {
            "no token is expired by the clock of who returns it".to_owned()
        });
        self.check(now < issued.ends + Duration::from_secs(late), || {
            format!("no token is expired: this one ended at {:.3} s", issued.ends.as_secs_f64())
        });
        if let Some((refused, at)) = self.0.refused.borrow().get(&(seat.instance, key)) {
            self.check(refused != secret || began <= *at || !plan.is_undisturbed(*at..=now), || {
                format!(
                    "a token that a service refused is not given again: instance {} was told at {:.3} s, and was asked at {:.3} s",
                    seat.instance, at.as_secs_f64(), began.as_secs_f64()
                )
            });
        }
    }

    /// A service refuses a token, and the instance forgets the tokens of its scope.
    pub(crate) fn forgotten(&self, seat: &Seat, refused_key: usize, token: &Token) {
        let (secret, now) = (token.secret().expose_secret().to_owned(), self.now());
        for key in [refused_key, refused_key ^ 1] {
            self.0.refused_at.borrow_mut().insert(key, now);
            let excuse = |last: &mut Last| last.excused = true;
            self.0.own.borrow_mut().get_mut(&(seat.instance, key)).map(excuse);
            self.0.fleets.borrow_mut().get_mut(&key).map(excuse);
            self.0.held.borrow_mut().get_mut(&key).map(excuse);
            let mut pauses = self.0.pauses.borrow_mut();
            let pause = pauses.entry((seat.instance, key)).or_default();
            // Shortly after another refusal, also one by another instance, it stays.
            let is_young = self
                .0
                .issued
                .borrow()
                .get(&secret)
                .is_none_or(|it| now < it.at + BETWEEN_FORGETS + CLOCK_SKEW);
            let goes = *pause <= now && !is_young;
            *pause = now + BETWEEN_FORGETS;
            // An instance remembers the last refused token; that of the other key is not known here.
            match goes && key == refused_key {
                true => self.0.refused.borrow_mut().insert((seat.instance, key), (secret.clone(), now)),
                false => self.0.refused.borrow_mut().remove(&(seat.instance, key)),
            };
        }
    }

    /// A call ends.
    pub(crate) fn ended(&self, seat: &Seat, key: usize, began: Duration, error: Option<&Error>) {
        let (plan, now) = (&self.0.plan, self.now());
        let took = now - began;
        // A call may wait for one that began earlier.
        let steady = plan.is_steady(seat.machine, &(began.saturating_sub(LONGEST_CALL)..=now));
        // The deadline does not end an operation that blocks the instance.
        let blocked = if seat.blocking.is_some() { LONGEST_BLOCK * 3 } else { Duration::ZERO };
        self.check(took <= LONGEST_CALL + blocked || !steady, || {
            format!(
                "every call ends within {} s, and this one took {:.3}",
                LONGEST_CALL.as_secs(),
                took.as_secs_f64()
            )
        });
        // An abandoned call leaves a lease.
        let is_left = self.0.world.was_abandoned_since(key, began.saturating_sub(LEASE_END));
        let well = began >= plan.recovery() && !is_left;
        let in_turn = self.waits_for_turns();
        // A replayed lease is ignored after it was unchanged for the lifetime of a lease.
        let soon = if plan.spoils() { SHORT_CALL + LEASE_END } else { SHORT_CALL };
        // A token that was refused before a waiting call saw it makes the call wait for the next one.
        let was_refused = self.0.refused_at.borrow().get(&key).is_some_and(|at| *at >= began);
        let soon = if was_refused { soon * 2 } else { soon };
        self.check(!well || took <= soon || in_turn && took <= LONGEST_CALL, || {
            format!(
                "when all is well a call takes {} s at most, and this one took {:.3}",
                soon.as_secs(),
                took.as_secs_f64()
            )
        });
        let Some(error) = error else { return };
        self.shown("an error", &format!("{error} {error:?}"));
        self.check(!well, || format!("everybody is served when all is well, and this call got: {error}"));
        let holds = self.0.held.borrow().get(&key).is_some_and(|last| self.holds(last));
        self.check(!holds, || {
            format!("nobody goes without while the fleet holds a good token, and this call got: {error}")
        });
    }

    /// Whether the fleet has a token that all instances had the time to see.
    fn holds(&self, last: &Last) -> bool {
        let (world, now) = (&self.0.world, self.now());
        let settled = !world.is_alive(last.task) && !world.was_killed(last.task) && !last.excused;
        match last.outcome {
            Outcome::Token { ends, .. } => {
                settled
                    && last.at + CLOCK_SKEW <= now
                    && now + CLOCK_SKEW * 2 <= ends
                    && self.0.plan.is_undisturbed(last.at..=now)
            }
            Outcome::Nothing | Outcome::Failure { .. } => false,
        }
    }

    /// An entry is written to the store.
    pub(crate) fn stored(&self, name: &str, value: &[u8]) {
        self.shown("the store", name);
        self.shown("the store", &String::from_utf8_lossy(value));
    }

    /// A text becomes visible outside.
    pub(crate) fn shown(&self, what: &str, text: &str) {
        let secret = [SENTINEL, STORE_KEY].iter().any(|secret| text.contains(secret));
        self.check(!secret, || format!("nothing secret is in {what}"));
    }
}

/// A rate limit: `burst` at once, and one more in each interval.
struct Bucket {
    burst: u32,
    every: Duration,
}

impl Bucket {
    fn machine() -> Self {
        Self { burst: 20, every: Duration::from_millis(200) }
    }

    fn without_store() -> Self {
        Self { burst: 10, every: Duration::from_secs(1) }
    }

    /// Whether one more request is within the limit. A clock that jumps fills the bucket.
    fn take(&self, of: &mut BTreeMap<Group, Duration>, by: Group, now: Duration, is_steady: bool) -> bool {
        let full_at = of.entry(by).or_default();
        *full_at = (if is_steady { *full_at } else { now }).max(now) + self.every;
        *full_at <= now + self.every * self.burst
    }
}

/// The sentinel in every token.
pub(crate) const SENTINEL: &str = "sentinel";
pub(crate) const STORE_KEY: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";
/// The time in which an instance notices the loss of the store.
const STORE_LOSS_NOTICED: Duration = Duration::from_secs(3);
/// The time in which a token is published, and a fetch without a lease finds it.
const PUBLICATION: Duration = Duration::from_secs(3);
const MIN_COOLDOWN: Duration = Duration::from_secs(1);
const BETWEEN_FORGETS: Duration = Duration::from_secs(30);
/// The longest call: the broker's default budget of 90 s, and five for the store.
const LONGEST_CALL: Duration = Duration::from_secs(95);
/// The time for which the lease of an abandoned fetch makes other instances wait.
const LEASE_END: Duration = Duration::from_secs(6);
const SHORT_CALL: Duration = Duration::from_secs(2);
/// The largest difference of two clocks, by which a failure may last longer.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
