//! Sleepers, and when the next of them is to be woken.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Who sleeps, by the time of the monotonic clock at which it is woken.
#[derive(Default)]
pub(crate) struct Timers {
    now: Cell<Duration>,
    sleepers: RefCell<BTreeMap<Alarm, Waker>>,
    count: Cell<u64>,
}

/// When, and which of those at the same time.
type Alarm = (Duration, u64);

impl Timers {
    /// The time that sleepers count from; those whose time has come are woken.
    pub(crate) fn advance(&self, now: Duration) {
        self.now.set(now);
        loop {
            let due = self.sleepers.borrow().first_key_value().map(|(alarm, _)| *alarm);
            let Some(alarm) = due.filter(|(at, _)| *at <= now) else { return };
            let waker = self.sleepers.borrow_mut().remove(&alarm);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// When the next sleeper is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.sleepers.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep<'_> {
        let number = self.count.get();
        self.count.set(number.wrapping_add(1));
        Sleep { timers: self, alarm: (self.now.get().saturating_add(duration), number) }
    }
}

/// Ready when its time has come.
pub(crate) struct Sleep<'a> {
    timers: &'a Timers,
    alarm: Alarm,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.alarm.0 <= self.timers.now.get() {
            return Poll::Ready(());
        }
        self.timers.sleepers.borrow_mut().insert(self.alarm, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.timers.sleepers.borrow_mut().remove(&self.alarm);
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
        assert_eq!(timers.next(), None, "nobody waits yet");
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
