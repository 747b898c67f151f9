//! A simulator of up to 200 instances on one to eight machines with their own clocks, which share a store and an
//! identity platform, with faults. A seed determines a run completely, so a failing run can be repeated.
//!
//! - `cargo xtask test` runs the first few thousand seeds, `cargo xtask sim --seeds N` more, `--seed S` a single one.
//! - `cargo xtask sim --mutants` breaks the core in the ways of `mutants.toml`, and checks that each is noticed.
//!
//! # Runs
//!
//! Time is virtual, and tasks are polled only after they were woken, in an order drawn from the seed (`world.rs`). A
//! seed draws a plan (`fault.rs`): the fleet, its calls around the times at which something changes, and up to three
//! faults of up to a quarter of an hour. One run in five has no fault.
//!
//! - The store (`store.rs`) is slow, down, silent, mute, spoilt or restarted, loses writes, or reads a value that is
//!   old, corrupt or of another name; for all machines or for one. An operation continues if its caller drops it.
//! - The platform (`platform.rs`) throttles with or without `Retry-After`, is upgraded (410), broken, slow or
//!   unreachable.
//! - A clock (`machine.rs`) has a skew of at most [`fault::SKEW`], and of up to 4000 s during a jump.
//! - Calls are dropped and instances killed at any await point. Callers drop calls after a time of their own, and
//!   callers without tasks drop the ticket of a refresh. In one run in four a service refuses every other token.
//!
//! - In half of the runs all instances, or every second one, are of WASI 0.2 (`blocking.rs`): most serve a single call, and
//!   each takes one call at a time, in which it also refreshes and forgets. The store blocks such an instance, for
//!   [`store::LONGEST_BLOCK`] at most.
//!
//! # Invariants (`invariant.rs`)
//!
//! The platform's tokens are known by their text, so these are exact:
//!
//! 1. **No token is expired** when a caller gets it: neither by true time, if another instance fetched it, nor by the
//!    clock of the instance that returns it. A token that the instance fetched itself may be late by the offset of its
//!    clock, and one that was judged by a jumping clock by the jump.
//! 2. **A token is for the key that was requested**: scope and identity.
//! 3. **One fetch for each key and refresh window.** After a fetch that gave a token, there is no request before the
//!    token is due (with the longest jitter and skew), unless a service refused it. There is no request during another
//!    one, with its retries, nor after a failure within `Retry-After`, or a second. The death of the requester ends its
//!    claim. The instance of a dropped call continues the fetch until the request's limit. A refusal leads to one new
//!    token in half a minute. This holds for the fleet while store and clocks have had no fault for the time of a call,
//!    whatever the platform does; and for each instance at all times. An idle fetch that has lost its lease may send a
//!    request during another one, but not after the other's token has been in the store for three seconds.
//! 4. **The rate limit**: an instance sends twenty requests at once and then five a second, retries included; one
//!    without an answer of the store ten, and then one a second, except those of a fetch that was begun with the store.
//! 5. **Everybody is served again** from [`fault::Plan::recovery`], 40 s and twice the longest `Retry-After` after the
//!    last fault (a clock that is behind prolongs a failure): each call gets a token within two seconds, four if a
//!    service refused one meanwhile, unless a caller dropped that token's fetch less than six seconds before, whose lease must expire, or so many tokens are
//!    requested that the rate limit delays them and others. Without faults this holds from the beginning.
//! 6. **Nobody goes without while the fleet holds a good token**: valid for two minutes or more, and seen by all.
//! 7. **Every call ends** within its budget of 90 s, and five for the store.
//! 8. **A token that a service refused is not given again** by the instance that was told.
//! 9. **Nothing secret** is in a log line at the level `debug`, in an error, or in a name or value of the store.
//! 10. **Nothing panics, and a run ends.**
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; this reads which seeds to run")]

mod blocking;
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
        None => first_failing(number("SIM_FROM").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS)),
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

/// The smallest failing seed.
fn first_failing(from: u64, seeds: u64) -> Option<u64> {
    let end = from + seeds;
    let (next, failed) = (AtomicU64::new(from), AtomicU64::new(end));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= failed.load(Ordering::Relaxed) {
                return;
            }
            if run(seed, false).violation.is_some() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
            if seed > from && seed.is_multiple_of(PROGRESS) {
                eprintln!("seed {seed}");
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| _ = scope.spawn(work));
    });
    Some(failed.into_inner()).filter(|seed| *seed < end)
}

/// Runs a seed. A panic is a violation.
fn run(seed: u64, traced: bool) -> Ending {
    let mut rng = Rng::with_seed(seed);
    let plan = Rc::new(Plan::draw(&mut rng));
    let world = World::new(rng, plan.deadly_times(), traced);
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
        "an invariant does not hold\nseed {seed} breaks at {:.3} s, after {} steps: {}\n{seats} seats, {plan:?}\n\
         the last events:\n{}\nagain: cargo xtask sim --seed {seed}\n",
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

/// The number of seeds between two reports of progress.
const PROGRESS: u64 = 10_000;
/// The default number of seeds, for the debug profile; `cargo xtask test` runs more in release.
const SEEDS: u64 = 100;
