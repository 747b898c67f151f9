//! A fleet of up to 200 instances, simulated: on one to eight machines with clocks of their own they share a store and
//! an identity platform, and things go wrong. Everything follows from a seed, so a run that fails is run again exactly.
//!
//! - `cargo xtask test` runs the first few thousand seeds, `cargo xtask sim --seeds N` more, `--seed S` one again.
//! - `cargo xtask sim --mutants` breaks the core in the ways of `mutants.toml` and sees that each is noticed.
//!
//! # What a run is
//!
//! Time is virtual, and tasks are polled only when they were woken, in an order drawn from the seed (`world.rs`). A seed
//! draws a plan (`fault.rs`): the fleet, its calls around the moments at which something changes, and up to three
//! faults of up to a quarter of an hour. In one run of five nothing goes wrong.
//!
//! - The store (`store.rs`) is slow, down, silent, mute, spoilt or restarted, loses what is written, or reads a value that
//!   is old, corrupt or another name's; everywhere or for one machine. An operation goes on when its asker has given up.
//! - The platform (`platform.rs`) throttles with `Retry-After` or without, is upgraded (410), broken, slow or cut off.
//! - A clock (`machine.rs`) is off by [`fault::SKEW`] at most, and by up to 4000 s during a jump.
//! - Calls are dropped and instances killed wherever they wait. Callers give up after a time of their own, and those
//!   that have no tasks drop the duty to refresh. In one run of four a service refuses every other token.
//!
//! # What must hold (`invariant.rs`)
//!
//! The platform's tokens are known by their text, so these are exact:
//!
//! 1. **No token is expired** when a caller gets it: not by true time if another instance fetched it, nor by the clock
//!    of whoever returns it. What an instance fetched itself may be late by as much as its own clock, and a token that
//!    was judged by a clock that jumped by as much as that one.
//! 2. **A token is for the key that was asked for**: scope and identity.
//! 3. **One fetch for each key and refresh window**: after a fetch that gave a token nobody asks before it is due (with
//!    the longest jitter and skew), unless a service refused it. Nobody asks while another does, its retries included;
//!    nor after a failure before `Retry-After` is over, or a second. The death of whoever asked ends its claim. What a
//!    caller that gave up began, its instance goes on with until the request's limit. A refusal is worth one new token in
//!    half a minute. This is
//!    so for the fleet while store and clocks are well and have been for a call's time, whatever the platform does; and
//!    for each instance by itself at all times. A fetch that was left alone and has lost its lease may ask while another
//!    does, but not once that one's token has been there for three seconds.
//! 4. **The rate limit**: an instance sends twenty requests at once and then five a second, retries included; one that
//!    gets no answer from the store ten, and then one a second, but for those of a fetch that was begun with the store.
//! 5. **Everybody is served again** [`fault::Plan::well_again`] after the last fault, 40 s and twice the longest
//!    `Retry-After` (a clock that is behind makes a failure last that much longer): each call gets a token, within two
//!    seconds, unless a caller gave up that token's fetch less than six seconds before, whose lease ends by itself, or an
//!    instance asks for so many tokens that the rate limit has them wait, and others with it. Where nothing goes wrong that is so from the beginning.
//! 6. **Nobody goes without while the fleet holds a good token**: with two minutes left or more, and seen by all.
//! 7. **Every call ends** within its budget of 90 s, and five for the store.
//! 8. **A token that a service refused is not given again** by the instance that was told.
//! 9. **Nothing secret** is in a log line at the level `debug`, in an error, or in a name or value of the store.
//! 10. **Nothing panics, and a run ends.**
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

/// The smallest of so many seeds that does not pass.
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

/// A run of many seeds says how far it is after so many.
const PROGRESS: u64 = 10_000;
/// For the debug profile; `cargo xtask test` runs more in release.
const SEEDS: u64 = 100;
