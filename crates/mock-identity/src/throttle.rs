//! How many requests a second are answered.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The requests of the last second
#[derive(Default)]
pub(crate) struct Throttle(Mutex<VecDeque<Instant>>);

impl Throttle {
    /// Whether one more is answered; one that is not does not count
    pub(crate) fn admits(&self, a_second: Option<NonZeroU32>) -> bool {
        let Some(limit) = a_second else { return true };
        let mut answered = self.0.lock();
        let now = Instant::now();
        while answered.front().is_some_and(|moment| now.duration_since(*moment) >= Duration::from_secs(1)) {
            answered.pop_front();
        }
        let admits = answered.len() < limit.get() as usize;
        if admits {
            answered.push_back(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_limit_are_answered_and_without_one_all() {
        let throttle = Throttle::default();
        let answered = (0..20).filter(|_| throttle.admits(NonZeroU32::new(5))).count();
        assert_eq!(answered, 5);
        assert!((0..20).all(|_| Throttle::default().admits(None)));
    }
}
