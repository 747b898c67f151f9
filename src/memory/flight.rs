//! Single-flight: for each key one fetch is under way at most, and it is the broker's, not a caller's.
//!
//! - Keys do not wait for one another.
//! - All who wait share the outcome, success or failure.
//! - The first of those who wait polls the fetch. When it gives up, or puts its wait off, the next one does.
//! - When nobody is left, the fetch stays as it is, and the next caller resumes it, if it has asked and is within its
//!   own limits ([`Term`]); else it is begun anew.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::term::Term;
use crate::model::{Error, Failure, Token};
use crate::policy::CacheKey;

/// The result of a fetch.
pub(crate) type FetchResult = Result<Rc<Token>, Error>;

/// A fetch, which keeps its result itself.
pub(crate) type Work = Pin<Box<dyn Future<Output = FetchResult>>>;

/// Makes a fetch that has not begun.
type Begin<'a> = dyn Fn() -> (Rc<Term>, Work) + 'a;

/// The fetches that are under way: few enough to be looked through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Rc<RefCell<Vec<Rc<Flight>>>>);

struct Flight {
    key: CacheKey,
    term: Rc<Term>,
    /// None while it is polled, and after its end.
    work: RefCell<Option<Work>>,
    has_begun: Cell<bool>,
    /// Nobody else joins it. Those who wait for it may still go on with it.
    is_closed: Cell<bool>,
    outcome: RefCell<Option<FetchResult>>,
    /// How many [`Wait`]s there are, those included that were not polled yet.
    waits: Cell<usize>,
    /// Those that were polled, in the order in which they came. The first polls the work.
    waiting: RefCell<Vec<(u64, Waker)>>,
    next_seat: Cell<u64>,
    relay: Arc<Relay>,
}

/// Wakes the waiter that polls the work. Its task may end before the work does, and is not woken then.
#[derive(Default)]
struct Relay(AtomicWaker);

impl Flights {
    /// Wait for the fetch for a key; `begin` begins it if none is under way.
    ///
    /// # Errors
    /// [`Error::Throttled`] when [`CAPACITY`] fetches are under way.
    pub(crate) fn join(&self, key: &CacheKey, now: Duration, begin: &Begin<'_>) -> Result<Wait, Error> {
        self.drop_idle(now);
        let flight = match self.flying(key) {
            Some(flight) => flight,
            None => self.begin(key, begin).ok_or_else(full)?,
        };
        Ok(Wait::new(self, flight))
    }

    /// As [`Flights::join`], unless somebody waits for the fetch already, or it cannot begin.
    pub(crate) fn lead(&self, key: &CacheKey, now: Duration, begin: &Begin<'_>) -> Option<Wait> {
        self.flying(key).is_none_or(|flight| flight.is_alone()).then(|| self.join(key, now, begin).ok())?
    }

    /// Have nobody join a fetch whose token was forgotten while the store is still told of it.
    pub(crate) fn close_served(&self, is_forgotten: impl Fn(&CacheKey) -> bool) {
        let flights = self.0.borrow();
        let served = flights.iter().filter(|flight| flight.term.is_served() && is_forgotten(&flight.key));
        served.for_each(|flight| flight.is_closed.set(true));
    }

    /// Drop all fetches.
    pub(crate) fn clear(&self) {
        drop(self.0.take());
    }

    fn begin(&self, key: &CacheKey, begin: &Begin<'_>) -> Option<Rc<Flight>> {
        if self.0.borrow().len() >= CAPACITY {
            let alone = self.0.borrow().iter().find(|flight| flight.is_alone()).cloned()?;
            self.remove(&alone);
        }
        let (term, work) = begin();
        let flight = Rc::new(Flight::new(key.clone(), term, work));
        self.0.borrow_mut().push(Rc::clone(&flight));
        Some(flight)
    }

    fn flying(&self, key: &CacheKey) -> Option<Rc<Flight>> {
        self.0.borrow().iter().find(|flight| flight.key == *key && !flight.is_closed.get()).cloned()
    }

    /// Close the fetches that nobody polls and that are not worth going on with, and drop those that nobody can go on
    /// with.
    fn drop_idle(&self, now: Duration) {
        let is_idle = |flight: &&Rc<Flight>| flight.is_idle() && !flight.term.is_resumable(now);
        self.0.borrow().iter().filter(is_idle).for_each(|flight| flight.is_closed.set(true));
        let is_dead = |flight: &Rc<Flight>| flight.is_closed.get() && flight.is_alone();
        let dead: Vec<_> = self.0.borrow_mut().extract_if(.., |flight| is_dead(flight)).collect();
        drop(dead);
    }

    fn remove(&self, flight: &Rc<Flight>) {
        let removed = self.0.borrow_mut().extract_if(.., |other| Rc::ptr_eq(other, flight)).next();
        drop(removed);
    }

    /// A fetch that nobody polls may be the first of those who wait for a managed identity's token, its proof: the
    /// others are woken and line up anew.
    fn line_up_anew(&self) {
        let proofs: Vec<_> =
            self.0.borrow().iter().filter(|flight| flight.key.is_assertion()).cloned().collect();
        for flight in proofs {
            flight.wake_all();
        }
    }
}

impl Flight {
    fn new(key: CacheKey, term: Rc<Term>, work: Work) -> Self {
        Self {
            key,
            term,
            work: RefCell::new(Some(work)),
            has_begun: Cell::default(),
            is_closed: Cell::default(),
            outcome: RefCell::default(),
            waits: Cell::default(),
            waiting: RefCell::default(),
            next_seat: Cell::default(),
            relay: Arc::default(),
        }
    }

    fn is_alone(&self) -> bool {
        self.waits.get() == 0
    }

    fn is_idle(&self) -> bool {
        self.has_begun.get() && self.waiting.borrow().is_empty()
    }

    fn has_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Wake all who wait, who may take a seat again.
    fn wake_all(&self) {
        self.waiting.take().into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn is_first(&self, seat: u64) -> bool {
        self.waiting.borrow().first().is_some_and(|(first, _)| *first == seat)
    }

    /// Take a seat, or keep it.
    fn sit(&self, seat: Option<u64>, waker: &Waker) -> u64 {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(seat) = seat
            && let Some((_, place)) = waiting.iter_mut().find(|(taken, _)| *taken == seat)
        {
            place.clone_from(waker);
            return seat;
        }
        let seat = self.next_seat.get();
        self.next_seat.set(seat.saturating_add(1));
        waiting.push((seat, waker.clone()));
        seat
    }

    /// Leave a seat, and have the next one poll if it was the first.
    fn leave(&self, seat: u64) {
        let was_first = self.is_first(seat);
        let next = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|(taken, _)| *taken != seat);
            waiting.first().filter(|_| was_first).map(|(_, waker)| waker.clone())
        };
        if was_first {
            // Its task may be gone.
            drop(self.relay.0.take());
        }
        next.iter().for_each(Waker::wake_by_ref);
    }

    /// Poll the work on behalf of the first of those who wait.
    fn work_on(&self, waker: &Waker) -> Option<FetchResult> {
        self.relay.0.register(waker);
        let mut work = self.work.take()?;
        self.has_begun.set(true);
        match work.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.relay)))) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                self.work.replace(Some(work));
                None
            }
        }
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

/// Resolves to the outcome of a fetch, and polls it meanwhile if it is its turn.
#[derive(Debug)]
pub(crate) struct Wait {
    flights: Flights,
    flight: Rc<Flight>,
    seat: Option<u64>,
}

impl Wait {
    fn new(flights: &Flights, flight: Rc<Flight>) -> Self {
        flight.waits.set(flight.waits.get().saturating_add(1));
        Self { flights: flights.clone(), flight, seat: None }
    }

    /// Whether it waits for a fetch that another call began.
    pub(crate) fn is_for_anothers(&self) -> bool {
        self.flight.has_begun.get()
    }

    /// Whether another fetch has taken the place of this one, which nobody polled for too long.
    pub(crate) fn is_closed(&self) -> bool {
        self.flight.is_closed.get()
    }

    /// Have others poll the fetch until this is polled again, which may be long from now.
    pub(crate) fn put_off(mut self) -> Self {
        self.leave();
        self
    }

    fn leave(&mut self) {
        let Some(seat) = self.seat.take() else { return };
        self.flight.leave(seat);
        if self.flight.is_idle() && !self.flight.has_ended() && !self.flight.key.is_assertion() {
            self.flights.line_up_anew();
        }
    }

    /// Let a fetch that nobody has polled yet take until then, and no longer.
    pub(crate) fn set_deadline(&self, now: Duration, deadline: Duration) {
        if !self.flight.has_begun.get() {
            self.flight.term.restart(now, deadline);
        }
    }
}

impl Future for Wait {
    type Output = FetchResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<FetchResult> {
        let flight = Rc::clone(&self.flight);
        if let Some(outcome) = &*flight.outcome.borrow() {
            return Poll::Ready(outcome.clone());
        }
        let seat = flight.sit(self.seat, context.waker());
        self.seat = Some(seat);
        if !flight.is_first(seat) {
            return Poll::Pending;
        }
        let Some(outcome) = flight.work_on(context.waker()) else { return Poll::Pending };
        flight.outcome.replace(Some(outcome.clone()));
        self.flights.remove(&flight);
        flight.waiting.borrow_mut().retain(|(taken, _)| *taken != seat);
        flight.wake_all();
        Poll::Ready(outcome)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.leave();
        let flight = &self.flight;
        flight.waits.set(flight.waits.get().saturating_sub(1));
        if flight.is_alone() && !flight.has_begun.get() {
            self.flights.remove(flight);
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("key", &self.key).field("term", &self.term).finish_non_exhaustive()
    }
}

fn full() -> Error {
    Error::Throttled(Failure {
        source: "token-broker".into(),
        message: format!("{CAPACITY} different tokens are being fetched at once"),
        remedy: Some("ask for fewer different scopes and identities at once".to_owned()),
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::default()
    })
}

/// Fetches under way at once. A caller that makes up scopes is stopped here, before it floods the endpoint.
const CAPACITY: usize = 256;
