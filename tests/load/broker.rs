//! The broker that is loaded: started for one measurement, or one that runs already.
//!
//! It owns the process and its folder, both gone when the value is dropped, and reads from the system
//! what processor time the process has used. The study, too, starts its brokers by it.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// One plaintext listener on a port that the system picks; the rest at its default.
const CONFIGURATION: &str = "data_dir = \"data\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n";
/// In which /proc counts processor time, on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Its configuration, in its folder.
const FILE: &str = "sealmq.toml";
/// Longer than any start takes.
const START: Duration = Duration::from_mins(1);

/// A broker that listens.
pub(crate) struct Broker {
    /// Where it listens, in the order of its configuration.
    listeners: Vec<SocketAddr>,
    /// Its process, if that is known.
    pub(crate) pid: Option<u32>,
    /// None for one that was there before.
    own: Option<(Child, TempDir)>,
}

impl Broker {
    /// A broker that somebody else has started.
    pub(crate) fn running(addr: SocketAddr, pid: Option<u32>) -> Self {
        Self { listeners: vec![addr], pid, own: None }
    }

    /// Starts `program` with nothing but one plaintext listener.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let folder = TempDir::new()?;
        std::fs::write(folder.path().join(FILE), CONFIGURATION)?;
        Self::start_in(folder, program)
    }

    /// Starts `program` with the configuration in this folder, and waits until it says where it listens.
    pub(crate) fn start_in(folder: TempDir, program: &Path) -> Result<Self> {
        let file = folder.path().join(FILE);
        let listeners = std::fs::read_to_string(&file)?.matches("[[listener]]").count();
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&file)
            .env("SEALMQ_TELEMETRY__LOG_JSON", "true")
            .env("SEALMQ_TELEMETRY__LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = Some(child.id());
        // From here on, dropping it ends the process.
        let mut broker = Self { listeners: Vec::new(), pid, own: Some((child, folder)) };
        let (told, addr) = std::sync::mpsc::channel();
        for stream in [stdout.map(boxed), stderr.map(boxed)].into_iter().flatten() {
            let told = told.clone();
            // To its end, so that the broker never waits for somebody to read its log.
            std::thread::spawn(move || {
                for addr in stream.lines().map_while(Result::ok).filter_map(|line| listening(&line)) {
                    // After a reload nobody waits any more.
                    let _ = told.send(addr);
                }
            });
        }
        drop(told);
        for _ in 0..listeners {
            match addr.recv_timeout(START) {
                Ok(addr) => broker.listeners.push(addr),
                Err(_) => bail!("{} ended before it listened, or does not listen", program.display()),
            }
        }
        Ok(broker)
    }

    /// Where the `n`th listener of its configuration listens.
    pub(crate) fn listener(&self, n: usize) -> Result<SocketAddr> {
        self.listeners.get(n).copied().context("the broker has fewer listeners")
    }

    /// Processor time that it has used, seconds; none if its process is not known.
    pub(crate) fn cpu_s(&self) -> Result<Option<f64>> {
        let Some(pid) = self.pid else { return Ok(None) };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name, which may hold anything: the 12th and 13th are those in user and system mode.
        let (_, fields) = stat.rsplit_once(')').context("/proc has changed")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let ticks: f64 = ticks.sum::<Result<f64, _>>()?;
        Ok(Some(ticks / TICKS_PER_SECOND))
    }
}

fn boxed(stream: impl std::io::Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::new(stream))
}

fn listening(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.contains("\"listening\"").then_some(line)?.split_once("\"addr\":\"")?;
    after.split('"').next()?.parse().ok()
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.own {
            // An error says that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
