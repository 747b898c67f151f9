//! Playing one case.

use anyhow::{Context as _, Result, bail};

use super::broker::Outcome;
use super::case::{Case, Step, Then};
use super::check::{other_counts, other_verdicts};
use super::secrets::Secrets;
use super::subject::{Instance, Kind, Playable, Subject};
use super::world::World;

/// Play a case to a fresh instance of what is under test. Blocks; needs no runtime around it.
///
/// # Errors
/// Everything in which it did not do what the case says, or why it could not be found out.
pub fn run(subject: &Subject, case: &Case) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    match subject.kind() {
        Kind::Component(component) => runtime.block_on(play(component.as_ref(), case)),
        Kind::Filter(filter) => runtime.block_on(play(filter.as_ref(), case)),
    }
}

async fn play<S: Playable>(subject: &S, case: &Case) -> Result<()> {
    let world = World::of(case)?;
    let instance = subject.instantiate(case, &world).await?;
    let mut stage = Stage { subject, case, instance, world, seen: String::new() };
    for (nth, step) in (1..).zip(&case.steps) {
        let step = stage.instance.visible(step);
        let problems = stage.step(&step).await.with_context(|| format!("step {nth}"))?;
        if !problems.is_empty() {
            bail!("step {nth}: {}", problems.join("\n  "));
        }
    }
    stage.look_around().await?;
    stage.seen.push_str(&stage.world.log());
    stage.seen.push_str(&stage.instance.log());
    stage.seen.extend(stage.world.lent.iter().map(|lent| lent.shown()));
    match Secrets::of(case).found_in(&stage.seen) {
        Some(secret) => {
            bail!(
                "the secret {secret} is in an error, a log line, an explain report, the statistics or the store"
            )
        }
        None => Ok(()),
    }
}

struct Stage<'a, S: Playable> {
    subject: &'a S,
    case: &'a Case,
    instance: S::Instance,
    world: World,
    /// Everything that an operator gets to see.
    seen: String,
}

impl<S: Playable> Stage<'_, S> {
    /// Do one step. What comes back is what was wrong.
    async fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        self.change(step).await?;
        if let Some(ms) = step.advance_ms {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
        }
        self.world.script.begin(&step.http);
        let mut problems = self.act(step).await?;
        problems.extend(self.world.script.end());
        if let Some(wanted) = &step.stats {
            problems.extend(other_counts(wanted, &self.instance.stats().await?));
        }
        if let Some(wanted) = &step.explain {
            problems.extend(other_verdicts(wanted, &self.instance.explain().await?));
        }
        Ok(problems)
    }

    /// Change what the component is lent, under its feet or while it is stopped.
    async fn change(&mut self, step: &Step) -> Result<()> {
        if let Some(env) = &step.set_env {
            self.world.set_env(env.clone());
        }
        if let Some(files) = &step.set_files {
            self.world.files.set(files)?;
        }
        if let Some(lent) = &self.world.lent {
            step.store_stands.into_iter().for_each(|stands| lent.stand(stands));
            step.store_happens.into_iter().for_each(|happens| lent.happen(happens));
        }
        self.instance.shared(step.store_stands, step.store_happens);
        if step.restart {
            self.look_around().await?;
            self.seen.push_str(&self.instance.log());
            self.instance = self.subject.instantiate(self.case, &self.world).await?;
        } else if step.set_env.is_some() {
            self.instance.see(&self.world)?;
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
                problems.extend(self.judge(step, &outcome));
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

    fn judge(&mut self, step: &Step, outcome: &Outcome) -> Vec<String> {
        if let Err(error) = outcome {
            self.seen.push_str(&format!("{error:?}\n"));
        }
        let then = step.then.iter().flatten();
        then.flat_map(|then: &Then| then.differences(outcome)).collect()
    }

    /// Read everything that operators can read.
    async fn look_around(&mut self) -> Result<()> {
        let report = self.instance.explain().await?;
        self.seen.push_str(&format!("{report:?}\n"));
        self.seen.push_str(&format!("{:?}\n", self.instance.stats().await?));
        Ok(())
    }
}
