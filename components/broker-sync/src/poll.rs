//! An executor for one future on WASI 0.2: the instance sleeps until a pollable of the future is ready, and polls it again.
//!
//! The crate wstd has tasks and an HTTP client besides. With it the component is 113 kB larger, fails where a host does not
//! support a timeout, and panics at an unexpected answer of the host.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use wasip2::io::poll::{Pollable, poll};

/// Runs a future to its end. None if it waits for no pollable, and so would wait for ever.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        sleep()?;
    }
}

/// Waits until a pollable is ready.
///
/// It waits at least once, so that a host which reports readiness too early cannot starve a timer.
pub(crate) async fn ready(pollable: Pollable) {
    let pending = Rc::new(PendingPollable { pollable, is_ready: Cell::new(false) });
    let until_ready = poll_fn(|_| {
        if pending.is_ready.get() {
            return Poll::Ready(());
        }
        // Weak, so that a future that is dropped drops its pollable: a stream must not be dropped before its pollable.
        PENDING.with_borrow_mut(|all| all.push(Rc::downgrade(&pending)));
        Poll::Pending
    });
    until_ready.await;
}

struct PendingPollable {
    pollable: Pollable,
    is_ready: Cell<bool>,
}

/// Sleeps until a pollable is ready. The list is emptied: each future that still waits adds its pollable again.
fn sleep() -> Option<()> {
    let pending: Vec<Rc<PendingPollable>> = PENDING.take().iter().filter_map(Weak::upgrade).collect();
    if pending.is_empty() {
        return None;
    }
    let pollables: Vec<&Pollable> = pending.iter().map(|it| &it.pollable).collect();
    for nth in poll(&pollables) {
        let nth = usize::try_from(nth).ok()?;
        pending.get(nth)?.is_ready.set(true);
    }
    Some(())
}

thread_local! {
    static PENDING: RefCell<Vec<Weak<PendingPollable>>> = const { RefCell::new(Vec::new()) };
}
