//! Single-flight: of all who want the same key, one leads and fetches, the others wait for what comes of it.
//!
//! - One leader per key; keys do not wait for one another.
//! - Waiters share the leader's outcome, success or failure.
//! - A leader that is dropped hands over: its waiters are told, and the first to ask again leads.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::{Error, Failure};
use crate::policy::Key;
use crate::token::Token;

/// What came of a fetch.
pub(crate) type Outcome = Result<Rc<Token>, Error>;

/// The fetches that are under way: few enough to be looked through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Rc<RefCell<Vec<(Key, SharedFlight)>>>);

type SharedFlight = Rc<RefCell<Flight>>;

#[derive(Debug, Default)]
struct Flight {
    end: Option<End>,
    waiting: Vec<Waker>,
    /// Seats in `waiting` whose waiters have left.
    free: Vec<usize>,
}

impl Flight {
    fn sit(&mut self, waker: Waker) -> usize {
        match self.free.pop().and_then(|seat| self.waiting.get_mut(seat).map(|place| (seat, place))) {
            Some((seat, place)) => {
                *place = waker;
                seat
            }
            None => {
                self.waiting.push(waker);
                self.waiting.len().saturating_sub(1)
            }
        }
    }
}

#[derive(Clone, Debug)]
enum End {
    Landed(Outcome),
    Abandoned,
}

/// Who one is among those who want a key.
#[derive(Debug)]
pub(crate) enum Place {
    /// The one who fetches.
    Leader(Lead),
    /// One who waits.
    Waiter(Wait),
}

impl Flights {
    /// Take one's place.
    ///
    /// # Errors
    /// [`Error::Throttled`] when [`CAPACITY`] fetches are under way.
    pub(crate) fn join(&self, key: &Key) -> Result<Place, Error> {
        match self.flying(key) {
            Some(flight) => Ok(Place::Waiter(Wait { flight, seat: None })),
            None => self.lead(key).map(Place::Leader).ok_or_else(full),
        }
    }

    /// Lead, unless somebody does already.
    pub(crate) fn lead(&self, key: &Key) -> Option<Lead> {
        if self.flying(key).is_some() || self.0.borrow().len() >= CAPACITY {
            return None;
        }
        let flight = SharedFlight::default();
        self.0.borrow_mut().push((key.clone(), Rc::clone(&flight)));
        Some(Lead { flights: self.clone(), key: key.clone(), flight })
    }

    fn flying(&self, key: &Key) -> Option<SharedFlight> {
        self.0.borrow().iter().find(|(of, _)| of == key).map(|(_, flight)| Rc::clone(flight))
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

/// The duty to fetch: it ends by [`Lead::land`], or by being dropped.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Flights,
    key: Key,
    flight: SharedFlight,
}

impl Lead {
    /// Give the waiters what came of it.
    pub(crate) fn land(self, outcome: Outcome) {
        self.flight.borrow_mut().end = Some(End::Landed(outcome));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.0.borrow_mut().retain(|(key, _)| *key != self.key);
        let waiting = {
            let mut flight = self.flight.borrow_mut();
            flight.end.get_or_insert(End::Abandoned);
            std::mem::take(&mut flight.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Resolves to the leader's outcome, or to nothing if the leader was dropped: then ask again.
#[derive(Debug)]
pub(crate) struct Wait {
    flight: SharedFlight,
    seat: Option<usize>,
}

impl Future for Wait {
    type Output = Option<Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let flight = Rc::clone(&self.flight);
        let mut flight = flight.borrow_mut();
        match &flight.end {
            Some(End::Landed(outcome)) => return Poll::Ready(Some(outcome.clone())),
            Some(End::Abandoned) => return Poll::Ready(None),
            None => {}
        }
        match self.seat.and_then(|seat| flight.waiting.get_mut(seat)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.seat = Some(flight.sit(context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            let mut flight = self.flight.borrow_mut();
            if let Some(place) = flight.waiting.get_mut(seat) {
                *place = Waker::noop().clone();
                flight.free.push(seat);
            }
        }
    }
}

/// Fetches under way at once. A caller that makes up scopes is stopped here, before it floods the endpoint.
const CAPACITY: usize = 256;
