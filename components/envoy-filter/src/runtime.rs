//! Waiting in a plugin: tasks, timers, and the requests that wait for a token.

pub(crate) mod clock;
pub(crate) mod tasks;
pub(crate) mod timers;
pub(crate) mod wait_queue;
