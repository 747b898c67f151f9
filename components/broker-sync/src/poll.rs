//! Waiting on WASI 0.2: the instance sleeps until something that its future waits for is ready, and asks it again.
//!
//! There is one future at a time, so no more is needed. The crate wstd has tasks and an HTTP client besides: with it the
//! component weighs 113 kB more, is stopped by timeouts that a host does not support, and panics where a host answers
//! otherwise than it should.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use wasip2::io::poll::{Pollable, poll};

/// Run a future to its end. None if it waits for nothing that the host could give, and so would wait for ever.
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

/// Wait for what the host says is ready.
///
/// It always waits once: a host that calls ready what is not cannot keep a timer beside it from its turn.
pub(crate) async fn ready(pollable: Pollable) {
    let awaited = Rc::new(Awaited { pollable, is_ready: Cell::new(false) });
    let until_ready = poll_fn(|_| {
        if awaited.is_ready.get() {
            return Poll::Ready(());
        }
        // Weak, because whoever leaves must take it along: a stream may not end before what tells its readiness.
        AWAITED.with_borrow_mut(|all| all.push(Rc::downgrade(&awaited)));
        Poll::Pending
    });
    until_ready.await;
}

struct Awaited {
    pollable: Pollable,
    is_ready: Cell<bool>,
}

/// Sleep until one of the awaited is ready. Nothing is kept: every future that still waits says so anew.
fn sleep() -> Option<()> {
    let awaited: Vec<Rc<Awaited>> = AWAITED.take().iter().filter_map(Weak::upgrade).collect();
    if awaited.is_empty() {
        return None;
    }
    let pollables: Vec<&Pollable> = awaited.iter().map(|it| &it.pollable).collect();
    for nth in poll(&pollables) {
        let nth = usize::try_from(nth).ok()?;
        awaited.get(nth)?.is_ready.set(true);
    }
    Some(())
}

thread_local! {
    static AWAITED: RefCell<Vec<Weak<Awaited>>> = const { RefCell::new(Vec::new()) };
}
