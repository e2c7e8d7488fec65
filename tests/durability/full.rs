//! A full disk: nothing is acknowledged while there is no room, and all goes on by itself once there is.

use super::await_report;
use crate::encryption::{Device as Sealing, setup, topic_key};
use crate::harness::broker::run as command;
use crate::harness::packets::puback;
use crate::harness::{Broker, Connect, Publish, Publish5, Setup, Wire};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const MIB: usize = 1 << 20;
/// Quota exceeded: what MQTT 5 is told.
const QUOTA_EXCEEDED: u8 = 0x97;
/// Payload of each message.
const BODY: usize = 32 * 1024;

/// A device of 200 MB in memory. Mounted as root where that is allowed, else in a namespace of its own that
/// lives as long as a process in it.
struct Device {
    folder: TempDir,
    namespace: Option<Child>,
}

impl Device {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=200m", "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        let mounted = mount.status().expect("`mount` is needed");
        let namespace = (!mounted.success()).then(|| namespace(folder.path()));
        Self { folder, namespace }
    }

    /// The broker is to be started by this.
    fn runner(&self) -> Vec<String> {
        let Some(holder) = &self.namespace else { return Vec::new() };
        let pid = holder.id().to_string();
        ["nsenter", "--preserve-credentials", "-U", "-m", "-t", &pid].map(str::to_owned).to_vec()
    }

    /// A file on the device, as it is seen from here.
    fn file(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        match &self.namespace {
            Some(holder) => {
                let path = path.strip_prefix("/").unwrap();
                Path::new("/proc").join(holder.id().to_string()).join("root").join(path)
            }
            None => path,
        }
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.file("filler")).unwrap();
        let zeros = vec![0; MIB];
        while filler.write_all(&zeros).is_ok() {}
        while filler.write_all(&zeros[..512]).is_ok() {}
    }

    fn clear(&self) {
        std::fs::remove_file(self.file("filler")).unwrap();
    }

    /// A broker whose store is on the device.
    fn setup(&self, storage: &str) -> Setup {
        let path = self.folder.path().join("store");
        let storage = format!("[storage]\npath = \"{}\"\n{storage}", path.display());
        let limits = "[limits]\nqueue_bytes_max = \"1 GiB\"\nqueue_messages_max = 1000000";
        Setup::new().config(&storage).config(super::SYS).config(limits).runner(&self.runner())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        match &mut self.namespace {
            // The mount goes with the last process that sees it. An error says that it is gone already.
            Some(holder) => drop((holder.kill(), holder.wait())),
            None => drop(Command::new("umount").arg("-l").arg(self.folder.path()).status()),
        }
    }
}

/// A process in a user namespace in which the device is mounted.
fn namespace(folder: &Path) -> Child {
    let script = "mount -t tmpfs -o size=200m tmpfs \"$0\" && echo mounted && exec cat";
    let mut holder = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`unshare` is needed");
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(
        said.trim(),
        "mounted",
        "no tmpfs can be mounted here: run this as root, or allow user namespaces"
    );
    holder
}

fn body(n: usize) -> String {
    use std::fmt::Write as _;
    let mut body = format!("{n} ");
    // What does not compress.
    let mut state = n as u64 + 1;
    while body.len() < BODY {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(body, "{:x}", state >> 8);
    }
    body
}

/// What was acknowledged, by number; and how to publish one more.
struct Ledger {
    next: usize,
    acknowledged: Vec<usize>,
}

impl Ledger {
    /// Publishes with MQTT 5 until this many were acknowledged or one is refused. Whether one was.
    fn publish(&mut self, wire: &mut Wire, messages: usize) -> bool {
        for _ in 0..messages {
            let n = self.next;
            self.next += 1;
            match wire.try_publish5(&Publish5::new("a", body(n)).qos(1, 1)) {
                0 => self.acknowledged.push(n),
                QUOTA_EXCEEDED => return true,
                code => panic!("answered with {code:#04x}"),
            }
        }
        false
    }
}

fn reader() -> Connect {
    Connect::new("reader").persistent()
}

/// All that was acknowledged is delivered, in order; more may be.
fn assert_delivered(broker: &Broker, acknowledged: &[usize]) {
    let mut wire = Wire::resume(broker, &reader());
    let mut awaited = acknowledged.iter().copied().peekable();
    while let Some(wanted) = awaited.peek().copied() {
        let publish = wire.expect_publish();
        wire.acknowledge(&publish);
        let n: usize = publish.text().split(' ').next().unwrap().parse().unwrap();
        assert!(n <= wanted, "{wanted} is missing, {n} came");
        assert_eq!(publish.text(), body(n));
        awaited.next_if_eq(&n);
    }
}

/// From room to none and back, with both versions at work.
fn run(device: &Device, storage: &str) {
    let broker = device.setup(storage).start();
    Wire::connect(&broker, &reader()).subscribe("a", 1);
    let mut ledger = Ledger { next: 0, acknowledged: Vec::new() };
    let mut new = Wire::client5(&broker, "new");
    let mut old = Wire::client(&broker, "old");
    assert!(!ledger.publish(&mut new, 20));
    device.fill();
    // The first for which there is no room is not answered: it is held until there is.
    let held = ledger.next;
    ledger.next += 1;
    old.send(Publish::new("a", body(held)).qos(1, 7).bytes());
    broker.log_line(|line| line.level() == "ERROR" && line.contains("no space is left for the store"));
    await_report(&broker, "store/health", |health| health == "no space");
    assert!(ledger.publish(&mut new, 1), "acknowledged while there is no room");
    old.expect_nothing_but_pong();
    let refused = ledger.next;
    ledger.next += 1;
    old.send(Publish::new("a", body(refused)).qos(1, 8).bytes());
    old.expect_nothing_but_pong();
    device.clear();
    old.expect(puback(7));
    ledger.acknowledged.push(held);
    broker.log_line(|line| line.contains("there is space for the store again"));
    await_report(&broker, "store/health", |health| health == "good");
    assert!(!ledger.publish(&mut new, 20));
    ledger.acknowledged.sort_unstable();
    let broker = broker.kill().runner(&device.runner()).start();
    assert_delivered(&broker, &ledger.acknowledged);
}

#[test]
fn full_disk_stops_acknowledgements_and_nothing_is_lost() {
    run(&Device::new(), "ballast_bytes = 0");
}

#[test]
fn full_disk_with_ballast_stops_acknowledgements_and_nothing_is_lost() {
    let device = Device::new();
    run(&device, "ballast_bytes = \"16 MiB\"");
}

/// A key that was stolen must not wait for a disk, and nothing of it may that waits for one.
#[test]
fn sender_that_is_disabled_gets_nothing_through_that_waits_for_room() {
    let device = Device::new();
    let store = device.folder.path().join("store");
    let config = format!(
        "[storage]\npath = \"{}\"\nballast_bytes = 0\n{}\n[limits]\nadmin_timeout_s = 1\n\
         [[policy]]\ntopics = [\"plant/#\"]\npayload = \"sealed\"\n\
         [[sender]]\nid = \"dev-7\"\nkey = \"keys/dev-7.pub.jwk\"\ntopics = [\"plant/#\"]\n\
         [[topic_key]]\nid = \"aes256\"\nkey = \"keys/aes256.jwk\"\ntopics = [\"plant/#\"]\n",
        store.display(),
        super::SYS
    );
    let broker = setup().config(&config).runner(&device.runner()).start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("plant/#", 1);
    watcher.subscribe("open/#", 1);
    let mut wire = Wire::client(&broker, "device");
    let (sealing, key) = (Sealing::enrolled(&broker, "dev-7"), topic_key(&broker, "aes256"));
    let mut send = |n: u16, text: &str| {
        let envelope = sealing.seal(&key, "plant/7", text);
        wire.send(Publish::new("plant/7", envelope).qos(1, n).bytes());
    };
    send(1, "first");
    watcher.take("first");
    device.fill();
    send(2, "stolen");
    // Behind it: what may be said there now, and not any more when it is its turn.
    wire.send(Publish::new("open/7", "plain").qos(1, 3).bytes());
    broker.log_line(|line| line.level() == "ERROR" && line.contains("no space is left for the store"));
    watcher.expect_nothing_but_pong();
    broker.rewrite_config(&format!("{config}[[policy]]\ntopics = [\"open/#\"]\npayload = \"sealed\"\n"));
    broker.reload();
    broker.log_line(|line| line.message().starts_with("reloaded"));
    // In force at once; and said as often as it is asked that it is not kept.
    for _ in 0..2 {
        let disabled =
            command(broker.dir(), &["enrol", "--config", "sealmq.toml", "disable", "sender", "dev-7"], "");
        let why = String::from_utf8(disabled.stderr).unwrap();
        assert!(!disabled.status.success() && why.contains("in force, but not kept yet"), "{why}");
    }
    device.clear();
    for (n, reason) in ["unknown-sender", "not-an-envelope"].into_iter().enumerate() {
        let refused = broker.log().nth_line(n, |line| line.field("reason").is_some());
        assert_eq!(refused.field("reason"), Some(reason), "{}", refused.text);
    }
    watcher.expect_nothing_but_pong();
    await_report(&broker, "store/health", |health| health == "good");
    let list = command(
        broker.kill().runner(&device.runner()).start().dir(),
        &["enrol", "--config", "sealmq.toml", "list"],
        "",
    );
    assert!(String::from_utf8(list.stdout).unwrap().contains("dev-7   disabled"));
}

/// The broker fills the disk itself, ballast and all. What was acknowledged is there at the next start, though
/// there is hardly room for it.
#[test]
fn broker_that_filled_the_disk_itself_starts_again_and_has_lost_nothing() {
    let device = Device::new();
    let broker = device.setup("ballast_bytes = \"16 MiB\"").start();
    Wire::connect(&broker, &reader()).subscribe("a", 1);
    // Part of it at once.
    std::fs::File::create(device.file("filler")).unwrap().write_all(&vec![0; 60 * MIB]).unwrap();
    let mut wire = Wire::client(&broker, "old");
    let publisher = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for n in 0.. {
            // Up to the end of the broker: the last one waits for room.
            wire.send(Publish::new("a", body(n)).qos(1, 1).bytes());
            if wire.try_receive().ok().as_deref() != Some(&puback(1)) {
                break;
            }
            acknowledged.push(n);
        }
        acknowledged
    });
    // Once with the ballast, and once without.
    broker.log().nth_line(1, |line| line.contains("no space is left for the store"));
    await_report(&broker, "store/health", |health| health == "no space");
    let mut new = Wire::client5(&broker, "new");
    assert_eq!(new.try_publish5(&Publish5::new("a", "refused").qos(1, 1)), QUOTA_EXCEEDED);
    let broker = broker.kill().runner(&device.runner()).start();
    let acknowledged = publisher.join().unwrap();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_delivered(&broker, &acknowledged);
}
