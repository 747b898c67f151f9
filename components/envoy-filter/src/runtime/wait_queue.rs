//! Requests that wait for a token.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use crate::abi::Stream;
use crate::metrics::Metric;

/// Waiting requests in the order of their deadlines, which is that of their arrival: all wait equally long.
///
/// The proxy does not tell when a client hangs up. Its request stays here until its turn, and is then gone.
pub(crate) struct WaitQueue {
    waiting: RefCell<VecDeque<WaitingRequest>>,
    /// The number of waiting requests in all VMs.
    gauge: Metric,
}

/// A request that waits for the token of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingRequest {
    pub(crate) stream: Stream,
    pub(crate) rule: usize,
    /// The deadline, a time of the monotonic clock.
    pub(crate) until: Duration,
}

impl WaitQueue {
    pub(crate) fn new(gauge: Metric) -> Self {
        Self { waiting: RefCell::default(), gauge }
    }

    /// Adds a request. False if [`CAPACITY`] requests wait already.
    pub(crate) fn push(&self, waiting: WaitingRequest) -> bool {
        let has_room = self.waiting.borrow().len() < CAPACITY;
        if has_room {
            self.waiting.borrow_mut().push_back(waiting);
            self.gauge.add(1);
        }
        has_room
    }

    pub(crate) fn pop_last(&self) {
        let last = self.waiting.borrow_mut().pop_back();
        self.removed(last.into_iter().collect());
    }

    /// Removes and returns the requests that wait for a rule.
    pub(crate) fn take_rule(&self, rule: usize) -> Vec<WaitingRequest> {
        let (taken, rest): (VecDeque<_>, _) =
            self.waiting.take().into_iter().partition(|waiting| waiting.rule == rule);
        self.waiting.replace(rest);
        self.removed(taken.into())
    }

    /// Removes and returns the requests whose deadline has passed.
    pub(crate) fn take_late(&self, now: Duration) -> Vec<WaitingRequest> {
        let mut waiting = self.waiting.borrow_mut();
        let late = waiting.partition_point(|waiting| waiting.until <= now);
        self.removed(waiting.drain(..late).collect())
    }

    pub(crate) fn take_all(&self) -> Vec<WaitingRequest> {
        self.removed(self.waiting.take().into())
    }

    /// The deadline of the request that has waited longest.
    pub(crate) fn first_deadline(&self) -> Option<Duration> {
        self.waiting.borrow().front().map(|waiting| waiting.until)
    }

    fn removed(&self, removed: Vec<WaitingRequest>) -> Vec<WaitingRequest> {
        self.gauge.add(i64::try_from(removed.len()).unwrap_or_default().saturating_neg());
        removed
    }
}

/// A bound for clients that hang up at once, again and again.
const CAPACITY: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(waiting: &[(u32, usize, u64)]) -> WaitQueue {
        let queue = WaitQueue::new(Metric::none());
        waiting.iter().for_each(|(stream, rule, until)| {
            assert!(queue.push(WaitingRequest {
                stream: Stream(*stream),
                rule: *rule,
                until: Duration::from_secs(*until)
            }));
        });
        queue
    }

    fn streams(waiting: Vec<WaitingRequest>) -> Vec<u32> {
        waiting.into_iter().map(|waiting| waiting.stream.0).collect()
    }

    #[test]
    fn the_requests_of_a_rule_are_taken_and_the_others_keep_their_order() {
        let queue = queue(&[(1, 0, 10), (2, 1, 11), (3, 0, 12), (4, 1, 13)]);
        assert_eq!(streams(queue.take_rule(0)), [1, 3]);
        assert!(queue.take_rule(0).is_empty());
        assert_eq!(queue.first_deadline(), Some(Duration::from_secs(11)));
        assert_eq!(streams(queue.take_all()), [2, 4]);
        assert_eq!(queue.first_deadline(), None);
    }

    #[test]
    fn the_requests_whose_deadline_has_passed_are_taken_and_no_others() {
        let queue = queue(&[(1, 0, 10), (2, 1, 11), (3, 0, 12)]);
        assert!(queue.take_late(Duration::from_millis(9999)).is_empty());
        assert_eq!(streams(queue.take_late(Duration::from_secs(11))), [1, 2]);
        assert_eq!(streams(queue.take_all()), [3]);
    }

    #[test]
    fn the_last_request_can_be_removed() {
        let queue = queue(&[(1, 0, 10), (2, 0, 11)]);
        queue.pop_last();
        assert_eq!(streams(queue.take_all()), [1]);
        queue.pop_last();
    }

    #[test]
    fn the_queue_is_bounded() {
        let queue = queue(&[]);
        let waiting = WaitingRequest { stream: Stream(1), rule: 0, until: Duration::ZERO };
        assert!((0..CAPACITY).all(|_| queue.push(waiting)));
        assert!(!queue.push(waiting));
        assert_eq!(queue.take_all().len(), CAPACITY);
        assert!(queue.push(waiting));
    }
}
