//! Single-flight: at most one fetch for each key is in progress. It belongs to the broker, not to a caller.
//!
//! - Fetches for different keys do not wait for each other.
//! - All waiters share the result, success or failure.
//! - The first waiter polls the fetch. When it is dropped or deferred, the next waiter polls.
//! - Without waiters a fetch is idle. The next caller resumes it if it has asked a source and is within its limits
//!   ([`Term`]); otherwise a new fetch begins.

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

/// The future of a fetch, which stores its own result.
pub(crate) type Work = Pin<Box<dyn Future<Output = FetchResult>>>;

/// Creates a fetch, without polling it.
type Begin<'a> = dyn Fn() -> (Rc<Term>, Work) + 'a;

/// The fetches in progress. They are few, so a list is searched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Rc<RefCell<Vec<Rc<Flight>>>>);

struct Flight {
    key: CacheKey,
    term: Rc<Term>,
    /// None while it is polled, and after it has ended.
    work: RefCell<Option<Work>>,
    has_begun: Cell<bool>,
    /// Whether new callers are refused. The present waiters continue.
    is_closed: Cell<bool>,
    outcome: RefCell<Option<FetchResult>>,
    /// The number of [`Wait`]s, including those that were not polled yet.
    waits: Cell<usize>,
    /// The waiters that were polled, in the order of their arrival. The first polls the work.
    waiting: RefCell<Vec<(u64, Waker)>>,
    next_id: Cell<u64>,
    relay: Arc<Relay>,
}

/// Wakes the waiter that polls the work, which may change.
#[derive(Default)]
struct Relay(AtomicWaker);

impl Flights {
    /// Waits for the fetch for a key. `begin` creates it if there is none.
    ///
    /// # Errors
    /// [`Error::Throttled`] if [`CAPACITY`] fetches are in progress.
    pub(crate) fn join(&self, key: &CacheKey, now: Duration, begin: &Begin<'_>) -> Result<Wait, Error> {
        self.drop_idle(now);
        let flight = match self.in_flight(key) {
            Some(flight) => flight,
            None => self.begin(key, begin).ok_or_else(full)?,
        };
        Ok(Wait::new(self, flight))
    }

    /// As [`Flights::join`]; none if the fetch has a waiter already, or cannot begin.
    pub(crate) fn lead(&self, key: &CacheKey, now: Duration, begin: &Begin<'_>) -> Option<Wait> {
        self.in_flight(key).is_none_or(|flight| flight.is_alone()).then(|| self.join(key, now, begin).ok())?
    }

    /// Closes fetches whose token was forgotten while they still publish it to the store.
    pub(crate) fn close_served(&self, is_forgotten: impl Fn(&CacheKey) -> bool) {
        let flights = self.0.borrow();
        let served = flights.iter().filter(|flight| flight.term.is_served() && is_forgotten(&flight.key));
        served.for_each(|flight| flight.is_closed.set(true));
    }

    /// Drops all fetches.
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

    fn in_flight(&self, key: &CacheKey) -> Option<Rc<Flight>> {
        self.0.borrow().iter().find(|flight| flight.key == *key && !flight.is_closed.get()).cloned()
    }

    /// Closes idle fetches that cannot be resumed, and drops closed fetches without waiters.
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

    /// Wakes all waiters for client assertions, so that another one becomes the first: the present first one may belong
    /// to a fetch that has become idle.
    fn requeue_assertion_waiters(&self) {
        let assertions: Vec<_> =
            self.0.borrow().iter().filter(|flight| flight.key.is_assertion()).cloned().collect();
        for flight in assertions {
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
            next_id: Cell::default(),
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

    /// Removes and wakes all waiters, which may queue again.
    fn wake_all(&self) {
        self.waiting.take().into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn is_first(&self, id: u64) -> bool {
        self.waiting.borrow().first().is_some_and(|(first, _)| *first == id)
    }

    /// Adds a waiter to the queue, or updates its waker. Returns its number.
    fn queue(&self, id: Option<u64>, waker: &Waker) -> u64 {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(id) = id
            && let Some((_, known)) = waiting.iter_mut().find(|(taken, _)| *taken == id)
        {
            known.clone_from(waker);
            return id;
        }
        let id = self.next_id.get();
        self.next_id.set(id.saturating_add(1));
        waiting.push((id, waker.clone()));
        id
    }

    /// Removes a waiter from the queue. If it was the first, the next one is woken to poll.
    fn leave(&self, id: u64) {
        let was_first = self.is_first(id);
        let next = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|(taken, _)| *taken != id);
            waiting.first().filter(|_| was_first).map(|(_, waker)| waker.clone())
        };
        if was_first {
            // Its task may have ended.
            drop(self.relay.0.take());
        }
        next.iter().for_each(Waker::wake_by_ref);
    }

    /// Polls the work on behalf of the first waiter.
    fn poll_work(&self, waker: &Waker) -> Option<FetchResult> {
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

/// A waiter: resolves to the result of a fetch, and polls the fetch while it is the first waiter.
#[derive(Debug)]
pub(crate) struct Wait {
    flights: Flights,
    flight: Rc<Flight>,
    id: Option<u64>,
}

impl Wait {
    fn new(flights: &Flights, flight: Rc<Flight>) -> Self {
        flight.waits.set(flight.waits.get().saturating_add(1));
        Self { flights: flights.clone(), flight, id: None }
    }

    /// Whether the fetch was begun by another call.
    pub(crate) fn is_shared(&self) -> bool {
        self.flight.has_begun.get()
    }

    /// Whether the fetch is closed: another one may have replaced it.
    pub(crate) fn is_closed(&self) -> bool {
        self.flight.is_closed.get()
    }

    /// Leaves the queue until the next poll, which may be much later, so that other waiters poll the fetch.
    pub(crate) fn deferred(mut self) -> Self {
        self.leave();
        self
    }

    fn leave(&mut self) {
        let Some(id) = self.id.take() else { return };
        self.flight.leave(id);
        if self.flight.is_idle() && !self.flight.has_ended() && !self.flight.key.is_assertion() {
            self.flights.requeue_assertion_waiters();
        }
    }

    /// Sets the deadline of a fetch that was not polled yet.
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
        let id = flight.queue(self.id, context.waker());
        self.id = Some(id);
        if !flight.is_first(id) {
            return Poll::Pending;
        }
        let Some(outcome) = flight.poll_work(context.waker()) else { return Poll::Pending };
        flight.outcome.replace(Some(outcome.clone()));
        self.flights.remove(&flight);
        flight.waiting.borrow_mut().retain(|(taken, _)| *taken != id);
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
        message: format!("{CAPACITY} fetches of different tokens are in progress"),
        remedy: Some("request fewer different scopes and identities at once".to_owned()),
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::default()
    })
}

/// The limit of concurrent fetches, for a caller that makes up scopes.
const CAPACITY: usize = 256;
