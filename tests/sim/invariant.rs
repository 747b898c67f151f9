//! What must hold at every step, as the documentation of this program says it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use token_broker::{Error, ExposeSecret as _, Token};

use crate::fault::Plan;
use crate::machine::Seat;
use crate::world::{Group, TaskId, World};

/// The ledger of a run; all clones are the same.
#[derive(Clone)]
pub(crate) struct Invariants(Rc<State>);

struct State {
    world: World,
    plan: Rc<Plan>,
    minted: RefCell<BTreeMap<String, Minted>>,
    /// The last request for each token by anybody, and by each instance.
    fleets: RefCell<BTreeMap<usize, Last>>,
    own: RefCell<BTreeMap<(Group, usize), Last>>,
    /// The last request for each token that came to one.
    held: RefCell<BTreeMap<usize, Last>>,
    /// The token that a service refused last, and when.
    refused: RefCell<BTreeMap<(Group, usize), (String, Duration)>>,
    /// When the bucket of each instance is full again: that of the rate limit, and the one without a store.
    buckets: RefCell<BTreeMap<Group, Duration>>,
    /// The last request of each instance, and when the bucket is full again as the instance sees it.
    turns: RefCell<BTreeMap<Group, (Duration, Duration)>>,
    alone: RefCell<BTreeMap<Group, Duration>>,
    /// Until when a token is not forgotten again.
    pauses: RefCell<BTreeMap<(Group, usize), Duration>>,
    /// The last two times that an instance asked for a token only because a service had refused the one before.
    forgets: RefCell<BTreeMap<(Group, usize), Twice>>,
}

/// The last two times that something happened, the older one first.
type Twice = [Option<Duration>; 2];

/// A token, as only the platform knows it.
struct Minted {
    key: usize,
    ends: Duration,
    by: Group,
    /// How far the clock of whoever asked for it was ahead, in seconds.
    ahead: i64,
}

#[derive(Clone, Copy)]
struct Last {
    id: u64,
    /// When it was sent.
    sent: Duration,
    /// When it was answered, or until then sent.
    at: Duration,
    /// How long it may take.
    limit: Duration,
    /// When its fetch made its first request.
    begun: Duration,
    /// The task that polled it last.
    task: TaskId,
    /// Whether it was left alone for a time.
    was_alone: bool,
    came: Came,
    /// A service refused what came of it.
    excused: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Came {
    Nothing,
    /// A token that nobody needs to replace before it is due.
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
            minted: RefCell::default(),
            fleets: RefCell::default(),
            own: RefCell::default(),
            held: RefCell::default(),
            refused: RefCell::default(),
            buckets: RefCell::default(),
            turns: RefCell::default(),
            alone: RefCell::default(),
            pauses: RefCell::default(),
            forgets: RefCell::default(),
        }))
    }

    fn now(&self) -> Duration {
        self.0.world.now()
    }

    fn insist(&self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.0.world.violated(words);
        }
    }

    /// A request reaches the platform. The number tells it from others.
    pub(crate) fn asked(&self, seat: &Seat, key: usize, limit: Duration) -> u64 {
        let (now, task, id) = (self.now(), self.0.world.running(), self.0.world.serial());
        let own = self.0.own.borrow().get(&(seat.instance, key)).copied();
        let counts = |own: &Last| {
            self.0.plan.is_steady(seat.machine, &(own.sent..=now)) && !self.was_overtaken(own, key)
        };
        if let Some(own) = own.filter(counts) {
            self.insist(own.came != Came::Nothing || own.at + own.limit <= now, || {
                "a fetch goes on when its caller gives up: an instance asks anew after the request's limit"
                    .to_owned()
            });
            self.reasonable(&own, "an instance");
            self.forgets_seldom(seat, key, &own);
        }
        let fleets = self.0.fleets.borrow().get(&key).copied();
        // A fetch that was left alone, the next of its tries included, has lost its lease, and only sees what has come.
        let goes_on = |own: &Last| {
            own.task == task || matches!(own.came, Came::Failure { .. }) && self.0.world.was_killed(own.task)
        };
        let was_alone = own.filter(goes_on).is_some_and(|own| own.was_alone || own.task != task)
            || self.0.world.was_left_alone_since(seat.instance, now.saturating_sub(LONGEST_CALL));
        if let Some(last) = fleets.filter(|last| self.0.plan.is_whole(last.sent..=now)) {
            let last = Last { excused: last.excused && matches!(last.came, Came::Token { .. }), ..last };
            // Who holds the lease does not look for what one that has lost it fetches.
            if !last.was_alone && (!was_alone || self.was_seen(&last)) {
                self.reasonable(&last, "the fleet");
            }
        }
        let begun = own.filter(goes_on).map_or(now, |own| own.begun);
        self.within_limit(seat);
        self.within_limit_alone(seat, begun);
        let came = Came::Nothing;
        let last = Last { id, sent: now, at: now, limit, begun, task, was_alone, came, excused: false };
        self.0.own.borrow_mut().insert((seat.instance, key), last);
        self.0.fleets.borrow_mut().insert(key, last);
        id
    }

    /// Whether a token came of a request, which a fetch without a lease has looked for, too.
    fn was_seen(&self, last: &Last) -> bool {
        let has_ended = !self.0.world.is_alive(last.task) && !self.0.world.was_killed(last.task);
        matches!(last.came, Came::Token { .. }) && has_ended && last.at + LOOKED <= self.now()
    }

    /// Whether a request that has not ended may have been given up for a token that another one brought.
    fn was_overtaken(&self, own: &Last, key: usize) -> bool {
        let held = self.0.held.borrow();
        own.came == Came::Nothing && held.get(&key).is_some_and(|held| held.id != own.id)
    }

    /// A task polls a request, perhaps after another did.
    pub(crate) fn polled(&self, seat: &Seat, key: usize, id: u64) {
        let world = &self.0.world;
        let polled = |last: Option<&mut Last>| {
            if let Some(last) = last.filter(|last| last.id == id) {
                last.was_alone |= world.was_killed_before(last.task);
                last.task = world.running();
            }
        };
        polled(self.0.own.borrow_mut().get_mut(&(seat.instance, key)));
        polled(self.0.fleets.borrow_mut().get_mut(&key));
    }

    /// A refusal is worth one fetch in [`BETWEEN_FORGETS`], but the first may come late.
    fn forgets_seldom(&self, seat: &Seat, key: usize, own: &Last) {
        let now = self.now();
        if !own.excused || !matches!(own.came, Came::Token { due, .. } if due > now) {
            return;
        }
        let mut forgets = self.0.forgets.borrow_mut();
        let [before, last] = forgets.entry((seat.instance, key)).or_default();
        let since = before.unwrap_or_default();
        let seldom = before.is_none_or(|before| before + BETWEEN_FORGETS <= now);
        self.insist(seldom || !self.0.plan.is_steady(seat.machine, &(since..=now)), || {
            "a token is forgotten once in 30 s".to_owned()
        });
        (*before, *last) = (*last, Some(now));
    }

    /// Whether there is a reason to ask after the last request.
    fn reasonable(&self, last: &Last, who: &str) {
        let (world, now) = (&self.0.world, self.now());
        if world.was_killed(last.task) {
            return;
        }
        let goes_on =
            world.is_alive(last.task) && last.task != world.running() && !world.has_handed_over(last.task);
        match last.came {
            Came::Nothing => self.insist(false, || format!("{who} asks once at a time for a token")),
            Came::Token { due, .. } => self.insist(last.excused || due <= now, || {
                format!(
                    "{who} asks once for a token and refresh window: it is due at {:.3} s",
                    due.as_secs_f64()
                )
            }),
            Came::Failure { .. } if goes_on => {
                self.insist(false, || format!("{who} asks once at a time for a token, retries included"));
            }
            Came::Failure { until } => self.insist(last.excused || until <= now, || {
                format!("{who} rests as long as the platform wants, here until {:.3} s", until.as_secs_f64())
            }),
        }
    }

    fn within_limit(&self, seat: &Seat) {
        let now = self.now();
        let is_steady = self.0.plan.is_steady(seat.machine, &(now.saturating_sub(SEEN)..=now));
        self.count_turn(seat);
        let holds =
            Bucket::of_a_machine().take(&mut self.0.buckets.borrow_mut(), seat.instance, now, is_steady);
        self.insist(holds, || "an instance sends 20 requests at once and then five a second".to_owned());
    }

    /// A clock that was set back since the last request leaves an instance with an empty bucket.
    fn count_turn(&self, seat: &Seat) {
        let (now, bucket) = (self.now(), Bucket::of_a_machine());
        let mut turns = self.0.turns.borrow_mut();
        let (last, full_at) = turns.entry(seat.instance).or_default();
        let is_steady = *last == Duration::ZERO || self.0.plan.is_steady(seat.machine, &(*last..=now));
        let debt = if is_steady { full_at.saturating_sub(now) } else { bucket.every * bucket.burst };
        (*last, *full_at) = (now, now + debt + bucket.every);
    }

    /// True while requests wait for their turns, or just did: those of an instance, and of others for whom it fetches.
    fn waits_for_turns(&self) -> bool {
        let (bucket, turns) = (Bucket::of_a_machine(), self.0.turns.borrow());
        let nearly = bucket.every * (bucket.burst - 2);
        turns.values().any(|(_, full_at)| *full_at >= self.now() + nearly)
    }

    /// A fetch that was begun with the store is made an end of.
    fn within_limit_alone(&self, seat: &Seat, begun: Duration) {
        let (plan, now) = (&self.0.plan, self.now());
        let Some(since) = plan.without_store_since(seat.machine, now) else { return };
        if begun < since + NOTICED || !plan.is_steady(seat.machine, &(since..=now)) {
            return;
        }
        let holds = Bucket::alone().take(&mut self.0.alone.borrow_mut(), seat.instance, now, true);
        self.insist(holds, || {
            "without the store an instance sends 10 requests at once and then one a second".to_owned()
        });
    }

    /// The platform made a token.
    pub(crate) fn minted(&self, seat: &Seat, key: usize, secret: &str, ends: Duration, ahead: i64) {
        let minted = Minted { key, ends, by: seat.instance, ahead };
        self.0.minted.borrow_mut().insert(secret.to_owned(), minted);
    }

    /// The answer of the platform came back, or none did.
    pub(crate) fn answered(&self, seat: &Seat, key: usize, id: u64, (status, rest): (Option<u16>, Duration)) {
        let (now, plan) = (self.now(), &self.0.plan);
        let came = match status {
            Some(200) => {
                // The earliest is an adopted token with the longest jitter, by a clock that is ahead.
                let window = plan.window().min(plan.life - 360) * 9 / 10;
                let due = now + Duration::from_secs(window.saturating_sub(60));
                Came::Token { due, ends: now + Duration::from_secs(plan.life) }
            }
            _ => Came::Failure { until: now + rest.max(SHORTEST_REST) },
        };
        let came_of = |last: Option<&mut Last>| {
            if let Some(last) = last.filter(|last| last.id == id) {
                last.came = came;
                last.at = now;
            }
        };
        came_of(self.0.own.borrow_mut().get_mut(&(seat.instance, key)));
        came_of(self.0.fleets.borrow_mut().get_mut(&key));
        if let Some(own) = self.0.own.borrow().get(&(seat.instance, key)).filter(|_| status == Some(200)) {
            self.0.held.borrow_mut().insert(key, *own);
        }
    }

    /// A clock that jumped while the answer came may have made the token seem to live longer.
    pub(crate) fn received(&self, secret: &str, ahead: i64) {
        if let Some(minted) = self.0.minted.borrow_mut().get_mut(secret) {
            minted.ahead = minted.ahead.max(ahead);
        }
    }

    /// A token is given to a caller, whose call began at a moment.
    pub(crate) fn given(&self, seat: &Seat, key: usize, token: &Token, began: Duration) {
        let (now, plan) = (self.now(), &self.0.plan);
        let secret = token.secret().expose_secret();
        let minted = self.0.minted.borrow();
        let Some(minted) = minted.get(secret) else {
            return self.insist(false, || "a token is one that the platform made".to_owned());
        };
        self.insist(minted.key == key, || {
            format!("a token is for what was asked: {key}, and this one is for {}", minted.key)
        });
        let adopted = if minted.by == seat.instance { 0 } else { 60 };
        let late = (minted.ahead.max(0) - plan.offset(seat.machine, now) - adopted).max(0).unsigned_abs();
        self.insist(token.is_usable(seat.clock()), || {
            "no token is expired by the clock of who returns it".to_owned()
        });
        self.insist(now < minted.ends + Duration::from_secs(late), || {
            format!("no token is expired: this one ended at {:.3} s", minted.ends.as_secs_f64())
        });
        if let Some((refused, at)) = self.0.refused.borrow().get(&(seat.instance, key)) {
            self.insist(refused != secret || began <= *at || !plan.is_whole(*at..=now), || {
                format!(
                    "a token that a service refused is not given again: instance {} was told at {:.3} s, and was asked at {:.3} s",
                    seat.instance, at.as_secs_f64(), began.as_secs_f64()
                )
            });
        }
    }

    /// A service refused a token, and the instance forgot those of its scope.
    pub(crate) fn forgotten(&self, seat: &Seat, refused_key: usize, token: &Token) {
        let (secret, now) = (token.secret().expose_secret().to_owned(), self.now());
        for key in [refused_key, refused_key ^ 1] {
            let excuse = |last: &mut Last| last.excused = true;
            self.0.own.borrow_mut().get_mut(&(seat.instance, key)).map(excuse);
            self.0.fleets.borrow_mut().get_mut(&key).map(excuse);
            self.0.held.borrow_mut().get_mut(&key).map(excuse);
            let mut pauses = self.0.pauses.borrow_mut();
            let pause = pauses.entry((seat.instance, key)).or_default();
            // A moment after another, it may stay.
            let goes = *pause <= now;
            *pause = now + BETWEEN_FORGETS;
            // An instance remembers the last one, and which one of the other key's that is it knows alone.
            match goes && key == refused_key {
                true => self.0.refused.borrow_mut().insert((seat.instance, key), (secret.clone(), now)),
                false => self.0.refused.borrow_mut().remove(&(seat.instance, key)),
            };
        }
    }

    /// A call ended.
    pub(crate) fn ended(&self, seat: &Seat, key: usize, began: Duration, error: Option<&Error>) {
        let (plan, now) = (&self.0.plan, self.now());
        let took = now - began;
        // A call may wait for one that began before it.
        let steady = plan.is_steady(seat.machine, &(began.saturating_sub(LONGEST_CALL)..=now));
        self.insist(took <= LONGEST_CALL || !steady, || {
            format!(
                "every call ends within {} s, and this one took {:.3}",
                LONGEST_CALL.as_secs(),
                took.as_secs_f64()
            )
        });
        // Whoever gives up leaves a lease.
        let is_left = self.0.world.was_deserted_since(key, began.saturating_sub(LEASE));
        let well = began >= plan.well_again() && !is_left;
        let in_turn = self.waits_for_turns();
        // An old lease that came back is nobody's once it has stayed as it is for a lease's time.
        let soon = if plan.spoils() { SOON + LEASE } else { SOON };
        self.insist(!well || took <= soon || in_turn && took <= LONGEST_CALL, || {
            format!(
                "when all is well a call takes {} s at most, and this one took {:.3}",
                soon.as_secs(),
                took.as_secs_f64()
            )
        });
        let Some(error) = error else { return };
        self.shown("an error", &format!("{error} {error:?}"));
        self.insist(!well, || format!("everybody is served when all is well, and this call got: {error}"));
        let holds = self.0.held.borrow().get(&key).is_some_and(|last| self.holds(last));
        self.insist(!holds, || {
            format!("nobody goes without while the fleet holds a good token, and this call got: {error}")
        });
    }

    /// Whether the fleet has a token, and everybody had the time to see it.
    fn holds(&self, last: &Last) -> bool {
        let (world, now) = (&self.0.world, self.now());
        let settled = !world.is_alive(last.task) && !world.was_killed(last.task) && !last.excused;
        match last.came {
            Came::Token { ends, .. } => {
                settled
                    && last.at + SEEN <= now
                    && now + SEEN * 2 <= ends
                    && self.0.plan.is_whole(last.at..=now)
            }
            Came::Nothing | Came::Failure { .. } => false,
        }
    }

    /// Something is put into the store.
    pub(crate) fn stored(&self, name: &str, value: &[u8]) {
        self.shown("the store", name);
        self.shown("the store", &String::from_utf8_lossy(value));
    }

    /// Somebody who is not trusted sees a text.
    pub(crate) fn shown(&self, what: &str, text: &str) {
        let secret = [SENTINEL, STORE_KEY].iter().any(|secret| text.contains(secret));
        self.insist(!secret, || format!("nothing secret is in {what}"));
    }
}

/// A rate limit: so many at once, and one more each time that so much has passed.
struct Bucket {
    burst: u32,
    every: Duration,
}

impl Bucket {
    fn of_a_machine() -> Self {
        Self { burst: 20, every: Duration::from_millis(200) }
    }

    fn alone() -> Self {
        Self { burst: 10, every: Duration::from_secs(1) }
    }

    /// Whether one more is within it. A clock that jumps makes it full.
    fn take(&self, of: &mut BTreeMap<Group, Duration>, by: Group, now: Duration, is_steady: bool) -> bool {
        let full_at = of.entry(by).or_default();
        *full_at = (if is_steady { *full_at } else { now }).max(now) + self.every;
        *full_at <= now + self.every * self.burst
    }
}

/// What every token contains.
pub(crate) const SENTINEL: &str = "sentinel";
pub(crate) const STORE_KEY: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";
/// An instance notices within this that the store is gone.
const NOTICED: Duration = Duration::from_secs(3);
/// How often a fetch without a lease looks for what others fetched, and how long they take to publish it.
const LOOKED: Duration = Duration::from_secs(3);
const SHORTEST_REST: Duration = Duration::from_secs(1);
const BETWEEN_FORGETS: Duration = Duration::from_secs(30);
/// The broker's default budget of 90 s, and five for the store.
const LONGEST_CALL: Duration = Duration::from_secs(95);
/// How long what a caller gave up may keep other instances waiting.
const LEASE: Duration = Duration::from_secs(6);
const SOON: Duration = Duration::from_secs(2);
/// By how much two clocks differ at most, for that is how much longer a failure may seem to last.
const SEEN: Duration = Duration::from_secs(60);
