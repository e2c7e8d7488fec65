//! The broker that is killed: its folder, its process, its log.
//!
//! It can be killed and started again on the same folder as often as wanted. The process is gone when the
//! value is dropped. Its log, over all its lives, is kept beside its data, and the last lines at hand.

use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than any log may take to be read back.
const START: Duration = Duration::from_mins(1);
const LOG_LINES: usize = 60;

/// A broker, alive or about to be.
pub(crate) struct Broker {
    /// Where it listens; another port in each life.
    pub(crate) addr: SocketAddr,
    program: PathBuf,
    folder: TempDir,
    child: Option<Child>,
    log: Log,
}

impl Broker {
    /// Starts `program` on an empty folder.
    pub(crate) fn start(program: &Path, durability: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        std::fs::write(folder.path().join("sealmq.toml"), configuration(durability))?;
        let addr = ([127, 0, 0, 1], 0).into();
        // As the folder is another one than ours.
        let program = program.canonicalize().with_context(|| format!("no {}", program.display()))?;
        let log = Log::create(&folder.path().join("broker.log"))?;
        let mut broker = Self { addr, program, folder, child: None, log };
        match broker.launch() {
            Ok(_) => Ok(broker),
            Err(error) => Err(error.context(broker.last_lines().join("\n"))),
        }
    }

    /// Kills it, as nothing can that it could prepare for.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it, on what the life before has left; answers how long it took to listen.
    pub(crate) fn launch(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.addr = match self.spawn()?.recv_timeout(START) {
            Ok(addr) => addr,
            Err(RecvTimeoutError::Timeout) => bail!("the broker does not listen within {START:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the broker ended before it listened"),
        };
        Ok(begin.elapsed())
    }

    /// Starts it and kills it again after that time, or once it listens: a life that only reads back what
    /// the one before has left.
    pub(crate) fn launch_and_kill(&mut self, after: Duration) -> Result<()> {
        if self.spawn()?.recv_timeout(after) == Err(RecvTimeoutError::Disconnected) {
            bail!("the broker ended before it listened");
        }
        self.kill()
    }

    /// Starts the process; where it listens comes by the receiver.
    fn spawn(&mut self) -> Result<Receiver<SocketAddr>> {
        let mut child = Command::new(&self.program)
            .args(["--config", "sealmq.toml"])
            .current_dir(self.folder.path())
            .env("SEALMQ_TELEMETRY__LOG_JSON", "true")
            .env("SEALMQ_TELEMETRY__LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // From here on, dropping the broker ends the process.
        self.child = Some(child);
        let (told, addr) = mpsc::channel();
        if let Some(stdout) = stdout {
            self.log.follow(stdout, told.clone());
        }
        if let Some(stderr) = stderr {
            self.log.follow(stderr, told);
        }
        Ok(addr)
    }

    /// An error if it has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => bail!("the broker ended by itself: {status}"),
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The last lines of its log.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.log.lock().last.iter().cloned().collect()
    }

    /// Leaves the folder where it is; answers where.
    pub(crate) fn keep_folder(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.kill();
    }
}

/// Queues without bounds worth the name: whatever they drop was not lost by the store.
fn configuration(durability: &str) -> String {
    format!(
        "data_dir = \"data\"
[[listener]]
bind = \"127.0.0.1:0\"
[storage]
durability = \"{durability}\"
queued_bytes_max = \"64 GiB\"
[limits]
queue_messages_max = 10000000
queue_bytes_max = \"16 GiB\"
inbox_messages_max = 10000000
inbox_bytes_max = \"16 GiB\"
"
    )
}

#[derive(Debug, Clone)]
struct Log {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug)]
struct Lines {
    last: VecDeque<String>,
    file: File,
}

impl Log {
    fn create(path: &Path) -> Result<Self> {
        let lines = Lines { last: VecDeque::new(), file: File::create(path)? };
        Ok(Self { lines: Arc::new(Mutex::new(lines)) })
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end, so that the broker never waits for somebody to read its log.
    fn follow(&self, stream: impl Read + Send + 'static, told: Sender<SocketAddr>) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Some(addr) = listening(&line) {
                    // Only the first is waited for.
                    let _ = told.send(addr);
                }
                let mut log = log.lock();
                // The last lines are there even if the disk is full.
                let _ = writeln!(log.file, "{line}");
                if is_of_a_client(&line) {
                    continue;
                }
                if log.last.len() == LOG_LINES {
                    log.last.pop_front();
                }
                log.last.push_back(line);
            }
        });
    }
}

/// Clients come and go all the time: what else there is would not be among the last lines.
fn is_of_a_client(line: &str) -> bool {
    line.contains("\"INFO\"") && line.contains("\"client\"")
}

fn listening(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.contains("\"listening\"").then_some(line)?.split_once("\"addr\":\"")?;
    after.split('"').next()?.parse().ok()
}
