//! Instances of WASI 0.2: an operation of the store blocks the whole instance, which takes one call at a time.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The state of a blocking instance; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Blocking(Rc<State>);

#[derive(Default)]
struct State {
    /// Set while a call is served.
    call: Gate,
    /// Set while the store blocks the instance.
    operation: Gate,
}

/// A flag, and the tasks that wait until it is no longer set.
#[derive(Default)]
struct Gate {
    is_closed: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// A gate that is closed until this is dropped.
pub(crate) struct Closed<'a>(&'a Gate);

impl Blocking {
    /// Waits for the turn of a call, which lasts until the result is dropped.
    pub(crate) async fn turn(&self) -> Closed<'_> {
        poll_fn(|context| self.0.call.poll_open(context)).await;
        self.0.call.close()
    }

    /// Runs an operation that blocks the instance.
    pub(crate) async fn block<T>(&self, operation: impl Future<Output = T>) -> T {
        let _until_its_end = self.0.operation.close();
        operation.await
    }

    /// Runs something else, which stands still while the instance is blocked.
    pub(crate) async fn stand_still<T>(&self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|context| match self.0.operation.poll_open(context) {
            Poll::Ready(()) => other.as_mut().poll(context),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Gate {
    fn close(&self) -> Closed<'_> {
        self.is_closed.set(true);
        Closed(self)
    }

    fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        if !self.is_closed.get() {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.is_closed.set(false);
        self.0.waiting.take().into_iter().for_each(Waker::wake);
    }
}
