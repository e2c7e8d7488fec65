//! What a start finds of sessions that were about to end.

use crate::broker::Broker;
use crate::delivery::{SessionId, Subscription, Terms};
use crate::ingress::message::Message;
use crate::rulebook::Rulebook;
use crate::store::layout::Keyspace;
use crate::store::simulated::SimulatedDisk;
use crate::store::{Change, Durability, Receivers, Store};
use bytes::Bytes;
use sealmq_config::Config;
use sealmq_protocol::Qos;
use sealmq_protocol::packet::{PacketId, SubscriptionOptions};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

/// The client had begun another session, and the end of the one before was not written yet.
#[tokio::test]
async fn a_session_without_a_record_is_ended_after_a_start() {
    let disk = Arc::new(SimulatedDisk::default());
    let (store, _, mut committer) = Store::over(disk.clone(), Durability::Sync, 1 << 20).unwrap();
    let session = SessionId(5);
    let options = SubscriptionOptions::of(Qos::AtLeastOnce);
    let filter = "$share/g/t".parse().unwrap();
    let subscription = Box::new(Subscription { filter, options, id: None, is_new: true });
    let message = Arc::new(Message::of_broker("t".parse().unwrap(), Bytes::from("x")));
    let to = Receivers::One(session, Terms::of(Qos::AtLeastOnce));
    store.append(&mut vec![
        Change::Subscribed { session, subscription },
        Change::Received { session, packet_id: PacketId::MIN },
        Change::Queued { message, to },
    ]);
    committer.step().unwrap();
    let disk = Arc::new(disk.crash(0, 0));
    let (store, recovered, mut committer) = Store::over(disk.clone(), Durability::Sync, 1 << 20).unwrap();
    assert_eq!(recovered.half_ended, [session]);
    let config = Config::default();
    let rulebook = Rulebook::for_tests(&config);
    let broker = Broker::new(&config, &rulebook, Arc::new(store), recovered);
    let mut ending = pin!(broker.registry.end_waiting_sessions());
    while ending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        committer.step().unwrap();
    }
    for _ in 0..2 {
        committer.step().unwrap();
    }
    let of = |keyspace| disk.count(keyspace);
    assert_eq!([Keyspace::Subscription, Keyspace::Inbound, Keyspace::Queue].map(of), [0, 0, 0]);
    let disk = Arc::new(disk.crash(0, 0));
    let (_, recovered, _) = Store::over(disk, Durability::Sync, 1 << 20).unwrap();
    assert!(recovered.half_ended.is_empty());
}
