//! One connection over a pipe, with a store that keeps its promises only when told to.

use super::*;
use crate::store::layout::Keyspace;
use crate::store::simulated::SimulatedDisk;
use crate::store::{Committer, Durability, Recovered, Store};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sealmq_config::Config;
use sealmq_config::auth::{Access, AclRule, Permission};
use sealmq_protocol::packet::{
    Ack, Connect, ConnectProperties, Disconnect, PacketId, Publish, Subscribe, SubscriptionIds,
    SubscriptionOptions, UserProperties,
};
use sealmq_protocol::{Packet, Qos, ReasonCode};
use std::num::NonZeroU32;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A store that writes when [`Manual::reach`] says so.
struct Manual {
    store: Arc<Store>,
    disk: Arc<SimulatedDisk>,
    committer: Mutex<Committer>,
}

impl Manual {
    fn new() -> Self {
        let disk = Arc::new(SimulatedDisk::default());
        let (store, _, committer) = Store::over(disk.clone(), Durability::Sync, 1 << 20).unwrap();
        Self { store: Arc::new(store), disk, committer: Mutex::new(committer) }
    }

    fn reach(&self) {
        self.committer.lock().step().unwrap();
    }
}

struct Client {
    pipe: DuplexStream,
    read: BytesMut,
    version: Version,
}

impl Client {
    /// Connects with a persistent session to a broker of its own.
    async fn connect(manual: &Manual) -> Self {
        Self::connect_with(manual, None).await
    }

    /// The same with a will.
    async fn connect_with(manual: &Manual, will: Option<Will>) -> Self {
        let broker = broker(&Config::default(), manual.store.clone());
        let mut client = Self::greet_with(&broker, Version::V311, None, will).await;
        let early = tokio::time::timeout(Duration::from_millis(20), client.pipe.read_buf(&mut client.read));
        assert!(early.await.is_err(), "a session is kept before its client is told so");
        manual.reach();
        assert!(matches!(client.receive().await, Packet::ConnAck(ack) if !ack.session_present));
        client
    }

    /// Sends a CONNECT for a session to keep.
    async fn greet(broker: &Arc<Broker>, version: Version, packet_bytes_max: Option<u32>) -> Self {
        Self::greet_with(broker, version, packet_bytes_max, None).await
    }

    async fn greet_with(
        broker: &Arc<Broker>,
        version: Version,
        packet_bytes_max: Option<u32>,
        will: Option<Will>,
    ) -> Self {
        let (pipe, theirs) = tokio::io::duplex(1 << 16);
        let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), secure: false, excess: false };
        let deadline = Instant::now() + Duration::from_secs(5);
        tokio::spawn(serve(broker.clone(), theirs, peer, deadline));
        let mut client = Self { pipe, read: BytesMut::new(), version };
        let maximum_packet_size = packet_bytes_max.and_then(NonZeroU32::new);
        let connect = Connect {
            version,
            client_id: "dev".into(),
            clean_start: false,
            session_expiry_s: u32::MAX,
            keep_alive_s: 0,
            will,
            user_name: None,
            password: None,
            properties: ConnectProperties { maximum_packet_size, ..ConnectProperties::default() },
        };
        client.send(&Packet::Connect(Box::new(connect))).await;
        client
    }

    /// Subscribes; the answer waits for the store.
    async fn subscribe(&mut self, manual: &Manual) {
        self.send(&subscribe()).await;
        self.send(&Packet::PingReq).await;
        assert_eq!(self.receive().await, Packet::PingResp, "SUBACK is no earlier than its change");
        manual.reach();
        assert!(matches!(self.receive().await, Packet::SubAck(_)));
    }

    /// The connection ends, and nothing was said.
    async fn expect_closed(mut self) {
        let read = tokio::time::timeout(Duration::from_secs(10), self.pipe.read_buf(&mut self.read)).await;
        assert_eq!((read.unwrap().unwrap(), self.read.as_ref()), (0, &b""[..]));
    }

    async fn send(&mut self, packet: &Packet) {
        let mut out = BytesMut::new();
        codec::encode(packet, self.version, &mut out);
        self.pipe.write_all(&out).await.unwrap();
    }

    async fn receive(&mut self) -> Packet {
        let limits = codec::Limits { packet_bytes_max: 1 << 16, topic_levels_max: 16, filters_max: 16 };
        loop {
            let mut bytes = Bytes::copy_from_slice(&self.read);
            if let Some(packet) = codec::decode_from_server(&mut bytes, self.version, &limits).unwrap() {
                self.read = BytesMut::from(&bytes[..]);
                return packet;
            }
            let read = self.pipe.read_buf(&mut self.read);
            let read = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
            assert!(read > 0, "closed");
        }
    }
}

fn broker(config: &Config, store: Arc<Store>) -> Arc<Broker> {
    let rulebook = Rulebook::for_tests(config);
    Arc::new(Broker::new(config, &rulebook, store, Recovered::default()))
}

fn retained_will() -> Will {
    Will {
        topic: "w".parse().unwrap(),
        payload: Bytes::from("gone"),
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 0,
        message_expiry_s: None,
        properties: None,
    }
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

fn publish(qos: Qos, n: u16) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some("a".parse().unwrap()),
        packet_id: Some(id(n)),
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::default(),
        properties: None,
        payload: Bytes::from("x"),
    })
}

fn subscribe() -> Packet {
    let filters = vec![("a".parse(), SubscriptionOptions::of(Qos::ExactlyOnce))];
    let user_properties = UserProperties::default();
    Packet::Subscribe(Subscribe { packet_id: id(1), filters, subscription_id: None, user_properties })
}

#[tokio::test]
async fn puback_and_pubrec_wait_until_the_store_has_the_message() {
    let manual = Manual::new();
    let mut client = Client::connect(&manual).await;
    client.subscribe(&manual).await;

    client.send(&publish(Qos::AtLeastOnce, 7)).await;
    client.send(&publish(Qos::ExactlyOnce, 8)).await;
    client.send(&Packet::PingReq).await;
    // Everything that need not wait comes, PINGRESP and the PUBLISH of QoS 1, and nothing else with it.
    for _ in 0..2 {
        let packet = client.receive().await;
        let qos1 = matches!(&packet, Packet::Publish(publish) if publish.qos == Qos::AtLeastOnce);
        assert!(matches!(packet, Packet::PingResp) || qos1, "too early: {packet:?}");
    }
    manual.reach();
    assert_eq!(client.receive().await, Packet::PubAck(Ack::success(id(7))));
    assert_eq!(client.receive().await, Packet::PubRec(Ack::success(id(8))));
}

#[tokio::test]
async fn a_qos2_message_goes_only_once_its_packet_id_is_kept() {
    let manual = Manual::new();
    let mut client = Client::connect(&manual).await;
    client.subscribe(&manual).await;
    client.send(&publish(Qos::ExactlyOnce, 8)).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp);
    manual.reach();
    // It was given its id in the turn of the PUBREC, at the latest.
    let mut packets = vec![client.receive().await];
    while !matches!(packets.last(), Some(Packet::Publish(_))) {
        if manual.disk.count(Keyspace::Inflight) == 0 {
            manual.reach();
            continue;
        }
        packets.push(client.receive().await);
    }
    assert!(packets.contains(&Packet::PubRec(Ack::success(id(8)))), "{packets:?}");
    assert_eq!((manual.disk.count(Keyspace::Queue), manual.disk.count(Keyspace::Inflight)), (1, 1));
}

#[tokio::test]
async fn pubrel_and_pubcomp_wait_until_the_store_knows() {
    let manual = Manual::new();
    let mut client = Client::connect(&manual).await;
    client.send(&publish(Qos::ExactlyOnce, 8)).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp);
    manual.reach();
    assert_eq!(client.receive().await, Packet::PubRec(Ack::success(id(8))));
    assert_eq!(manual.disk.count(Keyspace::Inbound), 1);
    client.send(&Packet::PubRel(Ack::success(id(8)))).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp, "PUBCOMP is no earlier than its change");
    manual.reach();
    assert_eq!(client.receive().await, Packet::PubComp(Ack::success(id(8))));
    assert_eq!(manual.disk.count(Keyspace::Inbound), 0);
}

#[tokio::test]
async fn what_a_persistent_session_is_owed_is_appended_before_it_is_acknowledged() {
    let manual = Manual::new();
    let mut client = Client::connect(&manual).await;
    client.subscribe(&manual).await;
    client.send(&publish(Qos::ExactlyOnce, 8)).await;
    client.send(&Packet::PingReq).await;
    client.receive().await;
    assert_eq!(manual.disk.count(Keyspace::Queue), 0);
    manual.reach();
    let of = |keyspace| manual.disk.count(keyspace);
    let all = [Keyspace::Session, Keyspace::Subscription, Keyspace::Inbound, Keyspace::Queue];
    assert_eq!(all.map(of), [1, 1, 1, 1]);
}

#[tokio::test]
async fn nothing_comes_before_a_connack_that_would_be_too_large() {
    // [MQTT-3.2.0-1], [MQTT-3.1.2-24]
    let config = Config::default();
    let broker = broker(&config, Arc::new(Store::memory()));
    Client::greet(&broker, Version::V5, Some(10)).await.expect_closed().await;
    assert_eq!(broker.metrics.connects_accepted.value(), 0);
    assert_eq!(broker.metrics.connects_refused.value(), 1);
}

#[tokio::test]
async fn a_subscription_that_is_not_permitted_any_more_does_not_outlive_a_failed_connect() {
    let mut config = Config::default();
    let broker = broker(&config, Arc::new(Store::memory()));
    let mut client = Client::greet(&broker, Version::V5, None).await;
    assert!(matches!(client.receive().await, Packet::ConnAck(_)));
    client.send(&subscribe()).await;
    assert!(matches!(client.receive().await, Packet::SubAck(_)));
    drop(client);
    let topics = vec!["b/#".parse().unwrap()];
    let (access, permission) = (Access::All, Permission::Allow);
    config.acl = vec![AclRule { user: None, client: None, access, permission, topics }];
    broker.replace_rules(&Rulebook::for_tests(&config));
    Client::greet(&broker, Version::V5, Some(10)).await.expect_closed().await;
    let mut client = Client::greet(&broker, Version::V5, None).await;
    assert!(matches!(client.receive().await, Packet::ConnAck(ack) if ack.session_present));
    client.send(&Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp);
    let message = crate::ingress::message::Message::of_broker("a".parse().unwrap(), Bytes::from("secret"));
    let routed = broker.router.route(&Arc::new(message), &mut Turn::default());
    assert_eq!(routed.reason, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test]
async fn a_will_that_is_due_is_published_though_its_client_is_back_before_anybody_looked() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, _, mut committer) = Store::over(disk.clone(), Durability::Sync, 1 << 20).unwrap();
    // The process has ended while the client was there.
    let identity = Identity::Claimed(None);
    let will = crate::store::KeptWill { due_ms: None, identity, will: retained_will() };
    let record = crate::store::SessionRecord {
        session: crate::delivery::SessionId(1),
        client_id: "dev".into(),
        user: None,
        expiry: None,
        held: crate::store::Held::Connected,
        will: Some(will),
    };
    store.append(&mut vec![crate::store::Change::Session(Box::new(record))]);
    committer.step().unwrap();
    let (store, recovered, committer) = Store::over(disk.clone(), Durability::Sync, 1 << 20).unwrap();
    let manual = Manual { store: Arc::new(store), disk, committer: Mutex::new(committer) };
    let config = Config::default();
    let rulebook = Rulebook::for_tests(&config);
    let broker = Arc::new(Broker::new(&config, &rulebook, manual.store.clone(), recovered));
    let mut client = Client::greet(&broker, Version::V311, None).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
        manual.reach();
    }
    assert!(matches!(client.receive().await, Packet::ConnAck(ack) if ack.session_present));
    assert_eq!(manual.disk.count(Keyspace::Retained), 1);
}

#[tokio::test]
async fn no_crash_comes_between_a_will_and_that_it_is_owed_no_longer() {
    let manual = Manual::new();
    let client = Client::connect_with(&manual, Some(retained_will())).await;
    // One less than the writer takes at once: what is appended next is the last of its batch.
    let session = crate::delivery::SessionId(1_000);
    let other = crate::store::Change::Completed { session, packet_id: id(1) };
    manual.store.append(&mut vec![other; 4_095]);
    let before = manual.store.newest();
    drop(client);
    while manual.store.newest() == before {
        tokio::task::yield_now().await;
    }
    manual.reach();
    assert_eq!(manual.disk.count(Keyspace::Retained), 1);
    let disk = Arc::new(manual.disk.crash(0, 0));
    let (_, recovered, _) = Store::over(disk, Durability::Sync, 1 << 20).unwrap();
    let [session] = &recovered.sessions[..] else { panic!("it is kept") };
    assert_eq!(session.record.will, None);
}

#[tokio::test]
async fn who_sees_the_end_of_its_connection_has_taken_its_will_back_for_good() {
    // [MQTT-3.14.4-3]
    let manual = Manual::new();
    let mut client = Client::connect_with(&manual, Some(retained_will())).await;
    client.send(&Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::Success)))).await;
    let early = tokio::time::timeout(Duration::from_millis(20), client.pipe.read_buf(&mut client.read));
    assert!(early.await.is_err(), "closed before the store knows");
    manual.reach();
    client.expect_closed().await;
    let disk = Arc::new(manual.disk.crash(0, 0));
    let (_, recovered, _) = Store::over(disk, Durability::Sync, 1 << 20).unwrap();
    assert!(recovered.sessions.iter().all(|session| session.record.will.is_none()));
}

#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    // It is as large as it ever gets, for as long as the client is there, which may do nothing for years.
    let config = Config::default();
    let broker = broker(&config, Arc::new(Store::memory()));
    let (_pipe, theirs) = tokio::io::duplex(1);
    let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), secure: false, excess: false };
    assert!(size_of_val(&serve(broker, theirs, peer, Instant::now())) <= 1_536);
    assert!(size_of::<Session>() + size_of::<Connection<DuplexStream>>() + size_of::<Mailbox>() <= 2_048);
}
