//! The load, and the processor time and memory of an Envoy.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use host_test::envoy::Envoy;
use tokio::process::Command;

use super::process;

/// The program wrk.
pub(super) struct Wrk;

/// The figures of one run
pub(super) struct Round {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) p99_ms: f64,
}

impl Wrk {
    pub(super) fn find() -> Option<Self> {
        let version = std::process::Command::new("wrk").arg("--version").output();
        version.is_ok().then_some(Self)
    }

    /// Sixteen connections for some seconds.
    pub(super) async fn run(&self, address: SocketAddr, seconds: u64) -> Result<Round> {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--connections", "16", "--latency"]);
        wrk.args(["--duration", &format!("{seconds}s")]);
        let output = wrk.arg(format!("http://{address}/")).output().await?;
        Round::parse(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Round {
    fn parse(text: &str) -> Result<Self> {
        let after = |words: &str| {
            let found = text.lines().find_map(|line| line.trim().strip_prefix(words));
            found.map(str::trim).with_context(|| format!("wrk said {text}"))
        };
        let line = text.lines().find(|line| line.contains(" requests in ")).context("wrk counted nothing")?;
        let (requests, rest) = line.trim().split_once(" requests in ").context("wrk counted nothing")?;
        anyhow::ensure!(!text.contains("Non-2xx"), "not every answer is a 200: {text}");
        Ok(Self {
            requests: requests.parse()?,
            seconds: milliseconds(rest.split(',').next().unwrap_or_default())? / 1e3,
            p99_ms: milliseconds(after("99%")?)?,
        })
    }
}

/// `812.00us`, `1.25ms`, `3.00s`
fn milliseconds(text: &str) -> Result<f64> {
    let (unit, factor) = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))
        .with_context(|| format!("no time: {text}"))?;
    Ok(text.trim_end_matches(unit).parse::<f64>()? * factor)
}

/// The CPU time of a process, of all its threads.
pub(super) fn cpu_us(envoy: &Envoy) -> Result<u64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", process(envoy)?))? {
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let on_cpu = text.split(' ').next().and_then(|on_cpu| on_cpu.parse::<u64>().ok());
        nanoseconds += on_cpu.unwrap_or_default();
    }
    Ok(nanoseconds / 1000)
}

/// Resident memory.
pub(super) fn memory_mib(envoy: &Envoy) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process(envoy)?))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = resident.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
