//! The end of a process that runs until a signal.

use tokio::signal::unix::{SignalKind, signal};

use crate::FREE_RESOURCES;
use crate::failure::Failed;

/// Completes at SIGTERM or SIGINT, which from now on do not end the process by themselves.
///
/// # Errors
/// The system has no room for the handlers.
pub(crate) fn end() -> Result<impl Future<Output = ()>, Failed> {
    let of = |kind| signal(kind).map_err(|error| Failed::other(error, FREE_RESOURCES));
    let (mut terminate, mut interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
