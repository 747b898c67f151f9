//! The plan of a run: a fleet, its traffic and its faults, drawn from a seed. Times count from the beginning of the
//! run.

use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

/// The plan of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The skew of each machine's clock, in seconds.
    pub(crate) skews: Vec<i64>,
    pub(crate) keys: usize,
    /// The lifetime of a token, in seconds.
    pub(crate) life: u64,
    /// The `refresh_in` of the platform, if it sends one.
    pub(crate) refresh_in: Option<u64>,
    /// Whether the platform sends `expires_on` rather than `expires_in`.
    pub(crate) sends_expires_on: bool,
    /// Whether the platform sends a `Date` header.
    pub(crate) sends_date: bool,
    /// A service refuses one token in so many.
    pub(crate) refusals: u32,
    /// One seat in so many has instances of WASI 0.2; none if zero.
    pub(crate) blocking: usize,
    pub(crate) faults: Vec<Fault>,
    /// The calls of each seat: a sequence of instances on one machine.
    pub(crate) seats: Vec<Vec<Call>>,
}

/// A fault with a duration.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) times: RangeInclusive<Duration>,
    /// The machine; none for all.
    pub(crate) machine: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Operations take up to one and a half seconds.
    StoreSlow,
    /// Operations fail.
    StoreDown,
    /// Operations never end.
    StoreSilent,
    /// Half of the writes are lost.
    StoreLoses,
    /// All entries are lost, at one instant.
    StoreRestarts,
    /// All entries become garbage that does not expire, at one instant.
    StoreSpoils,
    /// Half of the operations succeed, but their results are lost.
    StoreMute,
    /// Half of the reads get the previous value.
    StoreStale,
    /// Half of the reads get a value that is changed, truncated or lengthened.
    StoreCorrupts,
    /// Half of the reads get the value of another name.
    StoreSwaps,
    /// 429 with a `Retry-After` of so many seconds; without one if zero.
    Throttled(u64),
    /// 410, as during an upgrade of IMDS.
    Upgrading,
    /// 500 or 503.
    Broken,
    /// Responses take up to twelve seconds, and connections are lost.
    Slow,
    /// A machine's clock jumps by so many seconds.
    Jump(i64),
    /// Calls are dropped and instances killed at any await point.
    Deaths,
}

/// A call in a seat.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Duration,
    /// The key of the token; none for all keys at once.
    pub(crate) key: Option<usize>,
    /// Whether a new instance takes the seat.
    pub(crate) is_new_instance: bool,
    /// Whether a service refuses the token.
    pub(crate) refused: bool,
    /// The time after which the caller drops the call, if it does.
    pub(crate) patience: Option<Duration>,
}

impl FaultKind {
    fn is_without_store(self) -> bool {
        matches!(self, Self::StoreDown | Self::StoreSilent)
    }

    pub(crate) fn is_instant(self) -> bool {
        matches!(self, Self::StoreRestarts | Self::StoreSpoils)
    }

    fn is_of_store(self) -> bool {
        use FaultKind::*;
        !matches!(self, Throttled(_) | Upgrading | Broken | Slow | Jump(_) | Deaths)
    }
}

impl Fault {
    fn concerns(&self, machine: usize, times: &RangeInclusive<Duration>) -> bool {
        let is_here = self.machine.is_none_or(|its| its == machine);
        is_here && self.times.start() <= times.end() && times.start() <= self.times.end()
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
            sends_expires_on: rng.bool(),
            sends_date: rng.bool(),
            refusals: pick(rng, &[100, 100, 100, 2]),
            blocking: pick(rng, &[0, 0, 1, 2]),
            faults: Vec::new(),
            seats: Vec::new(),
        };
        let faults = pick(rng, &[0, 1, 1, 2, 3]);
        plan.faults = (0..faults).map(|_| plan.draw_fault(rng)).collect();
        // Small fleets find as much as large ones, in less time: the sizes are distributed logarithmically.
        let seats = (2f64.powf(rng.f64() * MOST_SEATS.log2()) as usize).max(1);
        plan.seats = plan.draw_traffic(rng, seats);
        plan
    }

    /// True for a seat whose instances are of WASI 0.2.
    pub(crate) fn blocks(&self, seat: usize) -> bool {
        self.blocking > 0 && seat.is_multiple_of(self.blocking)
    }

    /// The latest refresh of a token that was fetched at the beginning, in seconds.
    pub(crate) fn window(&self) -> u64 {
        let window = self.refresh_in.unwrap_or(if self.life >= 7200 { self.life / 2 } else { self.life });
        window.min(self.life - 300)
    }

    fn draw_fault(&self, rng: &mut Rng) -> Fault {
        use FaultKind::*;
        let kind = match rng.u32(..18) {
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
        let lasts = if kind.is_instant() { 0.0 } else { 10f64.powf(rng.f64() * 3.0) };
        let times = seconds(from as f64)..=seconds(from as f64 + lasts);
        let everywhere = matches!(kind, Throttled(_) | Upgrading | Broken | Slow | Deaths)
            || kind.is_instant()
            || kind.is_of_store() && rng.bool();
        let machine = (!everywhere).then(|| rng.usize(..self.skews.len()));
        Fault { kind, times, machine }
    }

    /// Draws calls around the times at which something changes, and one call of each seat after the recovery.
    fn draw_traffic(&self, rng: &mut Rng, seats: usize) -> Vec<Vec<Call>> {
        let edges = self.faults.iter().flat_map(|fault| [*fault.times.start(), *fault.times.end()]);
        let ends = [0, self.window(), self.life - 300, self.life - 80, self.life, self.life + self.window()];
        let mut moments: Vec<Duration> = ends.map(Duration::from_secs).into_iter().chain(edges).collect();
        moments.push(self.recovery());
        let spreads: Vec<f64> = moments.iter().map(|_| pick(rng, &[0.0, 0.1, 5.0, 60.0])).collect();
        let calls = |rng: &mut Rng| {
            let mut calls: Vec<Call> = Vec::new();
            for (moment, spread) in moments.iter().zip(&spreads) {
                for _ in 0..rng.u32(..4) {
                    let at = *moment + seconds(spread * rng.f64());
                    calls.push(self.draw_call(rng, at));
                }
            }
            calls.push(Call { refused: false, patience: None, ..self.draw_call(rng, self.recovery()) });
            calls.sort_by_key(|call| call.at);
            calls
        };
        (0..seats).map(|_| calls(rng)).collect()
    }

    fn draw_call(&self, rng: &mut Rng, at: Duration) -> Call {
        let key = (rng.u32(..16) > 0).then(|| rng.usize(..self.keys));
        let patience = (rng.u32(..8) == 0).then(|| seconds(10f64.powf(rng.f64() * 4.0 - 3.0)));
        Call { at, key, is_new_instance: rng.u32(..4) == 0, refused: rng.u32(..self.refusals) == 0, patience }
    }

    /// The present fault of a machine, of a given kind.
    pub(crate) fn fault<T>(
        &self,
        machine: usize,
        now: Duration,
        of_kind: impl Fn(FaultKind) -> Option<T>,
    ) -> Option<T> {
        let here = |fault: &&Fault| fault.concerns(machine, &(now..=now));
        self.faults.iter().filter(here).find_map(|fault| of_kind(fault.kind))
    }

    /// The present fault of the store for a machine, the worst one first.
    pub(crate) fn store(&self, machine: usize, now: Duration) -> Option<FaultKind> {
        let gone = self.fault(machine, now, |kind| kind.is_without_store().then_some(kind));
        gone.or_else(|| self.fault(machine, now, |kind| kind.is_of_store().then_some(kind)))
    }

    /// The present offset of a machine's clock, in seconds.
    pub(crate) fn offset(&self, machine: usize, now: Duration) -> i64 {
        let jump =
            self.fault(machine, now, |kind| if let FaultKind::Jump(by) = kind { Some(by) } else { None });
        self.skews[machine] + jump.unwrap_or(0)
    }

    pub(crate) fn deadly_times(&self) -> Vec<RangeInclusive<Duration>> {
        let deaths = self.faults.iter().filter(|fault| fault.kind == FaultKind::Deaths);
        deaths.map(|fault| fault.times.clone()).collect()
    }

    /// The time from which all calls must succeed again.
    pub(crate) fn recovery(&self) -> Duration {
        let waits = self
            .faults
            .iter()
            .map(|fault| if let FaultKind::Throttled(seconds) = fault.kind { seconds } else { 0 });
        let rest = Duration::from_secs(2 * waits.max().unwrap_or(0) + 40);
        self.faults.iter().map(|fault| *fault.times.end() + rest).max().unwrap_or_default()
    }

    /// Whether a fault replaces entries by garbage.
    pub(crate) fn spoils(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind == FaultKind::StoreSpoils)
    }

    /// Whether the store and the clocks had no fault in a period, and long enough before it.
    pub(crate) fn is_undisturbed(&self, times: RangeInclusive<Duration>) -> bool {
        !self.faults.iter().any(|fault| {
            (fault.kind.is_of_store() || matches!(fault.kind, FaultKind::Jump(_)))
                && fault.times.start() <= times.end()
                && *times.start() <= *fault.times.end() + SETTLING
        })
    }

    /// Whether a machine's clock did not jump in a period.
    pub(crate) fn is_steady(&self, machine: usize, times: &RangeInclusive<Duration>) -> bool {
        let jumps =
            |fault: &Fault| matches!(fault.kind, FaultKind::Jump(_)) && fault.concerns(machine, times);
        !self.faults.iter().any(jumps)
    }

    /// The beginning of the present outage of the store for a machine.
    pub(crate) fn without_store_since(&self, machine: usize, now: Duration) -> Option<Duration> {
        let gone = |fault: &&Fault| fault.kind.is_without_store() && fault.concerns(machine, &(now..=now));
        self.faults.iter().find(gone).map(|fault| *fault.times.start())
    }
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6) as u64)
}

/// The largest skew of a clock, in seconds: half of the difference that the broker tolerates between two clocks.
pub(crate) const SKEW: i64 = 30;
/// The longest effect of a fault after its end: the time of a call, and the suspension of the store.
const SETTLING: Duration = Duration::from_secs(100);
const MOST_SEATS: f64 = 200.0;
