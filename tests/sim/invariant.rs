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
    /// When the budget of each instance is whole again.
    budgets: RefCell<BTreeMap<Group, Duration>>,
}

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
    at: Duration,
    /// When its task made its first request.
    begun: Duration,
    task: TaskId,
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
            budgets: RefCell::default(),
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

    /// A request reaches the platform.
    pub(crate) fn asked(&self, seat: &Seat, key: usize) {
        let (now, task) = (self.now(), self.0.world.running());
        let own = self.0.own.borrow().get(&(seat.instance, key)).copied();
        if let Some(own) = own.filter(|own| self.0.plan.is_steady(seat.machine, &(own.at..=now))) {
            self.reasonable(&own, "an instance");
        }
        let fleets = self.0.fleets.borrow().get(&key).copied();
        if let Some(last) = fleets.filter(|last| self.0.plan.is_whole(last.at..=now)) {
            self.reasonable(
                &Last { excused: last.excused && matches!(last.came, Came::Token { .. }), ..last },
                "the fleet",
            );
        }
        let begun = own.filter(|own| own.task == task).map_or(now, |own| own.begun);
        self.within_budget(seat, begun);
        let last = Last { at: now, begun, task, came: Came::Nothing, excused: false };
        self.0.own.borrow_mut().insert((seat.instance, key), last);
        self.0.fleets.borrow_mut().insert(key, last);
    }

    /// Whether there is a reason to ask after the last request.
    fn reasonable(&self, last: &Last, who: &str) {
        let (world, now) = (&self.0.world, self.now());
        if world.was_killed(last.task) {
            return;
        }
        let goes_on = world.is_alive(last.task) && last.task != world.running();
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

    /// A fetch that was begun with the store is made an end of.
    fn within_budget(&self, seat: &Seat, begun: Duration) {
        let (plan, now) = (&self.0.plan, self.now());
        let Some(since) = plan.without_store_since(seat.machine, now) else { return };
        if begun < since + NOTICED || !plan.is_steady(seat.machine, &(since..=now)) {
            return;
        }
        let mut budgets = self.0.budgets.borrow_mut();
        let whole_at = budgets.entry(seat.instance).or_default();
        *whole_at = (*whole_at).max(now) + EVERY;
        self.insist(*whole_at <= now + EVERY * BURST, || {
            format!("without the store an instance sends {BURST} requests at once and then one a second")
        });
    }

    /// The platform made a token.
    pub(crate) fn minted(&self, seat: &Seat, key: usize, secret: &str, ends: Duration, ahead: i64) {
        let minted = Minted { key, ends, by: seat.instance, ahead };
        self.0.minted.borrow_mut().insert(secret.to_owned(), minted);
    }

    /// The answer of the platform came back, or none did.
    pub(crate) fn answered(&self, seat: &Seat, key: usize, status: Option<u16>, rest: Duration) {
        let (now, plan) = (self.now(), &self.0.plan);
        let came = match status {
            Some(200) => {
                // The earliest is an adopted token with the longest jitter, by a clock that is ahead.
                let window = plan.window().min(plan.life - 360) * 9 / 10;
                let due = now + Duration::from_secs(window.saturating_sub(60));
                Came::Token { due, ends: now + Duration::from_secs(plan.life) }
            }
            _ => Came::Failure { until: now + rest.max(EVERY) },
        };
        let task = self.0.world.running();
        let came_of = |last: Option<&mut Last>| {
            if let Some(last) = last.filter(|last| last.task == task) {
                last.came = came;
                last.at = now;
            }
        };
        came_of(self.0.own.borrow_mut().get_mut(&(seat.instance, key)));
        came_of(self.0.fleets.borrow_mut().get_mut(&key));
        if status == Some(200) {
            self.0.held.borrow_mut().insert(key, Last { at: now, begun: now, task, came, excused: false });
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
                "a token that a service refused is not given again".to_owned()
            });
        }
    }

    /// A service refused a token, and the instance forgot those of its scope.
    pub(crate) fn forgotten(&self, seat: &Seat, key: usize, token: &Token) {
        let secret = token.secret().expose_secret().to_owned();
        self.0.refused.borrow_mut().insert((seat.instance, key), (secret, self.now()));
        for key in [key, key ^ 1] {
            let excuse = |last: &mut Last| last.excused = true;
            self.0.own.borrow_mut().get_mut(&(seat.instance, key)).map(excuse);
            self.0.fleets.borrow_mut().get_mut(&key).map(excuse);
            self.0.held.borrow_mut().get_mut(&key).map(excuse);
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
        let well = began >= plan.well_again();
        self.insist(!well || took <= SOON, || {
            format!(
                "when all is well a call takes {} s at most, and this one took {:.3}",
                SOON.as_secs(),
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

/// What every token contains.
pub(crate) const SENTINEL: &str = "sentinel";
pub(crate) const STORE_KEY: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";
/// An instance notices within this that the store is gone.
const NOTICED: Duration = Duration::from_secs(3);
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_secs(1);
/// The broker's default budget of 90 s, and five for the store.
const LONGEST_CALL: Duration = Duration::from_secs(95);
const SOON: Duration = Duration::from_secs(2);
/// By how much two clocks differ at most, for that is how much longer a failure may seem to last.
const SEEN: Duration = Duration::from_secs(60);
