//! Messages to the other VMs of the proxy after a change of the store, so that those that wait for one look at once.
//!
//! A queue has one listener, so each VM has a queue of its own; the shared data has a list of their numbers. A message is
//! the time at which it was sent. A queue holds one message at most: one that is still there when the next is sent was
//! not received, and a VM that has not received any for [`STALE`] has ended. A VM that gets no message looks later.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::shared_data::{self, NEVER, PREFIX, QUEUES};
use crate::abi::{self, Root};
use crate::runtime::clock::monotonic_now;

/// The queue of this VM, and the tasks that wait for a message.
#[derive(Default)]
pub(crate) struct Wakeups {
    own: Option<u32>,
    waiting: RefCell<Vec<Waker>>,
    received: Cell<u64>,
}

impl Wakeups {
    /// Makes a queue of which the proxy tells the root context. Without a queue there are no messages.
    pub(crate) fn register(root: Root) -> Self {
        let mut name = [0; 16];
        let own = abi::random(&mut name)
            .then(|| root.register_queue(&format!("{PREFIX}{:032x}", u128::from_ne_bytes(name))).ok())
            .flatten();
        if let Some(own) = own {
            change_queues(|queues| queues.push(own));
        }
        Self { own, ..Self::default() }
    }

    pub(crate) fn send(&self) {
        let now = monotonic_now();
        let mut stale = Vec::new();
        for queue in queues().0.into_iter().filter(|queue| Some(*queue) != self.own) {
            let unread = abi::dequeue(queue).ok().and_then(|message| sent_at(&message));
            let is_stale = unread.is_some_and(|sent| now.saturating_sub(sent) > STALE);
            let message = unread.unwrap_or(now);
            if is_stale || abi::enqueue(queue, &nanoseconds(message)).is_err() {
                stale.push(queue);
            }
        }
        if !stale.is_empty() {
            change_queues(|queues| queues.retain(|queue| !stale.contains(queue)));
        }
    }

    /// Receives the messages of a queue, and wakes the tasks that wait.
    pub(crate) fn receive(&self, queue: u32) {
        // It holds one at most; the bound is for a proxy that always gives another one.
        let _ = (0..TRIES).take_while(|_| abi::dequeue(queue).is_ok()).count();
        self.received.set(self.received.get().wrapping_add(1));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn next(&self) -> impl Future<Output = ()> {
        let before = self.received.get();
        poll_fn(move |context| {
            if self.received.get() != before {
                return Poll::Ready(());
            }
            if self.own.is_none() {
                // Nothing would ever wake it.
                return Poll::Pending;
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

/// The queues of all VMs, and the version of their list.
fn queues() -> (Vec<u32>, u32) {
    let (bytes, version) = shared_data::get(QUEUES).ok().flatten().unwrap_or((Vec::new(), NEVER));
    (bytes.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number)).collect(), version)
}

/// Changes the list of queues, and again while another VM is faster, [`TRIES`] times: a VM that is not on the list only
/// looks later.
fn change_queues(change: impl Fn(&mut Vec<u32>)) {
    for _ in 0..TRIES {
        let (mut queues, version) = queues();
        change(&mut queues);
        let bytes: Vec<u8> = queues.iter().take(MAX_QUEUES).flat_map(|queue| queue.to_be_bytes()).collect();
        if shared_data::put_if(QUEUES, &bytes, version) != Ok(false) {
            return;
        }
    }
}

fn nanoseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_be_bytes()
}

fn sent_at(message: &[u8]) -> Option<Duration> {
    Some(Duration::from_nanos(u64::from_be_bytes(message.try_into().ok()?)))
}

/// Far longer than a worker is ever busy.
const STALE: Duration = Duration::from_secs(60);
const TRIES: usize = 100;
/// More than a machine has processors.
const MAX_QUEUES: usize = 1024;
