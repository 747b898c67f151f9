//! The tasks of a plugin: futures that are polled whenever the proxy calls the plugin.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// Tasks. Only those that were woken are polled.
#[derive(Default)]
pub(crate) struct Tasks {
    running: RefCell<FuturesUnordered<Task>>,
    /// Spawned since the last run, perhaps by a task that runs.
    spawned: RefCell<Vec<Task>>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    /// Polls the tasks that were woken until no task can go on.
    pub(crate) fn run(&self) {
        // The proxy may call the plugin while the plugin calls the proxy.
        let Ok(mut running) = self.running.try_borrow_mut() else { return };
        let woken = Arc::new(WokenFlag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        while woken.0.swap(false, Ordering::Relaxed) {
            running.extend(self.spawned.take());
            while let Poll::Ready(Some(())) = running.poll_next_unpin(&mut Context::from_waker(&waker)) {}
            if !self.spawned.borrow().is_empty() {
                woken.0.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn end(&self) {
        self.spawned.take();
        if let Ok(mut running) = self.running.try_borrow_mut() {
            running.clear();
        }
    }
}

/// Whether a task was woken during a run.
struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_channel::oneshot;

    use super::*;

    #[test]
    fn a_task_goes_on_when_what_it_waits_for_has_come_and_not_before() {
        let (tasks, seen) = (Tasks::default(), Rc::new(RefCell::new(Vec::new())));
        let (sender, receiver) = oneshot::channel();
        let notes = Rc::clone(&seen);
        tasks.spawn(async move {
            notes.borrow_mut().push("begun");
            let _ = receiver.await;
            notes.borrow_mut().push("ended");
        });
        assert!(seen.borrow().is_empty());
        tasks.run();
        tasks.run();
        assert_eq!(*seen.borrow(), ["begun"]);
        sender.send(()).unwrap();
        tasks.run();
        assert_eq!(*seen.borrow(), ["begun", "ended"]);
    }

    #[test]
    fn a_task_that_a_task_spawns_runs_at_once_and_one_that_wakes_itself_runs_on() {
        let (tasks, count) = (Rc::new(Tasks::default()), Rc::new(RefCell::new(0)));
        let (spawner, counter) = (Rc::clone(&tasks), Rc::clone(&count));
        tasks.spawn(async move {
            spawner.spawn(async move {
                for _ in 0..100 {
                    *counter.borrow_mut() += 1;
                    yield_once().await;
                }
            });
        });
        tasks.run();
        assert_eq!(*count.borrow(), 100);
    }

    #[test]
    fn ended_tasks_are_dropped() {
        let (tasks, held) = (Tasks::default(), Rc::new(()));
        let holder = Rc::clone(&held);
        tasks.spawn(async move {
            std::future::pending::<()>().await;
            drop(holder);
        });
        tasks.run();
        tasks.end();
        assert_eq!(Rc::strong_count(&held), 1);
    }

    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
