//! What a seed stands for: a fleet, its traffic, and what goes wrong when. Times count from the beginning of the run.

use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

/// A run before it begins.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How far the clock of each machine is from true time, in seconds.
    pub(crate) skews: Vec<i64>,
    pub(crate) keys: usize,
    /// How long a token lives, in seconds.
    pub(crate) life: u64,
    /// After how many seconds the platform wants it refreshed, if it says so.
    pub(crate) refresh_in: Option<u64>,
    /// Whether the platform says when a token ends, rather than how long it lives.
    pub(crate) tells_moment: bool,
    /// Whether the platform tells its clock.
    pub(crate) tells_date: bool,
    /// Of so many tokens a service refuses one.
    pub(crate) refusals: u32,
    pub(crate) faults: Vec<Fault>,
    /// The calls of each seat: an instance, and after it the next one on the same machine.
    pub(crate) seats: Vec<Vec<Call>>,
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) ill: Ill,
    pub(crate) times: RangeInclusive<Duration>,
    /// Where; none is everywhere.
    pub(crate) machine: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ill {
    /// Operations take up to one and a half seconds.
    StoreSlow,
    /// Operations fail.
    StoreDown,
    /// Operations do not end.
    StoreSilent,
    /// Half of what is written is lost.
    StoreLoses,
    /// All entries are lost, in a moment.
    StoreRestarts,
    /// All entries become garbage that never ends, in a moment.
    StoreSpoils,
    /// Half of the operations are done, and whoever asked is not told.
    StoreMute,
    /// Half of the reads get the value before the last.
    StoreStale,
    /// Half of the reads get a value that was changed, cut or lengthened.
    StoreCorrupts,
    /// Half of the reads get the value of another name.
    StoreSwaps,
    /// 429 with a `Retry-After` of so many seconds; zero is one without it.
    Throttled(u64),
    /// 410, as while IMDS is upgraded.
    Upgrading,
    /// 500 or 503.
    Broken,
    /// Answers take up to twelve seconds, connections break.
    Slow,
    /// A machine's clock is off by so many seconds.
    Jump(i64),
    /// Calls are dropped and instances killed, wherever they wait.
    Deaths,
}

/// One moment at which a seat is used.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Duration,
    /// For which token; none is for all of them at once.
    pub(crate) key: Option<usize>,
    /// Whether a new instance takes the seat.
    pub(crate) anew: bool,
    /// Whether a service then refuses the token.
    pub(crate) refused: bool,
    /// After how long the caller gives up, if it does.
    pub(crate) patience: Option<Duration>,
}

impl Ill {
    fn is_without_store(self) -> bool {
        matches!(self, Self::StoreDown | Self::StoreSilent)
    }

    pub(crate) fn is_of_a_moment(self) -> bool {
        matches!(self, Self::StoreRestarts | Self::StoreSpoils)
    }

    fn is_of_store(self) -> bool {
        use Ill::*;
        matches!(
            self,
            StoreSlow
                | StoreDown
                | StoreSilent
                | StoreLoses
                | StoreRestarts
                | StoreSpoils
                | StoreMute
                | StoreStale
                | StoreCorrupts
                | StoreSwaps
        )
    }
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let life = pick(rng, &[900, 900, 3600, 86_400]);
        let machines = rng.usize(1..=8);
        let mut plan = Self {
            skews: (0..machines).map(|_| rng.i64(-SKEW..=SKEW)).collect(),
            keys: pick(rng, &[1, 2, 4, 16]),
            life,
            refresh_in: rng.bool().then_some(life / 2),
            tells_moment: rng.bool(),
            tells_date: rng.bool(),
            refusals: pick(rng, &[100, 100, 100, 2]),
            faults: Vec::new(),
            seats: Vec::new(),
        };
        let faults = pick(rng, &[0, 1, 1, 2, 3]);
        plan.faults = (0..faults).map(|_| plan.draw_fault(rng)).collect();
        // Small fleets are as telling as large ones, and sooner run: each doubling is as likely as the next.
        let seats = (2f64.powf(rng.f64() * MOST_SEATS.log2()) as usize).max(1);
        plan.seats = plan.draw_traffic(rng, seats);
        plan
    }

    /// When a token that was fetched at the beginning is refreshed at the latest, in seconds.
    pub(crate) fn window(&self) -> u64 {
        let window = self.refresh_in.unwrap_or(if self.life >= 7200 { self.life / 2 } else { self.life });
        window.min(self.life - 300)
    }

    fn draw_fault(&self, rng: &mut Rng) -> Fault {
        use Ill::*;
        let ill = match rng.u32(..18) {
            0 => StoreSlow,
            1 => StoreDown,
            2 => StoreSilent,
            3 => StoreLoses,
            4 => StoreRestarts,
            5 => StoreStale,
            6 => StoreCorrupts,
            7 => StoreSwaps,
            8 | 9 => Throttled(pick(rng, &[0, 3, 40, 300])),
            10 => Upgrading,
            11 | 12 => Broken,
            13 => Slow,
            14 => Jump(pick(rng, &[-4000, -100, 100, 4000])),
            15 => StoreSpoils,
            16 => StoreMute,
            _ => Deaths,
        };
        let moments = [0, self.window() * 9 / 10, self.window(), self.life - 300, self.life - 20];
        let from = pick(rng, &moments) + rng.u64(..10);
        let lasts = if ill.is_of_a_moment() { 0.0 } else { 10f64.powf(rng.f64() * 3.0) };
        let times = seconds(from as f64)..=seconds(from as f64 + lasts);
        let everywhere = matches!(ill, Throttled(_) | Upgrading | Broken | Slow | Deaths)
            || ill.is_of_a_moment()
            || ill.is_of_store() && rng.bool();
        let machine = (!everywhere).then(|| rng.usize(..self.skews.len()));
        Fault { ill, times, machine }
    }

    /// Stampedes and stragglers around the moments at which something changes, and one call of each seat when all must
    /// be well again.
    fn draw_traffic(&self, rng: &mut Rng, seats: usize) -> Vec<Vec<Call>> {
        let edges = self.faults.iter().flat_map(|fault| [*fault.times.start(), *fault.times.end()]);
        let ends = [0, self.window(), self.life - 300, self.life - 80, self.life, self.life + self.window()];
        let mut moments: Vec<Duration> = ends.map(Duration::from_secs).into_iter().chain(edges).collect();
        moments.push(self.well_again());
        let spreads: Vec<f64> = moments.iter().map(|_| pick(rng, &[0.0, 0.1, 5.0, 60.0])).collect();
        let calls = |rng: &mut Rng| {
            let mut calls: Vec<Call> = Vec::new();
            for (moment, spread) in moments.iter().zip(&spreads) {
                for _ in 0..rng.u32(..4) {
                    let at = *moment + seconds(spread * rng.f64());
                    calls.push(self.draw_call(rng, at));
                }
            }
            calls.push(Call { refused: false, patience: None, ..self.draw_call(rng, self.well_again()) });
            calls.sort_by_key(|call| call.at);
            calls
        };
        (0..seats).map(|_| calls(rng)).collect()
    }

    fn draw_call(&self, rng: &mut Rng, at: Duration) -> Call {
        let key = (rng.u32(..16) > 0).then(|| rng.usize(..self.keys));
        let patience = (rng.u32(..8) == 0).then(|| seconds(10f64.powf(rng.f64() * 4.0 - 3.0)));
        Call { at, key, anew: rng.u32(..4) == 0, refused: rng.u32(..self.refusals) == 0, patience }
    }

    /// What ails a machine at a moment, if anything of this kind does.
    pub(crate) fn ails<T>(
        &self,
        machine: usize,
        now: Duration,
        of_kind: impl Fn(Ill) -> Option<T>,
    ) -> Option<T> {
        let here =
            |fault: &&Fault| fault.machine.is_none_or(|place| place == machine) && fault.times.contains(&now);
        self.faults.iter().filter(here).find_map(|fault| of_kind(fault.ill))
    }

    /// What ails the store as a machine reaches it: the worst first.
    pub(crate) fn store(&self, machine: usize, now: Duration) -> Option<Ill> {
        let gone = self.ails(machine, now, |ill| ill.is_without_store().then_some(ill));
        gone.or_else(|| self.ails(machine, now, |ill| ill.is_of_store().then_some(ill)))
    }

    /// How far a machine's clock is from true time, in seconds.
    pub(crate) fn offset(&self, machine: usize, now: Duration) -> i64 {
        let jump = self.ails(machine, now, |ill| if let Ill::Jump(by) = ill { Some(by) } else { None });
        self.skews[machine] + jump.unwrap_or(0)
    }

    pub(crate) fn deadly(&self) -> Vec<RangeInclusive<Duration>> {
        let deaths = self.faults.iter().filter(|fault| fault.ill == Ill::Deaths);
        deaths.map(|fault| fault.times.clone()).collect()
    }

    /// From when on everybody is served again: see the documentation of this program.
    pub(crate) fn well_again(&self) -> Duration {
        let told =
            self.faults.iter().map(|fault| if let Ill::Throttled(told) = fault.ill { told } else { 0 });
        let rest = Duration::from_secs(2 * told.max().unwrap_or(0) + 40);
        self.faults.iter().map(|fault| *fault.times.end() + rest).max().unwrap_or_default()
    }

    /// Whether the store gets back what it held once.
    pub(crate) fn spoils(&self) -> bool {
        self.faults.iter().any(|fault| fault.ill == Ill::StoreSpoils)
    }

    /// Whether instances could count on the store and on each other's clocks all that time, and long enough before.
    pub(crate) fn is_whole(&self, times: RangeInclusive<Duration>) -> bool {
        !self.faults.iter().any(|fault| {
            (fault.ill.is_of_store() || matches!(fault.ill, Ill::Jump(_)))
                && fault.times.start() <= times.end()
                && *times.start() <= *fault.times.end() + SETTLING
        })
    }

    /// Whether a machine's clock went on steadily all that time.
    pub(crate) fn is_steady(&self, machine: usize, times: &RangeInclusive<Duration>) -> bool {
        !self.faults.iter().any(|fault| {
            matches!(fault.ill, Ill::Jump(_))
                && fault.machine.is_none_or(|place| place == machine)
                && fault.times.start() <= times.end()
                && times.start() <= fault.times.end()
        })
    }

    /// Since when a machine gets no answer of its store.
    pub(crate) fn without_store_since(&self, machine: usize, now: Duration) -> Option<Duration> {
        let gone = |fault: &&Fault| {
            fault.ill.is_without_store()
                && fault.machine.is_none_or(|place| place == machine)
                && fault.times.contains(&now)
        };
        self.faults.iter().find(gone).map(|fault| *fault.times.start())
    }
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6) as u64)
}

/// How far clocks are from true time at most, in seconds: half of what the broker tolerates between two of them.
pub(crate) const SKEW: i64 = 30;
/// How long what began without the store may still go on: a call's time, and the pause after it.
const SETTLING: Duration = Duration::from_secs(100);
const MOST_SEATS: f64 = 200.0;
