//! `token-broker get --write`

mod event;
mod format;
mod keeper;
mod on_change;
mod token_file;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use token_broker::Settings;
use token_broker_host::{Broker, Error, log_line};

use crate::args::{FileOption, Get};
use crate::end::end;
use crate::failure::Failed;
use crate::prepare::{LOG, Setup, repeats_the_error};
use event::Events;
use keeper::Keeper;
use on_change::OnChange;
use token_file::TokenFile;

/// Write each token to its file, and with `--watch` keep the files fresh until a signal ends this process.
pub(crate) async fn run(args: &Get, setup: &Setup) -> Result<(), Failed> {
    let watch = args.write.watch;
    let level = setup.log_level().unwrap_or(if watch { LEVEL } else { ERRORS_ONLY });
    let events = events(level)?;
    let mut keepers = keepers(args, events)?;
    // From here on, a signal ends the work between two files, and not within one.
    let end = end()?;
    let setup = setup.with_timeout(&args.timeout).with(LOG, level);
    let work = async {
        let has_begun = Arc::new(AtomicBool::new(false));
        let broker = broker(&setup, &has_begun).await?;
        let on_change = OnChange::new(&args.write, events);
        let written = setup.waiting(join_all(keepers.iter_mut().map(|keeper| keeper.write(&broker)))).await;
        let told = if written.iter().any(Result::is_ok) { on_change.tell().await } else { Ok(()) };
        written.into_iter().collect::<Result<(), _>>()?;
        if !watch {
            return told;
        }
        // The programs to tell may be waiting for the files.
        on_change.log(told);
        has_begun.store(true, Ordering::Relaxed);
        join_all(keepers.iter_mut().map(|keeper| keeper.keep(&broker, &on_change))).await;
        Ok(())
    };
    tokio::select! {
        outcome = work => outcome,
        () = end => if watch { Ok(()) } else { Err(Failed::other("a signal ended the command before it was done", "run it again")) },
    }
}

/// The files in the order of the arguments. Each can be written: nothing is sent for one that cannot.
fn keepers(args: &Get, events: Events) -> Result<Vec<Keeper>, Failed> {
    let options = &args.write.files;
    for (nth, option) in options.iter().enumerate() {
        if options.iter().take(nth).any(|other| other.path == option.path) {
            let what = format_args!("--write names {} twice", option.path.display());
            return Err(Error::invalid_request(what, "give each token a file of its own").into());
        }
    }
    let keeper = |option: &FileOption| {
        let file = TokenFile::new(&option.path, args.write.mode)?;
        let scope = option.scope.as_deref().unwrap_or(&args.scope);
        Ok(Keeper::new(file, option.format, args.request.request(scope)?, events))
    };
    options.iter().map(keeper).collect()
}

/// A broker that leaves the errors of the first tokens to the command, which prints them itself.
async fn broker(setup: &Setup, has_begun: &Arc<AtomicBool>) -> Result<Broker, Failed> {
    let has_begun = Arc::clone(has_begun);
    let log = move |line: &str| {
        if has_begun.load(Ordering::Relaxed) || !repeats_the_error(line) {
            log_line(line);
        }
    };
    setup.shared_broker_with_log(log).await
}

fn events(level: &str) -> Result<Events, Error> {
    let mut settings = Settings::default();
    settings.set(LOG, level.to_owned());
    settings.log_level().map(Events::of_level)
}

/// The default level of `--watch`: the log has a line for each file that is written.
const LEVEL: &str = "info";
/// The default level otherwise.
const ERRORS_ONLY: &str = "warn";
