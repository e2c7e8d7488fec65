//! One connection over a pipe, with a store that keeps its promises only when told to.

use super::*;
use crate::store::{Change, Store};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sealmq_config::Config;
use sealmq_config::auth::{Access, AclRule, Permission};
use sealmq_protocol::packet::{
    Ack, Connect, ConnectProperties, PacketId, Publish, Subscribe, SubscriptionIds, SubscriptionOptions,
    UserProperties,
};
use sealmq_protocol::{Packet, Qos};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Reaches a position when [`Manual::reach`] says so.
#[derive(Default)]
struct Manual {
    appended: AtomicU64,
    reached: AtomicU64,
    changes: Mutex<Vec<Change>>,
    waiting: Mutex<Vec<Waker>>,
}

impl Manual {
    fn reach(&self) {
        self.reached.store(self.appended.load(Ordering::SeqCst), Ordering::SeqCst);
        self.waiting.lock().drain(..).for_each(Waker::wake);
    }
}

impl Store for Manual {
    fn keeps(&self) -> bool {
        true
    }

    fn append(&self, changes: &mut Vec<Change>) -> Position {
        self.changes.lock().append(changes);
        Position(self.appended.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn poll_reached(&self, position: Position, cx: &mut Context<'_>) -> Poll<()> {
        if position.0 <= self.reached.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        self.waiting.lock().push(cx.waker().clone());
        Poll::Pending
    }
}

struct Client {
    pipe: DuplexStream,
    read: BytesMut,
    version: Version,
}

impl Client {
    /// Connects with a persistent session to a broker of its own.
    async fn connect(store: Arc<Manual>) -> Self {
        let config = Config::default();
        let rulebook = Rulebook::load(&config, &[]).unwrap();
        let broker = Arc::new(Broker::with_store(&config, rulebook, store));
        let mut client = Self::greet(&broker, Version::V311, None).await;
        assert!(matches!(client.receive().await, Packet::ConnAck(ack) if !ack.session_present));
        client
    }

    /// Sends a CONNECT for a session to keep.
    async fn greet(broker: &Arc<Broker>, version: Version, packet_bytes_max: Option<u32>) -> Self {
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
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties { maximum_packet_size, ..ConnectProperties::default() },
        };
        client.send(&Packet::Connect(Box::new(connect))).await;
        client
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
    let store = Arc::new(Manual::default());
    let mut client = Client::connect(store.clone()).await;
    client.send(&subscribe()).await;
    assert!(matches!(client.receive().await, Packet::SubAck(_)));

    client.send(&publish(Qos::AtLeastOnce, 7)).await;
    client.send(&publish(Qos::ExactlyOnce, 8)).await;
    client.send(&Packet::PingReq).await;
    // Everything that need not wait comes, PINGRESP and two PUBLISH, and no acknowledgement with it.
    for _ in 0..3 {
        let packet = client.receive().await;
        assert!(matches!(packet, Packet::PingResp | Packet::Publish(_)), "too early: {packet:?}");
    }
    store.reach();
    assert_eq!(client.receive().await, Packet::PubAck(Ack::success(id(7))));
    assert_eq!(client.receive().await, Packet::PubRec(Ack::success(id(8))));
}

#[tokio::test]
async fn what_a_persistent_session_is_owed_is_appended_before_it_is_acknowledged() {
    let store = Arc::new(Manual::default());
    let mut client = Client::connect(store.clone()).await;
    client.send(&subscribe()).await;
    client.receive().await;
    client.send(&publish(Qos::ExactlyOnce, 8)).await;
    client.send(&Packet::PingReq).await;
    client.receive().await;
    let changes: Vec<String> = store.changes.lock().iter().map(|c| format!("{c:?}")).collect();
    let kinds: Vec<&str> = changes.iter().filter_map(|c| c.split([' ', '{']).next()).collect();
    assert_eq!(kinds, ["SessionBegun", "Subscribed", "Received", "Queued"]);
}

#[tokio::test]
async fn nothing_comes_before_a_connack_that_would_be_too_large() {
    // [MQTT-3.2.0-1], [MQTT-3.1.2-24]
    let config = Config::default();
    let broker = Arc::new(Broker::new(&config, Rulebook::load(&config, &[]).unwrap()));
    Client::greet(&broker, Version::V5, Some(10)).await.expect_closed().await;
    assert_eq!(broker.metrics.connects_accepted.value(), 0);
    assert_eq!(broker.metrics.connects_refused.value(), 1);
}

#[tokio::test]
async fn a_subscription_that_is_not_permitted_any_more_does_not_outlive_a_failed_connect() {
    let mut config = Config::default();
    let broker = Arc::new(Broker::new(&config, Rulebook::load(&config, &[]).unwrap()));
    let mut client = Client::greet(&broker, Version::V5, None).await;
    assert!(matches!(client.receive().await, Packet::ConnAck(_)));
    client.send(&subscribe()).await;
    assert!(matches!(client.receive().await, Packet::SubAck(_)));
    drop(client);
    let topics = vec!["b/#".parse().unwrap()];
    let (access, permission) = (Access::All, Permission::Allow);
    config.acl = vec![AclRule { user: None, client: None, access, permission, topics }];
    broker.replace_rules(Rulebook::load(&config, &[]).unwrap());
    Client::greet(&broker, Version::V5, Some(10)).await.expect_closed().await;
    let mut client = Client::greet(&broker, Version::V5, None).await;
    assert!(matches!(client.receive().await, Packet::ConnAck(ack) if ack.session_present));
    client.send(&Packet::PingReq).await;
    assert_eq!(client.receive().await, Packet::PingResp);
    let message = crate::ingress::message::Message::of_broker("a".parse().unwrap(), Bytes::from("secret"));
    let routed = broker.router.route(&Arc::new(message), &mut Turn::default());
    assert_eq!(routed.reason, sealmq_protocol::ReasonCode::NoMatchingSubscribers);
}

#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    // It is as large as it ever gets, for as long as the client is there, which may do nothing for years.
    let config = Config::default();
    let broker = Arc::new(Broker::new(&config, Rulebook::load(&config, &[]).unwrap()));
    let (_pipe, theirs) = tokio::io::duplex(1);
    let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), secure: false, excess: false };
    assert!(size_of_val(&serve(broker, theirs, peer, Instant::now())) <= 1_536);
    assert!(size_of::<Session>() + size_of::<Connection<DuplexStream>>() + size_of::<Mailbox>() <= 2_048);
}
