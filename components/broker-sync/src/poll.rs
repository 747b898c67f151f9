//! Waiting on WASI 0.2: the instance sleeps until something that its future waits for is ready, and asks it again.

use std::cell::RefCell;
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
pub(crate) async fn ready(pollable: Pollable) {
    let pollable = Rc::new(pollable);
    let until_ready = poll_fn(|_| {
        if pollable.ready() {
            return Poll::Ready(());
        }
        // Weak, because whoever leaves must take it along: a stream may not end before what tells its readiness.
        AWAITED.with_borrow_mut(|awaited| awaited.push(Rc::downgrade(&pollable)));
        Poll::Pending
    });
    until_ready.await;
}

/// Sleep until one of the awaited is ready. Nothing is awaited twice: every future that goes on says so anew.
fn sleep() -> Option<()> {
    let awaited: Vec<Rc<Pollable>> = AWAITED.take().iter().filter_map(Weak::upgrade).collect();
    let awaited: Vec<&Pollable> = awaited.iter().map(|pollable| &**pollable).collect();
    if awaited.is_empty() {
        return None;
    }
    poll(&awaited);
    Some(())
}

thread_local! {
    static AWAITED: RefCell<Vec<Weak<Pollable>>> = const { RefCell::new(Vec::new()) };
}
