//! The timers of a plugin.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Tasks that sleep: a few for each fetch that is under way.
#[derive(Default)]
pub(crate) struct Timers {
    now: Cell<Duration>,
    sleepers: RefCell<Vec<(Alarm, Waker)>>,
    count: Cell<u64>,
}

/// The time of the monotonic clock at which a task is woken, and the number of its sleep.
type Alarm = (Duration, u64);

impl Timers {
    /// Sets the time, and wakes the tasks whose time has come.
    pub(crate) fn advance(&self, now: Duration) {
        self.now.set(now);
        let (due, asleep) = self.sleepers.take().into_iter().partition(|((at, _), _)| *at <= now);
        self.sleepers.replace(asleep);
        due.into_iter().for_each(|(_, waker): (Alarm, Waker)| waker.wake());
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.sleepers.borrow().iter().map(|((at, _), _)| *at).min()
    }

    /// Sleeps for a duration, counted from the time that was set last.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep<'_> {
        let number = self.count.get();
        self.count.set(number.wrapping_add(1));
        Sleep { timers: self, alarm: (self.now.get().saturating_add(duration), number) }
    }
}

/// A future that is ready when its time has come.
pub(crate) struct Sleep<'a> {
    timers: &'a Timers,
    alarm: Alarm,
}

impl Sleep<'_> {
    fn leave(&self) {
        self.timers.sleepers.borrow_mut().retain(|(alarm, _)| *alarm != self.alarm);
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.alarm.0 <= self.timers.now.get() {
            return Poll::Ready(());
        }
        self.leave();
        self.timers.sleepers.borrow_mut().push((self.alarm, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_next_is_the_earliest_that_still_sleeps() {
        let timers = Timers::default();
        timers.advance(ms(1000));
        let (mut late, mut early) = (timers.sleep(ms(50)), timers.sleep(ms(20)));
        assert_eq!(timers.next(), None, "no task waits yet");
        assert!((&mut late).now_or_never().is_none() && (&mut early).now_or_never().is_none());
        assert_eq!(timers.next(), Some(ms(1020)));
        drop(early);
        assert_eq!(timers.next(), Some(ms(1050)));
        timers.advance(ms(1049));
        assert!((&mut late).now_or_never().is_none());
        timers.advance(ms(1050));
        assert!(late.now_or_never().is_some());
        assert_eq!(timers.next(), None);
    }
}
