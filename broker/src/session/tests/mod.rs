//! Packets in, actions out: the rules of a session without socket or clock.

mod v5;

use super::*;
use crate::delivery::{Place, Terms as On};
use crate::egress::Egress;
use crate::ingress::Policies;
use crate::ingress::message::Message;
use bytes::Bytes;
use sealmq_config::egress as policy;
use sealmq_config::encryption::{OnRefusal, Payload, Policy};
use sealmq_crypto::{EnvelopeSize, Freshness};
use sealmq_protocol::Qos;
use sealmq_protocol::packet::{
    Connect, ConnectProperties, PacketId, Publish, SubAck, SubscriptionIds, SubscriptionOptions, Unsubscribe,
    UserProperties,
};

fn session() -> Session {
    session_with(|_| {})
}

fn session_with(change: impl FnOnce(&mut Limits)) -> Session {
    let mut limits = Limits::default();
    change(&mut limits);
    let mut session = Session::new(SessionId(1), "dev".into(), Keeping::Memory, &limits, Arc::default());
    session.attach(terms(Version::V311), true, Instant::now());
    session
}

/// A session of an MQTT 5 client, with what the broker offers and the client asks for changed so.
fn session5(offer: impl FnOnce(&mut Mqtt), ask: impl FnOnce(&mut Terms)) -> Session {
    let mut mqtt = Mqtt::default();
    offer(&mut mqtt);
    let mut session =
        Session::new(SessionId(1), "dev".into(), Keeping::Memory, &Limits::default(), Arc::new(mqtt));
    let mut terms = terms(Version::V5);
    ask(&mut terms);
    session.attach(terms, true, Instant::now());
    session
}

fn terms(version: Version) -> Terms {
    Terms {
        version,
        will: None,
        keep_alive_s: 0,
        session_expiry_s: u32::MAX,
        receive_maximum: u16::MAX,
        packet_bytes_max: None,
        aliases_to_client: 0,
        problem_information: true,
        authentication_method: None,
    }
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

fn publish(qos: Qos, packet_id: Option<u16>, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos,
        retain: false,
        topic: Some("a/b".parse().unwrap()),
        packet_id: packet_id.map(id),
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::default(),
        properties: None,
        payload: Bytes::from("x"),
    })
}

fn message(payload: &'static str) -> Arc<Message> {
    Arc::new(Message::of_broker("a/b".parse().unwrap(), Bytes::from(payload)))
}

/// Puts deliveries in as the mailbox would.
fn deliver(session: &mut Session, qos: Qos, payloads: &[&'static str]) {
    let deliveries =
        payloads.iter().map(|p| Delivery { message: message(p), terms: On::of(qos), place: None });
    session.deliveries_mut().extend(deliveries);
}

/// Feeds a packet; each routed message is said to be held. Gives all answers in a readable form.
fn feed(session: &mut Session, packet: Packet) -> Vec<String> {
    feed_to(session, packet, |_| Outcome::Routed(Position::START, ReasonCode::Success, None))
}

/// The same, with what becomes of a routed message.
fn feed_to(session: &mut Session, packet: Packet, route: impl Fn(&Submission) -> Outcome) -> Vec<String> {
    session.handle_packet(packet, Instant::now());
    let (mut said, mut owed) = (vec![], vec![]);
    while let Some(action) = session.poll_action() {
        said.push(show(&action));
        if let Action::Route(submission, receipt) = action {
            owed.extend(session.handle_outcome(receipt, route(&submission)));
        } else if let Action::Acknowledge(answer, _) = action {
            session.handle_acknowledged(&answer);
        }
    }
    for (answer, position) in owed {
        session.handle_acknowledged(&answer);
        said.push(show(&Action::Acknowledge(answer, position)));
    }
    said
}

fn sent(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.poll_transmit(Instant::now())).map(|action| show(&action)).collect()
}

fn show(action: &Action) -> String {
    match action {
        Action::Send(packet) | Action::SendKept(packet) => show_packet(packet),
        Action::Acknowledge(Acknowledgement::Qos1(ack), _) => show_packet(&Packet::PubAck(ack.clone())),
        Action::Acknowledge(Acknowledgement::Qos2(ack), _) => show_packet(&Packet::PubRec(ack.clone())),
        Action::Deliver(dispatch) => {
            let packet = dispatch.as_packet();
            let payload = String::from_utf8_lossy(packet.payload);
            let id = packet.header.packet_id.map_or(0, PacketId::get);
            let dup = if packet.header.dup { " dup" } else { "" };
            let alias = packet.topic_alias.map_or(String::new(), |alias| {
                format!(" {}={alias}", if packet.topic.is_empty() { "use" } else { "set" })
            });
            let expiry = packet.message_expiry_s.map_or(String::new(), |left| format!(" {left}s"));
            format!("{payload} qos{} id{id}{dup}{alias}{expiry}", packet.header.qos.bits())
        }
        Action::Route(submission, _) => format!("route {}", submission.topic()),
        Action::Close(ending) => format!("close {ending:?}"),
        Action::Report(refused) => format!("Report({:?})", refused.refusal),
        Action::DeliverSealed(_)
        | Action::Permit(_)
        | Action::Subscribe(..)
        | Action::Unsubscribe(_)
        | Action::Authenticate(_)
        | Action::ReadRetained { .. } => format!("{action:?}"),
    }
}

/// An acknowledgement as `PubAck(7)`, with its reason if that is not success.
fn show_packet(packet: &Packet) -> String {
    let (name, ack) = if let Packet::PubAck(ack) = packet {
        ("PubAck", ack)
    } else if let Packet::PubRec(ack) = packet {
        ("PubRec", ack)
    } else if let Packet::PubRel(ack) = packet {
        ("PubRel", ack)
    } else if let Packet::PubComp(ack) = packet {
        ("PubComp", ack)
    } else if let Packet::UnsubAck(ack) = packet {
        return format!("UnsubAck({}) {:?}", ack.packet_id, ack.reasons);
    } else {
        return format!("{packet:?}");
    };
    let reason = if ack.reason == ReasonCode::Success { String::new() } else { format!(" {:?}", ack.reason) };
    let said = ack.diagnostics.as_ref().map_or("", |_| " with a reason string");
    format!("{name}({}){reason}{said}", ack.packet_id)
}

fn puback(n: u16) -> Packet {
    Packet::PubAck(Ack::success(id(n)))
}

fn pubrec(n: u16) -> Packet {
    Packet::PubRec(Ack::success(id(n)))
}

fn pubrel(n: u16) -> Packet {
    Packet::PubRel(Ack::success(id(n)))
}

fn pubcomp(n: u16) -> Packet {
    Packet::PubComp(Ack::success(id(n)))
}

#[test]
fn qos0_is_routed_and_not_acknowledged() {
    assert_eq!(feed(&mut session(), publish(Qos::AtMostOnce, None, false)), ["route a/b"]);
}

#[test]
fn qos1_is_acknowledged_after_routing_and_never_before() {
    let mut session = session();
    session.handle_packet(publish(Qos::AtLeastOnce, Some(7), false), Instant::now());
    assert!(matches!(session.poll_action(), Some(Action::Route(..))));
    assert!(session.poll_action().is_none(), "nothing leaves before the outcome is known");
    assert_eq!(feed(&mut session, publish(Qos::AtLeastOnce, Some(8), false)), ["route a/b", "PubAck(8)"]);
}

#[test]
fn the_acknowledgement_carries_the_position_it_waits_for() {
    let mut session = session();
    session.handle_packet(publish(Qos::AtLeastOnce, Some(7), false), Instant::now());
    let Some(Action::Route(_, receipt)) = session.poll_action() else { panic!() };
    let owed = session.handle_outcome(receipt, Outcome::Routed(Position(42), ReasonCode::Success, None));
    assert!(matches!(owed, Some((Acknowledgement::Qos1(_), Position(42)))));
}

#[test]
fn qos2_duplicate_is_delivered_once() {
    let mut session = session();
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(3), false)), ["route a/b", "PubRec(3)"]);
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(3), true)), ["PubRec(3)"]);
    assert_eq!(feed(&mut session, pubrel(3)), ["PubComp(3)"]);
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(3), false)), ["route a/b", "PubRec(3)"]);
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
    assert_eq!(feed(&mut session(), pubrel(9)), ["PubComp(9) PacketIdentifierNotFound"]);
}

#[test]
fn the_window_bounds_what_is_in_flight() {
    let mut session = session_with(|limits| limits.inflight_messages_max = 2);
    deliver(&mut session, Qos::AtLeastOnce, &["1", "2", "3"]);
    assert_eq!(sent(&mut session), ["1 qos1 id1", "2 qos1 id2"]);
    feed(&mut session, puback(2));
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
        feed(&mut session, puback(n));
    }
    deliver(&mut session, Qos::AtLeastOnce, &["y"]);
    assert!(sent(&mut session).is_empty(), "id 1 is in flight still");
    feed(&mut session, puback(1));
    assert_eq!(sent(&mut session), ["y qos1 id1"]);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    let mut session = session();
    deliver(&mut session, Qos::ExactlyOnce, &["1", "2", "3"]);
    sent(&mut session);
    assert_eq!(feed(&mut session, pubrec(2)), ["PubRel(2)"]);
    deliver(&mut session, Qos::AtLeastOnce, &["4"]);
    let unsent = session.detach().unsent;
    assert_eq!(unsent.len(), 1);
    session.attach(terms(Version::V311), true, Instant::now());
    session.deliveries_mut().extend(unsent);
    assert_eq!(sent(&mut session), ["1 qos2 id1 dup", "PubRel(2)", "3 qos2 id3 dup", "4 qos1 id4"]);
    feed(&mut session, pubcomp(2));
    feed(&mut session, pubrec(1));
    feed(&mut session, pubcomp(1));
    session.detach();
    session.attach(terms(Version::V311), true, Instant::now());
    assert_eq!(sent(&mut session), ["3 qos2 id3 dup", "4 qos1 id4 dup"]);
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_changes_nothing() {
    let mut session = session();
    deliver(&mut session, Qos::ExactlyOnce, &["1"]);
    sent(&mut session);
    feed(&mut session, puback(1));
    feed(&mut session, pubcomp(1));
    feed(&mut session, puback(77));
    session.attach(terms(Version::V311), true, Instant::now());
    assert_eq!(sent(&mut session), ["1 qos2 id1 dup"]);
}

#[test]
fn keep_alive_ends_after_one_and_a_half_times() {
    let mut session = session();
    let start = Instant::now();
    session.attach(Terms { keep_alive_s: 10, ..terms(Version::V311) }, true, start);
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
    session.attach(Terms { will: Some(will(0)), ..terms(Version::V311) }, true, Instant::now());
    let disconnect = Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::Success)));
    assert_eq!(feed(&mut session, disconnect), ["close Disconnect(Success)"]);
    assert!(matches!(session.will_at_end(), WillAtEnd::TakenBack));
    assert!(matches!(session.will_at_end(), WillAtEnd::None));
}

fn will(delay_s: u32) -> Will {
    Will {
        topic: "w".parse().unwrap(),
        payload: Bytes::new(),
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s,
        message_expiry_s: None,
        properties: None,
    }
}

#[test]
fn a_second_connect_closes() {
    let connect = Connect {
        version: Version::V311,
        client_id: "x".into(),
        clean_start: true,
        session_expiry_s: 0,
        keep_alive_s: 0,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    let said = feed(&mut session(), Packet::Connect(Box::new(connect)));
    assert_eq!(said, ["close Protocol(SecondConnect)"]);
}

#[test]
fn suback_answers_each_filter_in_order() {
    let mut session = session_with(|limits| limits.subscriptions_per_client_max = 1);
    let filters = [("a+", 0), ("no", 0), ("a/#", 2), ("one/too/many", 0)];
    session.handle_permitted(subscribe(&filters), &[false, false, true, true]);
    let Some(Action::Subscribe(granted)) = session.poll_action() else { panic!() };
    assert!(matches!(granted.as_slice(), [only] if only.filter.to_string() == "a/#" && only.is_new));
    let Some(Action::SendKept(Packet::SubAck(SubAck { reasons, .. }))) = session.poll_action() else {
        panic!()
    };
    let (invalid, refused) = (ReasonCode::TopicFilterInvalid, ReasonCode::NotAuthorized);
    assert_eq!(reasons, [invalid, refused, ReasonCode::GrantedQos2, ReasonCode::QuotaExceeded]);
}

fn subscribe(filters: &[(&str, u8)]) -> Subscribe {
    let options = |bits| SubscriptionOptions::of(Qos::from_bits(bits).unwrap());
    let filters = filters.iter().map(|(filter, qos)| (filter.parse(), options(*qos))).collect();
    let user_properties = UserProperties::default();
    Subscribe { packet_id: id(5), filters, subscription_id: None, user_properties }
}

#[test]
fn unsubscribe_is_answered_even_for_what_was_never_subscribed() {
    let mut session = session();
    let (filters, user_properties) = (vec!["a".parse()], UserProperties::default());
    let said =
        feed(&mut session, Packet::Unsubscribe(Unsubscribe { packet_id: id(2), filters, user_properties }));
    assert_eq!(said, ["Unsubscribe([])", "UnsubAck(2) [NoSubscriptionExisted]"]);
}

#[test]
fn confidential_messages_stay_back_on_a_plaintext_connection() {
    let mut session = session();
    let secret = Arc::new(Message::confidential_for_tests("s", "secret", Egress::Secure));
    let deliveries = || [Delivery { message: secret.clone(), terms: On::of(Qos::AtLeastOnce), place: None }];
    session.deliveries_mut().extend(deliveries());
    assert_eq!(sent(&mut session), ["secret qos1 id1"]);
    session.detach();
    session.attach(terms(Version::V311), false, Instant::now());
    session.deliveries_mut().extend(deliveries());
    assert!(sent(&mut session).is_empty(), "neither again nor anew");
    assert_eq!(session.take_passed_over().withheld, 2);
    session.detach();
    session.attach(terms(Version::V311), true, Instant::now());
    assert!(sent(&mut session).is_empty());
}

/// On the terms of a client with a key, under this policy of all topics.
fn sealing(payload: Payload, egress: policy::Egress) -> Sealing {
    let topics = vec!["#".parse().unwrap()];
    let policies = vec![Policy { topics, payload, on_refusal: OnRefusal::Drop, egress }];
    let freshness = Freshness::Both { seq: u64::MAX, time: u32::MAX.into() };
    Sealing { policies: Arc::new(Policies::new(policies)), size: EnvelopeSize::new(b"mq", b"key", freshness) }
}

#[test]
fn what_may_be_sealed_again_leaves_as_an_envelope_or_not_at_all() {
    use policy::Egress::{Secure, SecureOrSealed};
    let mut session = session();
    session.attach(terms(Version::V311), false, Instant::now());
    let mut sent = |egress, sealing: Option<Sealing>| {
        let message = Arc::new(Message::confidential_for_tests("s", "secret", egress));
        session.set_sealing(sealing);
        session.deliveries_mut().push_back(Delivery { message, terms: On::of(Qos::AtMostOnce), place: None });
        match session.poll_transmit(Instant::now()) {
            None => "nothing",
            Some(Action::DeliverSealed(unsealed)) if unsealed.plaintext() == "secret" => "an envelope",
            Some(other) => panic!("{other:?}"),
        }
    };
    let sealed = || Some(sealing(Payload::Sealed, SecureOrSealed));
    assert_eq!(sent(Egress::SecureOrSealed, sealed()), "an envelope");
    assert_eq!(sent(Egress::SecureOrSealed, None), "nothing");
    assert_eq!(sent(Egress::Secure, sealed()), "nothing");
    // Of the promise and today's policy the stricter holds.
    assert_eq!(sent(Egress::SecureOrSealed, Some(sealing(Payload::Sealed, Secure))), "nothing");
    assert_eq!(sent(Egress::SecureOrSealed, Some(sealing(Payload::Plain, Secure))), "an envelope");
    assert_eq!(session.take_passed_over().withheld, 3);
}

/// A packet id waits for the store, and meanwhile a reload takes the client's key.
#[test]
fn what_waits_for_its_packet_id_is_asked_about_again() {
    let keeping = Keeping::Store;
    let mut session = Session::new(SessionId(1), "dev".into(), keeping, &Limits::default(), Arc::default());
    session.attach(terms(Version::V311), false, Instant::now());
    session.set_sealing(Some(sealing(Payload::Sealed, policy::Egress::SecureOrSealed)));
    for (n, egress) in [(1, Egress::SecureOrSealed), (2, Egress::Any)] {
        let message = match egress {
            Egress::Any => message("for all"),
            Egress::Secure | Egress::SecureOrSealed => {
                Arc::new(Message::confidential_for_tests("s", "secret", egress))
            }
        };
        let place = Place::new(Position(n), false);
        session.deliveries_mut().push_back(Delivery { message, terms: On::of(Qos::ExactlyOnce), place });
    }
    assert!(sent(&mut session).is_empty(), "both wait");
    assert!(session.kept_mut().changes().1);
    session.kept_mut().handle_appended(Position(3));
    session.set_sealing(None);
    session.kept_mut().handle_reached();
    assert_eq!(sent(&mut session), ["for all qos2 id2"]);
    assert_eq!(session.take_passed_over().withheld, 1);
}

#[test]
fn what_moves_for_each_message_is_small() {
    // Up to two cache lines a move is a handful of instructions, beyond it a call.
    assert!(size_of::<Packet>() <= 104 && size_of::<Action>() <= 112 && size_of::<Delivery>() <= 32);
}
