//! What an acknowledgement promises, held against kills, full and failing disks, damaged files and power
//! cuts. The broker is ended, something is done to its store, and it is started again on it.
//!
//! Here is what the chapters share: the [`Way`]s in which a broker goes down, and what is awaited before.

mod commands;
mod filters;
mod full;
mod power;
mod preload;
mod restart;
mod rot;
mod sealed_load;
mod space;
mod sync;

use crate::harness::{Broker, Publish, Setup, Wire};

/// How a broker ends before it is started again, and how durable it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `sync`, and SIGKILL.
    SyncKill,
    /// `sync`, and SIGTERM.
    SyncTerm,
    /// `async`, and SIGKILL once its interval is over.
    AsyncKill,
    /// `async`, and SIGTERM.
    AsyncTerm,
}

/// Longer than it takes until what nobody waits for is written, with `async_interval_ms` below.
const SYS: &str = "[telemetry]\nsys_interval_s = 1";

impl Way {
    const ALL: [Self; 4] = [Self::SyncKill, Self::SyncTerm, Self::AsyncKill, Self::AsyncTerm];

    /// The section of the configuration.
    fn storage(self) -> &'static str {
        match self {
            Self::SyncKill | Self::SyncTerm => "[storage]\ndurability = \"sync\"\n",
            Self::AsyncKill | Self::AsyncTerm => {
                "[storage]\ndurability = \"async\"\nasync_interval_ms = 50\n"
            }
        }
    }

    fn is_kill(self) -> bool {
        matches!(self, Self::SyncKill | Self::AsyncKill)
    }

    /// A new broker.
    fn start(self) -> Broker {
        Setup::new().config(self.storage()).config(SYS).start()
    }

    /// Ends the broker. What it has answered by now is kept, whatever the way.
    fn down(self, broker: Broker) -> Setup {
        match self {
            Self::SyncKill => settle(&broker),
            Self::AsyncKill => await_interval(&broker),
            Self::SyncTerm | Self::AsyncTerm => {}
        }
        if self.is_kill() { broker.kill() } else { broker.end() }
    }

    /// Ends the broker, and starts it again on what it has left.
    fn restart(self, broker: Broker) -> Broker {
        self.down(broker).start()
    }
}

/// Runs a test once for each way, all at once.
fn every_way(test: impl Fn(Way) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        let running = Way::ALL.map(|way| (way, scope.spawn(move || test(way))));
        let failed = running.into_iter().filter_map(|(way, thread)| thread.join().is_err().then_some(way));
        let failed: Vec<_> = failed.collect();
        assert!(failed.is_empty(), "failed: {failed:?}");
    });
}

/// Has everything written that came before, also what nobody waits for: changes are written in their order,
/// and this one is acknowledged.
fn settle(broker: &Broker) {
    Wire::client(broker, "settler").publish(&Publish::new("$settle", "now").qos(1, 1).retain());
}

/// Two reports of the broker are a second apart: longer than anything waits to be written.
fn await_interval(broker: &Broker) {
    let mut wire = Wire::client(broker, "clock");
    wire.subscribe("$SYS/broker/uptime", 0);
    for _ in 0..3 {
        wire.expect_publish();
    }
}

/// Waits until nobody is connected but who asks: whoever left has been parked.
fn await_gone(broker: &Broker) {
    // What it said before somebody came may still stand there.
    await_interval(broker);
    await_report(broker, "clients/connected", |count| count == "1");
}

/// Waits until `$SYS/broker/<name>` says something that fits. What it said.
fn await_report(broker: &Broker, name: &str, fits: impl Fn(&str) -> bool) -> String {
    let mut wire = Wire::client(broker, "reporter");
    wire.subscribe(format!("$SYS/broker/{name}"), 0);
    loop {
        let said = wire.expect_publish();
        if fits(said.text()) {
            return said.text().to_owned();
        }
    }
}
