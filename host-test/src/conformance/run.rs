//! The player of one case.

use anyhow::{Context as _, Result, bail};
use tokio::runtime::{Builder, Runtime};

use super::broker::Outcome;
use super::case::{Case, Step, Then};
use super::check::{count_differences, verdict_differences};
use super::secrets::Secrets;
use super::subject::{Instance, Instantiate, Kind, Subject};
use super::world::World;

/// Play a case to a new instance of the subject. Blocks, and needs no runtime around it.
///
/// # Errors
/// All differences from the case, or the reason why it could not be played.
pub fn run(subject: &Subject, case: &Case) -> Result<()> {
    match &subject.0 {
        Kind::Component(component) => runtime()?.block_on(play(component.as_ref(), case)),
        Kind::Filter(filter) => runtime()?.block_on(play(filter.as_ref(), case)),
    }
}

/// The names of the sources in a component's report. The filter has no report.
///
/// # Errors
/// If the component cannot be instantiated.
pub fn sources(subject: &Subject) -> Result<Vec<String>> {
    let Kind::Component(component) = &subject.0 else { return Ok(Vec::new()) };
    let case = Case::parse("{}")?;
    runtime()?.block_on(async {
        let mut instance = component.instantiate(&case, &World::of(&case)?).await?;
        Ok(instance.explain().await?.into_iter().map(|report| report.source).collect())
    })
}

/// A runtime whose clock moves only when everything waits.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_time().start_paused(true).build()?)
}

async fn play<S: Instantiate>(subject: &S, case: &Case) -> Result<()> {
    let world = World::of(case)?;
    let instance = subject.instantiate(case, &world).await?;
    let mut player = Player { subject, case, instance, world, output: String::new() };
    for (nth, step) in (1..).zip(&case.steps) {
        let step = player.instance.playable(step);
        let problems = player.step(&step).await.with_context(|| format!("step {nth}"))?;
        if !problems.is_empty() {
            bail!("step {nth}: {}", problems.join("\n  "));
        }
    }
    player.inspect().await?;
    player.output.push_str(&player.world.log());
    player.output.push_str(&player.instance.log());
    player.output.extend(player.world.store.iter().map(|store| store.dump()));
    match Secrets::of(case).found_in(&player.output) {
        Some(secret) => {
            bail!(
                "the secret {secret} is in an error, a log line, an explain report, the statistics or the store"
            )
        }
        None => Ok(()),
    }
}

struct Player<'a, S: Instantiate> {
    subject: &'a S,
    case: &'a Case,
    instance: S::Instance,
    world: World,
    /// Everything that an operator can see.
    output: String,
}

impl<S: Instantiate> Player<'_, S> {
    /// Play a step, and return the differences.
    async fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        self.change(step).await?;
        if let Some(ms) = step.advance_ms {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        }
        self.world.script.begin(&step.http);
        let mut problems = self.act(step).await?;
        problems.extend(self.world.script.end());
        if let Some(wanted) = &step.stats {
            problems.extend(count_differences(wanted, &self.instance.stats().await?));
        }
        if let Some(wanted) = &step.explain {
            problems.extend(verdict_differences(wanted, &self.instance.explain().await?));
        }
        Ok(problems)
    }

    /// Change the world of the component, while it runs or before its restart.
    async fn change(&mut self, step: &Step) -> Result<()> {
        if let Some(env) = &step.set_env {
            self.world.env = env.clone();
        }
        if let Some(files) = &step.set_files {
            self.world.files.set(files)?;
        }
        if let Some(store) = &self.world.store {
            step.store_condition.into_iter().for_each(|condition| store.set_condition(condition));
            step.store_change.into_iter().for_each(|change| store.change(change));
        }
        self.instance.change_store(step.store_condition, step.store_change);
        if step.restart {
            self.inspect().await?;
            self.output.push_str(&self.instance.log());
            self.instance = self.subject.instantiate(self.case, &self.world).await?;
        } else if step.set_env.is_some() {
            self.instance.set_env(&self.world)?;
        }
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        if let Some(scope) = &step.forget {
            self.instance.forget(scope).await?;
        }
        if let Some(ask) = &step.ask {
            for outcome in self.instance.ask(ask).await? {
                problems.extend(self.check(step, &outcome));
            }
        }
        if let Some(scope) = &step.peek {
            match (&step.then, self.instance.peek(scope).await?) {
                (Some(Some(_)), None) => problems.push("there must be a token and is none".to_owned()),
                (Some(None), Some(_)) => problems.push("there must be no token and is one".to_owned()),
                (Some(Some(then)), Some(token)) => problems.extend(then.differences(&Ok(token))),
                (Some(None), None) | (None, _) => {}
            }
        }
        problems.dedup();
        Ok(problems)
    }

    fn check(&mut self, step: &Step, outcome: &Outcome) -> Vec<String> {
        if let Err(error) = outcome {
            self.output.push_str(&format!("{error:?}\n"));
        }
        let then = step.then.iter().flatten();
        then.flat_map(|then: &Then| then.differences(outcome)).collect()
    }

    /// Read everything that operators can see.
    async fn inspect(&mut self) -> Result<()> {
        let report = self.instance.explain().await?;
        self.output.push_str(&format!("{report:?}\n"));
        self.output.push_str(&format!("{:?}\n", self.instance.stats().await?));
        Ok(())
    }
}
