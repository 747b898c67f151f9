//! Conformance: cases that are data, played to the built component in wasmtime.
//!
//! A [`Case`] says what the component is lent (environment, files, a clock), what is asked of it, what it must send,
//! what it is answered, and what it must say. HTTP is answered in memory, the clock is virtual, the random source
//! gives zeros: a case takes milliseconds and comes out the same every time.

mod broker;
mod case;
mod check;
mod content;
mod expect;
mod files;
mod filter;
mod load;
mod reply;
mod run;
mod script;
mod secrets;
mod store;
mod subject;
mod sum;
mod world;

pub use self::case::Case;
pub use self::filter::{Passage, Passed, Since};
pub use self::load::{CaseFile, find};
pub use self::run::run;
pub use self::subject::Subject;
pub use self::sum::{Failed, Sum, run_all};
