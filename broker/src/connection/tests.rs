//! One connection over a pipe, with a store that keeps its promises only when told to.

use super::*;
use crate::store::{Change, Store};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use sealmq_config::Config;
use sealmq_protocol::packet::{
    Ack, Connect, ConnectProperties, PacketId, Publish, Subscribe, SubscriptionIds, SubscriptionOptions,
    UserProperties,
};
use sealmq_protocol::{Packet, Qos};
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
}

impl Client {
    /// Connects with a persistent session to a broker of its own.
    async fn connect(store: Arc<Manual>) -> Self {
        let config = Config::default();
        let rulebook = Rulebook::load(&config, &[]).unwrap();
        let broker = Arc::new(Broker::with_store(&config, rulebook, store));
        let (pipe, theirs) = tokio::io::duplex(1 << 16);
        let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), secure: false, excess: false };
        let deadline = Instant::now() + Duration::from_secs(5);
        tokio::spawn(serve(broker, theirs, peer, deadline));
        let mut client = Self { pipe, read: BytesMut::new() };
        let connect = Connect {
            version: Version::V311,
            client_id: "dev".into(),
            clean_start: false,
            session_expiry_s: u32::MAX,
            keep_alive_s: 0,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        client.send(&Packet::Connect(Box::new(connect))).await;
        assert!(matches!(client.receive().await, Packet::ConnAck(ack) if !ack.session_present));
        client
    }

    async fn send(&mut self, packet: &Packet) {
        let mut out = BytesMut::new();
        codec::encode(packet, Version::V311, &mut out);
        self.pipe.write_all(&out).await.unwrap();
    }

    async fn receive(&mut self) -> Packet {
        let limits = codec::Limits { packet_bytes_max: 1 << 16, topic_levels_max: 16, filters_max: 16 };
        loop {
            let mut bytes = Bytes::copy_from_slice(&self.read);
            if let Some(packet) = codec::decode_from_server(&mut bytes, Version::V311, &limits).unwrap() {
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
