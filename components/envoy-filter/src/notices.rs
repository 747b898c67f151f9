//! Word to the other VMs of the proxy that something was put into the store, so that whoever waits for it looks.
//!
//! A queue has one listener, so each VM has a queue of its own; their numbers are a list in the shared data. A notice is
//! the time at which it was sent. Each queue holds one at most: what is still there when the next is sent was not heard,
//! and whoever has not heard for [`DEAF`] is gone. Without a notice a VM looks all the same, only later.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::abi::{self, Root};
use crate::host::monotonic_now;
use crate::store::{NEVER, PREFIX, put_if};

/// The queue of this VM, and who waits for a notice.
#[derive(Default)]
pub(crate) struct Notices {
    own: Option<u32>,
    waiting: RefCell<Vec<Waker>>,
    heard: Cell<u64>,
}

impl Notices {
    /// Make a queue that the root context is told of. Without one there are no notices.
    pub(crate) fn register(root: Root) -> Self {
        let mut name = [0; 16];
        let own = abi::random(&mut name)
            .then(|| root.register_queue(&format!("{PREFIX}{:032x}", u128::from_ne_bytes(name))).ok())
            .flatten();
        if let Some(own) = own {
            change_list(|list| list.push(own));
        }
        Self { own, ..Self::default() }
    }

    /// Tell the others.
    pub(crate) fn send(&self) {
        let now = monotonic_now();
        let mut deaf = Vec::new();
        for queue in list().into_iter().filter(|queue| Some(*queue) != self.own) {
            let unheard = abi::dequeue(queue).ok().and_then(|notice| sent_at(&notice));
            let is_deaf = unheard.is_some_and(|sent| now.saturating_sub(sent) > DEAF);
            let notice = unheard.unwrap_or(now);
            if is_deaf || abi::enqueue(queue, &nanoseconds(notice)).is_err() {
                deaf.push(queue);
            }
        }
        if !deaf.is_empty() {
            change_list(|list| list.retain(|queue| !deaf.contains(queue)));
        }
    }

    /// A notice has come.
    pub(crate) fn hear(&self, queue: u32) {
        // It holds one at most; a proxy that says otherwise for ever is not listened to for ever.
        let _ = (0..TRIES).take_while(|_| abi::dequeue(queue).is_ok()).count();
        self.heard.set(self.heard.get().wrapping_add(1));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Wait for the next notice.
    pub(crate) fn next(&self) -> impl Future<Output = ()> {
        let before = self.heard.get();
        poll_fn(move |context| {
            if self.heard.get() != before {
                return Poll::Ready(());
            }
            if self.own.is_none() {
                // Nobody would ever wake it.
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

fn list() -> Vec<u32> {
    abi::shared(&list_name()).map(|(bytes, _)| numbers(&bytes)).unwrap_or_default()
}

/// Change the list as often as another VM is faster, within bounds: a list without us costs us only time.
fn change_list(change: impl Fn(&mut Vec<u32>)) {
    for _ in 0..TRIES {
        let (bytes, version) = abi::shared(&list_name()).unwrap_or((Vec::new(), NEVER));
        let mut list = numbers(&bytes);
        change(&mut list);
        let bytes: Vec<u8> = list.iter().take(MAX_QUEUES).flat_map(|queue| queue.to_be_bytes()).collect();
        if put_if(&list_name(), &bytes, version) != Ok(false) {
            return;
        }
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number)).collect()
}

fn nanoseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_be_bytes()
}

fn sent_at(notice: &[u8]) -> Option<Duration> {
    Some(Duration::from_nanos(u64::from_be_bytes(notice.try_into().ok()?)))
}

fn list_name() -> String {
    format!("{PREFIX}queues")
}

/// Far longer than a worker is busy with anything.
const DEAF: Duration = Duration::from_secs(60);
const TRIES: usize = 100;
/// More than a machine has processors.
const MAX_QUEUES: usize = 1024;
