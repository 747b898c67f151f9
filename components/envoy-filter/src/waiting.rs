//! Requests that wait for a token.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use crate::abi::Stream;
use crate::metrics::Metric;

/// Who waits, in the order of their deadlines, which is that of their coming: all wait equally long.
///
/// Nobody says when a client hangs up. It then stays here until its turn, when nobody can act in its name any more.
pub(crate) struct WaitingRoom {
    waiting: RefCell<VecDeque<Waiting>>,
    /// How many wait, in all VMs.
    gauge: Metric,
}

/// A request that waits for the token of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) stream: Stream,
    /// The rule's number.
    pub(crate) rule: usize,
    /// By the monotonic clock.
    pub(crate) until: Duration,
}

impl WaitingRoom {
    pub(crate) fn new(gauge: Metric) -> Self {
        Self { waiting: RefCell::default(), gauge }
    }

    /// False if [`CAPACITY`] wait already.
    pub(crate) fn enter(&self, waiting: Waiting) -> bool {
        let has_room = self.waiting.borrow().len() < CAPACITY;
        if has_room {
            self.waiting.borrow_mut().push_back(waiting);
            self.gauge.add(1);
        }
        has_room
    }

    /// The last that entered leaves.
    pub(crate) fn turn_back(&self) {
        let last = self.waiting.borrow_mut().pop_back();
        self.left(last.into_iter().collect());
    }

    /// Those leave who wait for a rule.
    pub(crate) fn leave(&self, rule: usize) -> Vec<Waiting> {
        let mut staying = VecDeque::new();
        let mut leaving = Vec::new();
        for waiting in self.waiting.take() {
            if waiting.rule == rule { leaving.push(waiting) } else { staying.push_back(waiting) }
        }
        self.waiting.replace(staying);
        self.left(leaving)
    }

    /// Those leave who have waited until now.
    pub(crate) fn leave_late(&self, now: Duration) -> Vec<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        let late = waiting.partition_point(|waiting| waiting.until <= now);
        self.left(waiting.drain(..late).collect())
    }

    /// All leave.
    pub(crate) fn close(&self) -> Vec<Waiting> {
        self.left(self.waiting.take().into())
    }

    pub(crate) fn first_deadline(&self) -> Option<Duration> {
        self.waiting.borrow().front().map(|waiting| waiting.until)
    }

    fn left(&self, leaving: Vec<Waiting>) -> Vec<Waiting> {
        self.gauge.add(i64::try_from(leaving.len()).unwrap_or_default().saturating_neg());
        leaving
    }
}

/// What a client could make us keep that hangs up at once, again and again.
const CAPACITY: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn room(waiting: &[(u32, usize, u64)]) -> WaitingRoom {
        let room = WaitingRoom::new(Metric::none());
        waiting.iter().for_each(|(stream, rule, until)| {
            assert!(room.enter(Waiting {
                stream: Stream(*stream),
                rule: *rule,
                until: Duration::from_secs(*until)
            }));
        });
        room
    }

    fn streams(waiting: Vec<Waiting>) -> Vec<u32> {
        waiting.into_iter().map(|waiting| waiting.stream.0).collect()
    }

    #[test]
    fn those_leave_who_wait_for_the_rule_and_the_others_keep_their_order() {
        let room = room(&[(1, 0, 10), (2, 1, 11), (3, 0, 12), (4, 1, 13)]);
        assert_eq!(streams(room.leave(0)), [1, 3]);
        assert!(room.leave(0).is_empty());
        assert_eq!(room.first_deadline(), Some(Duration::from_secs(11)));
        assert_eq!(streams(room.close()), [2, 4]);
        assert_eq!(room.first_deadline(), None);
    }

    #[test]
    fn those_leave_whose_time_has_come_and_nobody_else() {
        let room = room(&[(1, 0, 10), (2, 1, 11), (3, 0, 12)]);
        assert!(room.leave_late(Duration::from_millis(9999)).is_empty());
        assert_eq!(streams(room.leave_late(Duration::from_secs(11))), [1, 2]);
        assert_eq!(streams(room.close()), [3]);
    }

    #[test]
    fn the_last_can_be_turned_back() {
        let room = room(&[(1, 0, 10), (2, 0, 11)]);
        room.turn_back();
        assert_eq!(streams(room.close()), [1]);
        room.turn_back();
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let room = room(&[]);
        let waiting = Waiting { stream: Stream(1), rule: 0, until: Duration::ZERO };
        assert!((0..CAPACITY).all(|_| room.enter(waiting)));
        assert!(!room.enter(waiting));
        assert_eq!(room.close().len(), CAPACITY);
        assert!(room.enter(waiting));
    }
}
