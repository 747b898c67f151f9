//! A host with a virtual clock and scripted answers, and tasks that are polled by hand.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use token_broker::{
    Body, Broker, ExposeSecret as _, Host, Limits, Links, ReadError, Record, Secret, SendError,
    SendErrorKind, Settings, Store, StoreError,
};

/// The beginning of every test, in Unix seconds.
pub(crate) const START: u64 = 1_760_000_000;

pub(crate) type Reply = Result<http::Response<Body>, SendError>;

/// A JSON response.
pub(crate) fn json(status: u16, body: &str) -> Reply {
    let body = Body::from(body.as_bytes().to_vec());
    Ok(http::Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body)
        .unwrap())
}

/// A JSON response with an additional header.
pub(crate) fn json_with(status: u16, header: (&str, &str), body: &str) -> Reply {
    let mut reply = json(status, body)?;
    reply
        .headers_mut()
        .insert(http::HeaderName::from_bytes(header.0.as_bytes()).unwrap(), header.1.parse().unwrap());
    Ok(reply)
}

/// A response with a token that expires `ends_after` seconds after [`START`].
pub(crate) fn token(name: &str, ends_after: u64) -> Reply {
    json(200, &format!(r#"{{"access_token":"{name}","expires_on":"{}"}}"#, START + ends_after))
}

pub(crate) fn fault(kind: SendErrorKind) -> Reply {
    Err(SendError { kind, detail: "as scripted".to_owned() })
}

/// The fake host. All clones share one state.
#[derive(Clone, Default)]
pub(crate) struct World(Rc<State>);

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

#[derive(Default)]
struct State {
    now: Cell<Duration>,
    random: Cell<u64>,
    /// The increment of the random number after each use.
    varies_by: Cell<u64>,
    sleeping: RefCell<Vec<(Duration, Waker)>>,
    sent: RefCell<Vec<Sent>>,
    script: RefCell<VecDeque<Reply>>,
    awaiting_reply: RefCell<Vec<Waker>>,
    log: RefCell<Vec<String>>,
    files: RefCell<BTreeMap<String, Result<String, ReadError>>>,
    reads: RefCell<Vec<String>>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) url: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) limits: Limits,
    pub(crate) method: String,
    pub(crate) body: String,
}

impl Sent {
    /// The value of a form field, still encoded.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.body.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::default();
        world.0.now.set(Duration::from_secs(START));
        world
    }

    pub(crate) fn broker(&self, environment: &[(&str, &str)]) -> Broker<Self, NoStore> {
        self.sharing(&NoStore, environment)
    }

    /// An instance that shares a store, if its environment has a store key.
    pub(crate) fn sharing<S: Store + Clone>(
        &self,
        store: &S,
        environment: &[(&str, &str)],
    ) -> Broker<Self, S> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Broker::new(self.clone(), store.clone(), &Settings::from_pairs(pairs))
    }

    /// Adds a response for the next request, pending or future.
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.0.script.borrow_mut().extend(replies);
        self.0.awaiting_reply.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// Creates or replaces a file.
    pub(crate) fn file(&self, path: &str, content: &str) {
        self.0.files.borrow_mut().insert(path.to_owned(), Ok(content.to_owned()));
    }

    /// Makes a path unreadable.
    pub(crate) fn broken_file(&self, path: &str, words: &str) {
        self.0.files.borrow_mut().insert(path.to_owned(), Err(ReadError::Other(words.to_owned())));
    }

    /// Creates a link that leads out of the visible directories.
    pub(crate) fn link_out(&self, path: &str) {
        self.0.files.borrow_mut().insert(path.to_owned(), Err(ReadError::Outside));
    }

    /// The files that were read, in order, each with its treatment of links.
    pub(crate) fn reads(&self) -> Vec<String> {
        self.0.reads.borrow().clone()
    }

    pub(crate) fn set_random(&self, random: u64) {
        self.0.random.set(random);
    }

    /// Makes each random number a different one.
    pub(crate) fn vary_random(&self) {
        self.0.varies_by.set(0x9e37_79b9_7f4a_7c15);
    }

    /// The number of clones of this world. Each broker has one.
    pub(crate) fn clones(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    /// The time since the beginning.
    pub(crate) fn milliseconds(&self) -> u128 {
        (self.0.now.get() - Duration::from_secs(START)).as_millis()
    }

    pub(crate) fn seconds(&self) -> u128 {
        self.milliseconds() / 1000
    }

    pub(crate) fn requests(&self) -> usize {
        self.0.sent.borrow().len()
    }

    pub(crate) fn sent(&self, nth: usize) -> Sent {
        self.0.sent.borrow()[nth].clone()
    }

    /// The times of the requests, in milliseconds after the first.
    pub(crate) fn moments(&self) -> Vec<u128> {
        let sent = self.0.sent.borrow();
        sent.iter().map(|request| (request.at - sent[0].at).as_millis()).collect()
    }

    pub(crate) fn log(&self) -> String {
        self.0.log.borrow().join("\n")
    }

    /// Advances the clock, and wakes the sleepers whose time has come.
    pub(crate) fn advance(&self, duration: Duration) {
        self.set_clock(self.0.now.get() + duration);
    }

    pub(crate) fn advance_secs(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn set_clock(&self, now: Duration) {
        self.0.now.set(now);
        let mut sleeping = self.0.sleeping.borrow_mut();
        sleeping.extract_if(.., |(until, _)| *until <= now).for_each(|(_, waker)| waker.wake());
    }

    fn next_wake(&self) -> Option<Duration> {
        self.0.sleeping.borrow().iter().map(|(until, _)| *until).min()
    }

    /// Runs a future to its end. The clock jumps to the end of each sleep.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut tasks = Tasks::new(self);
        let task = tasks.start(future);
        tasks.settle();
        tasks.output(task).expect("the future waits for an answer that is not scripted")
    }
}

impl Host for World {
    fn now(&self) -> Duration {
        self.0.now.get()
    }

    async fn send(&self, request: http::Request<Body>, limits: Limits) -> Reply {
        let length =
            request.headers().get(http::header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
        let body = request.body().expose_secret();
        let expected = (request.method() == http::Method::POST).then(|| body.len().to_string());
        assert_eq!(length, expected.as_deref(), "{}", request.uri());
        self.0.sent.borrow_mut().push(Sent {
            at: self.now(),
            url: request.uri().to_string(),
            headers: request.headers().clone(),
            limits,
            method: request.method().to_string(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        poll_fn(|context| match self.0.script.borrow_mut().pop_front() {
            Some(reply) => Poll::Ready(reply),
            None => {
                self.0.awaiting_reply.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now() + duration;
        poll_fn(|context| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            self.0.sleeping.borrow_mut().push((until, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn random(&self) -> u64 {
        self.0.random.replace(self.0.random.get().wrapping_add(self.0.varies_by.get()))
    }

    async fn read(&self, path: &str, max_bytes: usize, links: Links) -> Result<Secret, ReadError> {
        self.0.reads.borrow_mut().push(format!("{path} {links:?}"));
        let file = self.0.files.borrow().get(path).cloned().unwrap_or(Err(ReadError::NotFound))?;
        if file.len() > max_bytes { Err(ReadError::TooLarge) } else { Ok(file.into()) }
    }

    fn log(&self, record: &Record<'_>) {
        self.0.log.borrow_mut().push(record.to_json(self.now()));
    }
}

/// A store that must not be called: sharing is off.
#[derive(Clone, Debug)]
pub(crate) struct NoStore;

impl Store for NoStore {
    async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        panic!("the store was asked although no key for it is set")
    }

    async fn set(&self, _: &str, _: Vec<u8>, _: Duration) -> Result<(), StoreError> {
        panic!("the store was asked although no key for it is set")
    }

    async fn add(&self, _: &str, _: Vec<u8>, _: Duration) -> Result<bool, StoreError> {
        panic!("the store was asked although no key for it is set")
    }

    async fn delete(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        panic!("the store was asked although no key for it is set")
    }
}

/// An executor that polls a future only after it was woken, so that a lost wake-up is noticed.
pub(crate) struct Tasks<'a, T> {
    world: World,
    tasks: Vec<Task<'a, T>>,
}

struct Task<'a, T> {
    future: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    output: Option<T>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a, T> Tasks<'a, T> {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), tasks: Vec::new() }
    }

    pub(crate) fn start(&mut self, future: impl Future<Output = T> + 'a) -> usize {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { future: Some(Box::pin(future)), output: None, woken });
        self.tasks.len() - 1
    }

    /// Polls the woken tasks until there is none. The clock stands still.
    pub(crate) fn poll(&mut self) {
        while self.tasks.iter_mut().fold(false, |any, task| task.poll() | any) {}
    }

    /// Polls one task once.
    pub(crate) fn poll_only(&mut self, task: usize) {
        self.tasks[task].poll();
    }

    /// Polls the woken tasks, and lets the clock jump to the end of each sleep, until no task sleeps.
    pub(crate) fn settle(&mut self) {
        loop {
            self.poll();
            let Some(until) = self.world.next_wake() else { return };
            self.world.set_clock(until.max(self.world.now()));
        }
    }

    /// Answers the pending requests while the clock stands still.
    pub(crate) fn serve(&mut self, answers: impl IntoIterator<Item = Reply>) {
        self.world.script(answers);
        self.poll();
    }

    /// Answers the requests until no call sleeps.
    pub(crate) fn finish(&mut self, answers: impl IntoIterator<Item = Reply>) {
        self.world.script(answers);
        self.settle();
    }

    pub(crate) fn drop_task(&mut self, task: usize) {
        self.tasks[task].future = None;
    }

    pub(crate) fn output(&mut self, task: usize) -> Option<T> {
        self.tasks[task].output.take()
    }

    pub(crate) fn outputs(&mut self) -> Vec<T> {
        self.tasks.iter_mut().filter_map(|task| task.output.take()).collect()
    }
}

impl<T> Task<'_, T> {
    fn poll(&mut self) -> bool {
        let Some(future) = self.future.as_mut().filter(|_| self.woken.0.swap(false, Ordering::Relaxed))
        else {
            return false;
        };
        if let Poll::Ready(output) =
            future.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone())))
        {
            self.output = Some(output);
            self.future = None;
        }
        true
    }
}
