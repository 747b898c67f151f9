//! Virtual time, random numbers, and an executor that polls woken tasks in an order drawn from the seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fastrand::Rng;

/// The world of a run. All clones share one state. Times count from the beginning of the run.
#[derive(Clone)]
pub(crate) struct World(Rc<State>);

struct State {
    now: Cell<Duration>,
    rng: RefCell<Rng>,
    serial: Cell<u64>,
    sleeping: RefCell<BTreeMap<(Duration, u64), Waker>>,
    tasks: RefCell<BTreeMap<TaskId, Task>>,
    ready: Arc<Mutex<Vec<TaskId>>>,
    running: Cell<TaskId>,
    killed: RefCell<BTreeMap<TaskId, Duration>>,
    /// The time of the last dropped call, by key.
    abandoned_at: RefCell<BTreeMap<usize, Duration>>,
    /// The time at which an instance may have been left with an idle fetch.
    left_idle: RefCell<BTreeMap<Group, Duration>>,
    /// Tasks that have left a fetch to others, and continue.
    handed_over: RefCell<BTreeSet<TaskId>>,
    dead: RefCell<BTreeSet<Group>>,
    /// Instances whose calls are not dropped alone.
    whole: RefCell<BTreeSet<Group>>,
    /// The periods in which calls are dropped and instances killed.
    deadly_times: Vec<RangeInclusive<Duration>>,
    steps: Cell<u64>,
    violation: RefCell<Option<String>>,
    events: Option<RefCell<VecDeque<String>>>,
}

pub(crate) type TaskId = u64;

/// All tasks of one instance.
pub(crate) type Group = u64;

struct Task {
    group: Option<Group>,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
}

struct Bell {
    task: TaskId,
    ready: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap();
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

/// The result of a run.
pub(crate) struct Ending {
    pub(crate) violation: Option<String>,
    pub(crate) now: Duration,
    pub(crate) steps: u64,
    pub(crate) events: Vec<String>,
}

impl World {
    pub(crate) fn new(rng: Rng, deadly_times: Vec<RangeInclusive<Duration>>, traced: bool) -> Self {
        Self(Rc::new(State {
            now: Cell::default(),
            rng: RefCell::new(rng),
            serial: Cell::default(),
            sleeping: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
            running: Cell::default(),
            killed: RefCell::default(),
            abandoned_at: RefCell::default(),
            left_idle: RefCell::default(),
            handed_over: RefCell::default(),
            dead: RefCell::default(),
            whole: RefCell::default(),
            deadly_times,
            steps: Cell::default(),
            violation: RefCell::default(),
            events: traced.then(RefCell::default),
        }))
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.now.get()
    }

    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.0.rng.borrow_mut())
    }

    /// True with a probability of one in `many`.
    pub(crate) fn one_in(&self, many: u32) -> bool {
        self.random(|rng| rng.u32(..many) == 0)
    }

    /// A random duration between two limits in microseconds.
    pub(crate) fn between(&self, shortest: u64, longest: u64) -> Duration {
        Duration::from_micros(self.random(|rng| rng.u64(shortest..=longest)))
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    pub(crate) fn sleep_until(&self, until: Duration) -> Sleep {
        Sleep { world: self.clone(), seat: (until, self.serial()) }
    }

    /// A unique number.
    pub(crate) fn serial(&self) -> u64 {
        self.0.serial.set(self.0.serial.get() + 1);
        self.0.serial.get()
    }

    pub(crate) fn spawn(&self, group: Option<Group>, future: impl Future<Output = ()> + 'static) {
        let task = self.serial();
        let waker = Waker::from(Arc::new(Bell { task, ready: Arc::clone(&self.0.ready) }));
        waker.wake_by_ref();
        self.0.tasks.borrow_mut().insert(task, Task { group, future: Some(Box::pin(future)), waker });
    }

    /// The running task.
    pub(crate) fn running(&self) -> TaskId {
        self.0.running.get()
    }

    pub(crate) fn is_alive(&self, task: TaskId) -> bool {
        self.0.tasks.borrow().contains_key(&task)
    }

    /// Whether a task was dropped, or abandoned its call.
    pub(crate) fn was_killed(&self, task: TaskId) -> bool {
        self.0.killed.borrow().contains_key(&task)
    }

    /// Whether that was before the present time.
    pub(crate) fn was_killed_before(&self, task: TaskId) -> bool {
        self.0.killed.borrow().get(&task).is_some_and(|at| *at < self.now())
    }

    /// Whether an instance may have been left with an idle fetch since a time.
    pub(crate) fn was_left_idle_since(&self, group: Group, moment: Duration) -> bool {
        self.0.left_idle.borrow().get(&group).is_some_and(|at| *at >= moment)
    }

    /// Whether a call for a key was abandoned since a time.
    pub(crate) fn was_abandoned_since(&self, key: usize, moment: Duration) -> bool {
        self.0.abandoned_at.borrow().get(&key).is_some_and(|at| *at >= moment)
    }

    /// The running task abandons its call.
    pub(crate) fn abandon(&self, group: Group, key: usize) {
        self.0.left_idle.borrow_mut().insert(group, self.now());
        self.0.killed.borrow_mut().insert(self.running(), self.now());
        self.0.abandoned_at.borrow_mut().insert(key, self.now());
        self.note(|| format!("task {} gives up", self.running()));
    }

    /// The running task leaves the fetch that it waits for to other waiters.
    pub(crate) fn hand_over(&self) {
        self.0.handed_over.borrow_mut().insert(self.running());
    }

    pub(crate) fn has_handed_over(&self, task: TaskId) -> bool {
        self.0.handed_over.borrow().contains(&task)
    }

    pub(crate) fn is_busy(&self, group: Group) -> bool {
        self.0.tasks.borrow().values().any(|task| task.group == Some(group))
    }

    /// Whether an instance was killed.
    pub(crate) fn is_dead(&self, group: Group) -> bool {
        self.0.dead.borrow().contains(&group)
    }

    /// A call of this instance is never dropped alone.
    pub(crate) fn kill_whole(&self, group: Group) {
        self.0.whole.borrow_mut().insert(group);
    }

    /// Drops all tasks of an instance.
    fn kill(&self, group: Group) {
        self.0.dead.borrow_mut().insert(group);
        let of_group = |task: &Task| task.group == Some(group);
        let doomed: Vec<TaskId> = {
            let tasks = self.0.tasks.borrow();
            tasks.iter().filter(|(_, task)| of_group(task)).map(|(id, _)| *id).collect()
        };
        doomed.into_iter().for_each(|task| self.cancel(task));
    }

    fn cancel(&self, task: TaskId) {
        let dropped = self.0.tasks.borrow_mut().remove(&task);
        if let Some(group) = dropped.as_ref().and_then(|task| task.group) {
            self.0.left_idle.borrow_mut().insert(group, self.now());
        }
        self.0.killed.borrow_mut().insert(task, self.now());
        self.note(|| format!("task {task} is dropped"));
        drop(dropped);
    }

    /// Records an event for the report of a failed run.
    pub(crate) fn note(&self, event: impl FnOnce() -> String) {
        let Some(events) = &self.0.events else { return };
        let mut events = events.borrow_mut();
        if events.len() == MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(format!("{:>12.3} s  {}", self.now().as_secs_f64(), event()));
    }

    /// Records the violation of an invariant, which ends the run.
    pub(crate) fn violated(&self, words: impl FnOnce() -> String) {
        self.0.violation.borrow_mut().get_or_insert_with(words);
    }

    /// Polls the woken tasks, and advances the time when there is none.
    pub(crate) fn run(&self) -> Ending {
        while self.0.violation.borrow().is_none() && (self.step() || self.pass()) {}
        if self.0.steps.get() >= MAX_STEPS {
            self.violated(|| "a run ends".to_owned());
        }
        self.end()
    }

    /// Ends the run.
    pub(crate) fn end(&self) -> Ending {
        // Breaks the cycle of the tasks and the world.
        drop(self.0.tasks.take());
        Ending {
            violation: self.0.violation.take(),
            now: self.now(),
            steps: self.0.steps.get(),
            events: self.0.events.as_ref().map(|events| events.take().into()).unwrap_or_default(),
        }
    }

    fn step(&self) -> bool {
        let task = {
            let mut ready = self.0.ready.lock().unwrap();
            if ready.is_empty() || self.0.steps.get() >= MAX_STEPS {
                return false;
            }
            let index = self.random(|rng| rng.usize(..ready.len()));
            ready.swap_remove(index)
        };
        self.0.steps.set(self.0.steps.get() + 1);
        self.poll(task);
        true
    }

    fn poll(&self, id: TaskId) {
        let taken = self
            .0
            .tasks
            .borrow_mut()
            .get_mut(&id)
            .and_then(|task| Some((task.future.take()?, task.waker.clone(), task.group)));
        let Some((mut future, waker, group)) = taken else { return };
        self.0.running.set(id);
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.0.tasks.borrow_mut().remove(&id);
            return;
        }
        if let Some(task) = self.0.tasks.borrow_mut().get_mut(&id) {
            task.future = Some(future);
        }
        let Some(group) = group else { return };
        let is_deadly = self.0.deadly_times.iter().any(|times| times.contains(&self.now()));
        match is_deadly.then(|| self.random(|rng| rng.u32(..DEATHS))) {
            Some(0) if !self.0.whole.borrow().contains(&group) => self.cancel(id),
            Some(0) => self.kill(group),
            Some(1) => self.kill(group),
            _ => {}
        }
    }

    fn pass(&self) -> bool {
        let mut sleeping = self.0.sleeping.borrow_mut();
        let Some((&(until, _), _)) = sleeping.first_key_value() else { return false };
        self.0.now.set(until);
        while let Some(first) = sleeping.first_entry().filter(|first| first.key().0 == until) {
            first.remove().wake();
        }
        self.0.steps.get() < MAX_STEPS
    }
}

/// A future that is ready at a time.
pub(crate) struct Sleep {
    world: World,
    seat: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.seat.0 {
            return Poll::Ready(());
        }
        self.world.0.sleeping.borrow_mut().insert(self.seat, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.world.0.sleeping.borrow_mut().remove(&self.seat);
    }
}

/// The number of events in a report.
const MAX_EVENTS: usize = 30;
/// The limit of steps. A run has some ten thousand.
const MAX_STEPS: u64 = 20_000_000;
/// Of so many polls in deadly times, one drops the call and one kills the instance.
const DEATHS: u32 = 40;
