//! A deterministic simulation.
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; this reads which seeds to run")]

mod fault;
mod instance;
mod invariant;
mod machine;
mod platform;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

use crate::fault::Plan;
use crate::instance::Fleet;
use crate::world::{Ending, World};

#[test]
fn every_invariant_holds_for_every_seed() {
    let seed = number("SIM_SEED");
    let failed = match seed {
        Some(seed) => run(seed, false).violation.map(|_| seed),
        None => first_failing(number("SIM_SEEDS").unwrap_or(SEEDS)),
    };
    if let Some(seed) = failed {
        panic!("{}", report(seed));
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    for seed in 0..20 {
        let [one, other] = [run(seed, true), run(seed, true)];
        assert_eq!((one.steps, one.now, one.events), (other.steps, other.now, other.events), "seed {seed}");
    }
}

/// The smallest of so many seeds that does not pass.
fn first_failing(seeds: u64) -> Option<u64> {
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(seeds));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= failed.load(Ordering::Relaxed) {
                return;
            }
            if run(seed, false).violation.is_some() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| _ = scope.spawn(work));
    });
    Some(failed.into_inner()).filter(|seed| *seed < seeds)
}

/// A panic is a violation like any other.
fn run(seed: u64, traced: bool) -> Ending {
    let mut rng = Rng::with_seed(seed);
    let plan = Rc::new(Plan::draw(&mut rng));
    let world = World::new(rng, plan.deadly(), traced);
    let fleet = Fleet::new(world.clone(), plan);
    fleet.start();
    catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|_| {
        world.violated(|| "nothing panics".to_owned());
        world.end()
    })
}

fn report(seed: u64) -> String {
    let ending = run(seed, true);
    let mut plan = Plan::draw(&mut Rng::with_seed(seed));
    let seats = std::mem::take(&mut plan.seats).len();
    format!(
        "seed {seed} breaks at {:.3} s, after {} steps: {}\n{seats} seats, {plan:?}\nthe last events:\n{}\nagain: cargo xtask sim --seed {seed}\n",
        ending.now.as_secs_f64(),
        ending.steps,
        ending.violation.unwrap_or_default(),
        ending.events.join("\n"),
    )
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {text}")))
}

/// For the debug profile; `cargo xtask test` runs more in release.
const SEEDS: u64 = 100;
