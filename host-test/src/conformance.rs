//! The conformance player: it runs cases, which are data, on the built component in wasmtime.
//!
//! A [`Case`] gives the component an environment, files and a clock, and states the calls, the requests that the
//! component must send, the answers to these, and the outcomes. HTTP is answered in memory, the clock is virtual and
//! the random source returns zeros: a case takes milliseconds and always has the same result.

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
mod source;
mod store;
mod subject;
mod summary;
mod world;

pub use self::case::Case;
pub use self::filter::{FailsFrom, FilterHarness, RequestState};
pub use self::load::{NamedCase, find};
pub use self::run::{run, sources};
pub use self::subject::Subject;
pub use self::summary::{Failed, Summary, run_all};
