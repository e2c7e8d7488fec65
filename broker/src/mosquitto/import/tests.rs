//! The file that mosquitto wrote (see [`super::super::tests`]) as a store, and files of our own making for
//! what it does not show.

use super::super::tests::{BEGUN_S, FILE};
use super::{MoveError, Moved, Others, Rules, Users, import};
use crate::delivery::SessionId;
use crate::egress::Egress;
use crate::now::{Clock, Now};
use crate::store::layout::Keyspace;
use crate::store::offline::check::check;
use crate::store::offline::filling::FillError;
use crate::store::simulated::SimulatedDisk;
use crate::store::{Durability, InFlight, Position, Recovered, Store, Waiting};
use sealmq_protocol::Qos;
use std::sync::Arc;
use std::time::Duration;

const RULES: Rules = Rules {
    users: Users { by_client_id: std::collections::BTreeMap::new(), others: Others::Nobody },
    expiry_max: None,
    qos0: false,
};

/// What came of a file so many seconds after the fixture's beginning.
fn moved(file: &[u8], rules: &Rules, after_s: i64) -> (Moved, Store, Recovered) {
    let disk = Arc::new(SimulatedDisk::default());
    let now_ms = u64::try_from(BEGUN_S + after_s).unwrap() * 1_000;
    let moved = import(file, &*disk, rules, (Clock::read(), now_ms), &mut |_| {}).unwrap();
    let checked = check(&*disk, None, &mut |_| {}).unwrap();
    assert!(checked.is_sound(), "{:?}", checked.findings);
    let (store, recovered, _) = Store::over(disk, Durability::Sync, 1 << 20).unwrap();
    (moved, store, recovered)
}

fn session(recovered: &Recovered, client_id: &str) -> SessionId {
    let found = recovered.sessions.iter().find(|session| session.record.client_id == client_id);
    found.unwrap_or_else(|| panic!("there is no {client_id}")).record.session
}

/// Topic, QoS, and the identifiers of the subscriptions by which it came.
fn shown(waiting: &Waiting) -> (String, Qos, Vec<u32>) {
    let ids = waiting.subscription_ids.iter().map(|id| id.get()).collect();
    (waiting.message.topic().to_string(), waiting.qos, ids)
}

fn queue(store: &Store, session: SessionId) -> Vec<(String, Qos, Vec<u32>)> {
    store.page(session, Position(1)).unwrap().waiting.iter().map(shown).collect()
}

#[test]
fn what_mosquitto_kept_is_here() {
    let (moved, store, recovered) = moved(FILE, &RULES, 60);
    let numbers =
        (moved.sessions, moved.subscriptions, moved.queued, moved.in_flight, moved.released, moved.inbound);
    assert_eq!(numbers, (4, 6, 6, 1, 1, 1));
    assert_eq!((moved.retained, moved.left, moved.sessions_of_nobody), (4, <_>::default(), 4));

    let topics: Vec<_> = recovered.retained.iter().map(|message| message.topic().to_string()).collect();
    assert_eq!(topics, ["/lead/", "alarm/fire", "status/all", "status/plain"]);
    let all = &recovered.retained[2];
    assert_eq!(
        (&all.payload()[..], all.publisher().unwrap().as_ref()),
        (&b"with everything"[..], "publisher")
    );
    assert!(all.properties().is_some() && all.expires().is_some() && all.egress() == Egress::Any);

    let of = |topic: &str, qos, ids: &[u32]| (topic.to_owned(), qos, ids.to_vec());
    let (once, exactly) = (Qos::AtLeastOnce, Qos::ExactlyOnce);
    assert_eq!(
        queue(&store, session(&recovered, "keeper")),
        [of("plant/1/temp", once, &[]), of("plant/2/temp", once, &[]), of("alarm/fire", exactly, &[])]
    );
    let five = session(&recovered, "five");
    assert_eq!(
        queue(&store, five),
        [of("cmd/one", exactly, &[7]), of("cmd/two", once, &[7]), of("jobs/a", once, &[300])]
    );
    assert!(queue(&store, session(&recovered, "half")).is_empty());
}

#[test]
fn what_was_in_flight_keeps_its_packet_id() {
    let (_, store, recovered) = moved(FILE, &RULES, 60);
    let flights = |client: &str| -> Vec<(u16, Option<String>)> {
        let flights = store.in_flight(session(&recovered, client)).unwrap();
        let shown = |InFlight { flight, waiting }: InFlight| {
            let id = crate::store::packet_id(flight.sequence).get();
            (id, waiting.map(|waiting| waiting.message.topic().to_string()))
        };
        flights.into_iter().map(shown).collect()
    };
    assert_eq!(flights("five"), [(1, Some("cmd/one".to_owned()))]);
    assert_eq!(flights("half"), [(1, None)]);
    assert_eq!(flights("keeper"), []);
    let sender = recovered.sessions.iter().find(|session| session.record.client_id == "sender").unwrap();
    assert_eq!(sender.received.iter().map(|id| id.get()).collect::<Vec<_>>(), [77]);
}

#[test]
fn time_goes_on_while_it_is_moved() {
    let (moved, _, recovered) = moved(FILE, &RULES, 8_000);
    // Session "five" with its three messages and its subscription, and one message of two hours.
    assert_eq!((moved.sessions, moved.queued, moved.left.sessions_expired, moved.left.expired), (3, 2, 1, 1));
    assert_eq!(moved.left.of_no_session, 4);
    assert_eq!(recovered.sessions.len(), 3);
    let rules = Rules { expiry_max: Some(Duration::from_mins(10)), ..RULES };
    let (_, _, recovered) = self::moved(FILE, &rules, 60);
    for session in recovered.sessions {
        assert_eq!(session.record.expiry, Some(Duration::from_mins(10)));
    }
}

#[test]
fn a_session_is_whose_it_is_said_to_be() {
    let users = |others, pairs: &[(&str, &str)]| Users {
        by_client_id: pairs.iter().map(|(id, user)| ((*id).into(), (*user).into())).collect(),
        others,
    };
    let owners = |users| {
        let (moved, _, recovered) = moved(FILE, &Rules { users, ..RULES }, 60);
        let owner = |session: &crate::store::RecoveredSession| {
            session.record.user.as_ref().map_or_else(String::new, ToString::to_string)
        };
        (moved.sessions_of_nobody, recovered.sessions.iter().map(owner).collect::<Vec<_>>().join(" "))
    };
    // In the order of client ids: five, half, keeper, sender.
    assert_eq!(owners(users(Others::ClientId, &[])), (0, "five half keeper sender".to_owned()));
    assert_eq!(owners(users(Others::Nobody, &[("keeper", "eve")])), (3, "  eve ".to_owned()));
    // "sender" has none, and mosquitto wrote another's.
    assert_eq!(owners(users(Others::Recorded, &[("five", "eve")])), (1, "eve  ana bob".to_owned()));
}

#[test]
fn a_session_that_ends_with_its_connection_is_none() {
    let mut file = FILE.to_vec();
    // The expiry interval of the first client stands behind the time at which it ends.
    let client = super::super::tests::chunks().into_iter().find(|(_, kind, _)| *kind == 6).unwrap().0;
    file[client + 16..client + 20].copy_from_slice(&[0; 4]);
    let (moved, _, recovered) = moved(&file, &RULES, 60);
    assert_eq!((moved.left.sessions_short, moved.sessions), (1, 3));
    assert!(recovered.sessions.iter().all(|session| session.record.client_id != "keeper"));
}

/// Mosquitto hands it out when it is released, and here nobody would then.
#[test]
fn what_was_not_released_is_handed_out() {
    let mut file = FILE.to_vec();
    let filter = b"alarm/#";
    let at = file.windows(filter.len()).rposition(|bytes| bytes == filter).unwrap();
    file[at..at + filter.len()].copy_from_slice(b"out/#/#");
    assert!(moved_error(&file).is_none(), "a filter that makes no sense is one record");
    file[at..at + filter.len()].copy_from_slice(b"+/never");
    let (moved, store, recovered) = moved(&file, &RULES, 60);
    assert_eq!((moved.inbound, moved.queued), (1, 7));
    let last = queue(&store, session(&recovered, "keeper")).pop().unwrap();
    assert_eq!(last, ("out/never".to_owned(), Qos::ExactlyOnce, Vec::new()));
}

#[test]
fn a_filter_that_is_too_long_to_be_kept_is_left_out() {
    let filter = "x".repeat(65_530);
    let mut body = [[0; 4].as_slice(), &[0, 6], &65_530_u16.to_be_bytes(), &[1, 0, 0, 0], b"keeper"].concat();
    body.extend(filter.as_bytes());
    let length = u32::try_from(body.len()).unwrap();
    let file = [FILE, &[0, 0, 0, 5], &length.to_be_bytes(), &body].concat();
    let (moved, ..) = moved(&file, &RULES, 60);
    assert_eq!((moved.subscriptions, moved.left.damaged), (6, 1));
    assert_eq!(moved.left.flaws, ["the filter of a subscription is too long to be kept"]);
}

fn moved_error(file: &[u8]) -> Option<MoveError> {
    let disk = SimulatedDisk::default();
    let moved = import(file, &disk, &RULES, (Clock::read(), Now::read().unix_s * 1_000), &mut |_| {});
    // What cannot be read makes no store.
    assert!(moved.is_ok() || disk.count(Keyspace::Meta) == 0);
    moved.err()
}

#[test]
fn a_file_that_is_not_whole_makes_no_store() {
    let chunks = super::super::tests::chunks();
    for cut in 0..FILE.len() {
        let whole = chunks.iter().any(|(at, ..)| *at == cut);
        assert_eq!(moved_error(&FILE[..cut]).is_none(), whole, "{cut}");
    }
}

#[test]
fn only_an_empty_store_is_filled() {
    let disk = SimulatedDisk::default();
    let time = (Clock::read(), Now::read().unix_s * 1_000);
    import(FILE, &disk, &RULES, time, &mut |_| {}).unwrap();
    let again = import(FILE, &disk, &RULES, time, &mut |_| {});
    assert!(matches!(again, Err(MoveError::Fill(FillError::NotEmpty(_)))));
}

/// The second message of a queue comes before the first by its number: then each queue has its own.
#[test]
fn the_order_of_a_queue_is_kept() {
    let mut file = FILE.to_vec();
    let chunks = super::super::tests::chunks();
    // The first two of "keeper": their store ids stand at the beginning of the bodies.
    let ids: Vec<usize> =
        chunks.iter().filter(|(_, kind, _)| *kind == 3).take(2).map(|(at, ..)| at + 8).collect();
    for byte in 0..8 {
        file.swap(ids[0] + byte, ids[1] + byte);
    }
    let (_, store, recovered) = moved(&file, &RULES, 60);
    let topics: Vec<_> =
        queue(&store, session(&recovered, "keeper")).into_iter().map(|(topic, ..)| topic).collect();
    assert_eq!(topics, ["plant/2/temp", "plant/1/temp", "alarm/fire"]);
}
