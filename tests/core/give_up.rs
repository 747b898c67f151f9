//! Callers that come and go in random order: no remaining caller waits forever.

use std::time::Duration;

use token_broker::SendErrorKind;

use crate::fake::{Tasks, World, fault, json, token};
use crate::stage::FEDERATED;

const SCOPES: [&str; 4] = ["https://a", "https://b", "https://c", "https://d"];
const LIVES: [u64; 4] = [2, 30, 400, 86_400];
const SEEDS: u64 = 2_000;

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[test]
fn no_remaining_caller_waits_forever() {
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let world = World::new();
        let broker = world.broker(random.of(&[FEDERATED, FEDERATED, &[]]));
        let mut tasks = Tasks::new(&world);
        let mut staying = Vec::new();
        let lasting = |life: u64| token("T", world.seconds() as u64 + life);
        for _ in 0..random.below(60) {
            match random.below(9) {
                // The ticket of a refresh is dropped.
                0..=2 => staying.push(tasks.start(broker.token_for_scope(random.of(&SCOPES)))),
                3 if !staying.is_empty() => {
                    tasks.drop_task(staying.swap_remove(random.below(staying.len())));
                }
                4 if !staying.is_empty() => tasks.poll_only(random.of(&staying)),
                5 => tasks.poll(),
                6 => world.script([lasting(random.of(&LIVES))]),
                7 => world.advance(Duration::from_millis(random.below(15_000) as u64)),
                _ => world.script([random.of(&[|| json(500, "{}"), || fault(SendErrorKind::TimedOut)])()]),
            }
        }
        for _ in 0..40 {
            world.script((0..4).map(|_| lasting(86_400)));
            tasks.poll();
        }
        tasks.settle();
        for task in staying {
            assert!(tasks.output(task).is_some(), "seed {seed}: the call {task} waits forever");
        }
    }
}
