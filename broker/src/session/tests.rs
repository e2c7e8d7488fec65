//! Packets in, actions out: the rules of a session without socket or clock.

use super::*;
use bytes::Bytes;
use sealmq_protocol::SubscribeReturnCode;
use sealmq_protocol::packet::{PacketId, Publish, SubAck, Unsubscribe};

fn session() -> Session {
    session_with(|_| {})
}

fn session_with(change: impl FnOnce(&mut Limits)) -> Session {
    let mut limits = Limits::default();
    change(&mut limits);
    let mut session = Session::new(SessionId(1), "dev".into(), true, &limits);
    session.attach(0, None, true, Instant::now());
    session
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

fn publish(qos: Qos, packet_id: Option<u16>, dup: bool) -> Packet {
    let topic = "a/b".parse().unwrap();
    let packet_id = packet_id.map(id);
    Packet::Publish(Publish { dup, qos, retain: false, topic, packet_id, payload: Bytes::from("x") })
}

fn message(payload: &'static str) -> Arc<Message> {
    Arc::new(Message::of_broker("a/b".parse().unwrap(), Bytes::from(payload)))
}

/// Puts deliveries in as the mailbox would.
fn deliver(session: &mut Session, qos: Qos, payloads: &[&'static str]) {
    let deliveries = payloads.iter().map(|p| Delivery { message: message(p), qos, retain: false });
    session.deliveries_mut().extend(deliveries);
}

/// Feeds a packet; each routed message is said to be held. Gives all answers in a readable form.
fn feed(session: &mut Session, packet: Packet) -> Vec<String> {
    let receipt = if let Packet::Publish(publish) = &packet { Some(Receipt::of(publish)) } else { None };
    session.handle_packet(packet, Instant::now());
    let mut said = vec![];
    while let Some(action) = session.poll_action() {
        if let (Action::Route(_), Some(receipt)) = (&action, receipt) {
            session.handle_outcome(receipt, &Outcome::Routed(Position::START, None));
        }
        said.push(show(&action));
    }
    said
}

fn sent(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.poll_transmit()).map(|action| show(&action)).collect()
}

fn show(action: &Action) -> String {
    match action {
        Action::Send(packet) | Action::Acknowledge(packet, _) => format!("{packet:?}"),
        Action::Deliver(message, header) => {
            let payload = String::from_utf8_lossy(message.payload());
            let id = header.packet_id.map_or(0, PacketId::get);
            format!("{payload} qos{} id{id}{}", header.qos.bits(), if header.dup { " dup" } else { "" })
        }
        Action::Route(_) => "route".into(),
        Action::Close(ending) => format!("close {ending:?}"),
        Action::Report(_)
        | Action::Permit(_)
        | Action::Subscribe(..)
        | Action::Unsubscribe(_)
        | Action::ReadRetained { .. } => format!("{action:?}"),
    }
}

#[test]
fn qos0_is_routed_and_not_acknowledged() {
    assert_eq!(feed(&mut session(), publish(Qos::AtMostOnce, None, false)), ["route"]);
}

#[test]
fn qos1_is_acknowledged_after_routing_and_never_before() {
    let mut session = session();
    session.handle_packet(publish(Qos::AtLeastOnce, Some(7), false), Instant::now());
    assert!(matches!(session.poll_action(), Some(Action::Route(_))));
    assert!(session.poll_action().is_none(), "nothing leaves before the outcome is known");
    assert_eq!(feed(&mut session, publish(Qos::AtLeastOnce, Some(8), false)), ["route", "PubAck(8)"]);
}

#[test]
fn the_acknowledgement_carries_the_position_it_waits_for() {
    let mut session = session();
    let Packet::Publish(sent) = publish(Qos::AtLeastOnce, Some(7), false) else { unreachable!() };
    session.handle_outcome(Receipt::of(&sent), &Outcome::Routed(Position(42), None));
    assert!(matches!(session.poll_action(), Some(Action::Acknowledge(Packet::PubAck(_), Position(42)))));
}

#[test]
fn qos2_duplicate_is_delivered_once() {
    let mut session = session();
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(3), false)), ["route", "PubRec(3)"]);
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(3), true)), ["PubRec(3)"]);
    assert_eq!(feed(&mut session, Packet::PubRel(id(3))), ["PubComp(3)"]);
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(3), false)), ["route", "PubRec(3)"]);
}

#[test]
fn qos2_beyond_the_bound_closes_the_connection() {
    let mut session = session_with(|limits| limits.inbound_qos2_max = 1);
    feed(&mut session, publish(Qos::ExactlyOnce, Some(1), false));
    let said = feed(&mut session, publish(Qos::ExactlyOnce, Some(2), false));
    assert_eq!(said, ["close Protocol(ReceiveMaximumExceeded)"]);
}

#[test]
fn an_unknown_pubrel_is_answered_all_the_same() {
    assert_eq!(feed(&mut session(), Packet::PubRel(id(9))), ["PubComp(9)"]);
}

#[test]
fn the_window_bounds_what_is_in_flight() {
    let mut session = session_with(|limits| limits.inflight_messages_max = 2);
    deliver(&mut session, Qos::AtLeastOnce, &["1", "2", "3"]);
    assert_eq!(sent(&mut session), ["1 qos1 id1", "2 qos1 id2"]);
    feed(&mut session, Packet::PubAck(id(2)));
    assert_eq!(sent(&mut session), ["3 qos1 id3"]);
}

#[test]
fn a_packet_id_in_flight_is_not_used_again() {
    let mut session = session_with(|limits| limits.inflight_messages_max = 2);
    deliver(&mut session, Qos::AtLeastOnce, &["stuck"]);
    assert_eq!(sent(&mut session), ["stuck qos1 id1"]);
    for n in 2..=u16::MAX {
        deliver(&mut session, Qos::AtLeastOnce, &["x"]);
        assert_eq!(sent(&mut session), [format!("x qos1 id{n}")]);
        feed(&mut session, Packet::PubAck(id(n)));
    }
    deliver(&mut session, Qos::AtLeastOnce, &["y"]);
    assert!(sent(&mut session).is_empty(), "id 1 is in flight still");
    feed(&mut session, Packet::PubAck(id(1)));
    assert_eq!(sent(&mut session), ["y qos1 id1"]);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    let mut session = session();
    deliver(&mut session, Qos::ExactlyOnce, &["1", "2", "3"]);
    sent(&mut session);
    assert_eq!(feed(&mut session, Packet::PubRec(id(2))), ["PubRel(2)"]);
    deliver(&mut session, Qos::AtLeastOnce, &["4"]);
    let unsent = session.detach();
    assert_eq!(unsent.len(), 1);
    session.attach(0, None, true, Instant::now());
    session.deliveries_mut().extend(unsent);
    assert_eq!(sent(&mut session), ["1 qos2 id1 dup", "PubRel(2)", "3 qos2 id3 dup", "4 qos1 id4"]);
    feed(&mut session, Packet::PubComp(id(2)));
    feed(&mut session, Packet::PubRec(id(1)));
    feed(&mut session, Packet::PubComp(id(1)));
    session.detach();
    session.attach(0, None, true, Instant::now());
    assert_eq!(sent(&mut session), ["3 qos2 id3 dup", "4 qos1 id4 dup"]);
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_changes_nothing() {
    let mut session = session();
    deliver(&mut session, Qos::ExactlyOnce, &["1"]);
    sent(&mut session);
    feed(&mut session, Packet::PubAck(id(1)));
    feed(&mut session, Packet::PubComp(id(1)));
    feed(&mut session, Packet::PubAck(id(77)));
    session.attach(0, None, true, Instant::now());
    assert_eq!(sent(&mut session), ["1 qos2 id1 dup"]);
}

#[test]
fn keep_alive_ends_after_one_and_a_half_times() {
    let mut session = session();
    let start = Instant::now();
    session.attach(10, None, true, start);
    session.handle_timeout(start + Duration::from_millis(14_999));
    assert!(session.poll_action().is_none());
    session.handle_packet(Packet::PingReq, start + Duration::from_secs(10));
    assert_eq!(session.poll_timeout(), Some(start + Duration::from_secs(25)));
    assert_eq!(show(&session.poll_action().unwrap()), "PingResp");
    session.handle_timeout(start + Duration::from_secs(25));
    assert_eq!(show(&session.poll_action().unwrap()), "close Protocol(KeepAliveExpired)");
}

#[test]
fn keep_alive_zero_is_off() {
    assert_eq!(session().poll_timeout(), None);
}

#[test]
fn disconnect_takes_the_will_back() {
    let mut session = session();
    let will =
        Will { topic: "w".parse().unwrap(), payload: Bytes::new(), qos: Qos::AtMostOnce, retain: false };
    session.attach(0, Some(will), true, Instant::now());
    assert_eq!(feed(&mut session, Packet::Disconnect), ["close Disconnect"]);
    assert!(session.take_will().is_none());
}

#[test]
fn a_second_connect_closes() {
    let connect = packet::Connect {
        version: packet::Version::V311,
        client_id: "x".into(),
        clean_session: true,
        keep_alive_s: 0,
        will: None,
        user_name: None,
        password: None,
    };
    let said = feed(&mut session(), Packet::Connect(Box::new(connect)));
    assert_eq!(said, ["close Protocol(SecondConnect)"]);
}

#[test]
fn suback_answers_each_filter_in_order() {
    let mut session = session_with(|limits| limits.subscriptions_per_client_max = 1);
    let bad = "a+".parse::<TopicFilter>();
    let filters = vec![
        (bad, Qos::AtMostOnce),
        ("no".parse(), Qos::AtMostOnce),
        ("a/#".parse(), Qos::ExactlyOnce),
        ("one/too/many".parse(), Qos::AtMostOnce),
    ];
    let subscribe = Subscribe { packet_id: id(5), filters };
    session.handle_permitted(subscribe, &[false, false, true, true]);
    let Some(Action::Subscribe(granted)) = session.poll_action() else { panic!() };
    assert_eq!(granted, [("a/#".parse().unwrap(), Qos::ExactlyOnce)]);
    let Some(Action::Send(Packet::SubAck(SubAck { codes, .. }))) = session.poll_action() else { panic!() };
    let failure = SubscribeReturnCode::Failure;
    assert_eq!(codes, [failure, failure, SubscribeReturnCode::Granted(Qos::ExactlyOnce), failure]);
}

#[test]
fn unsubscribe_is_answered_even_for_what_was_never_subscribed() {
    let mut session = session();
    let unsubscribe = Unsubscribe { packet_id: id(2), filters: vec!["a".parse().unwrap()] };
    let said = feed(&mut session, Packet::Unsubscribe(unsubscribe));
    assert_eq!(said, ["Unsubscribe([])", "UnsubAck(2)"]);
}

#[test]
fn confidential_messages_stay_back_on_a_plaintext_connection() {
    let mut session = session();
    let secret = Arc::new(Message::confidential_for_tests("s", "secret"));
    let deliveries = || [Delivery { message: secret.clone(), qos: Qos::AtLeastOnce, retain: false }];
    session.deliveries_mut().extend(deliveries());
    assert_eq!(sent(&mut session), ["secret qos1 id1"]);
    session.detach();
    session.attach(0, None, false, Instant::now());
    session.deliveries_mut().extend(deliveries());
    assert!(sent(&mut session).is_empty(), "neither again nor anew");
    assert_eq!(session.take_withheld(), 2);
    session.detach();
    session.attach(0, None, true, Instant::now());
    assert!(sent(&mut session).is_empty());
}
