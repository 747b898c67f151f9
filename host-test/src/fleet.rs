//! A fleet on one machine: processes full of broker instances, and the Redis through which they share their tokens.

mod process;
mod redis;

pub use process::{Got, Process};
pub use redis::Redis;
