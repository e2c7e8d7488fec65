//! What only MQTT 5 has: aliases, flow control both ways, expiry, options, reason codes, delayed wills.

use super::*;
use crate::ingress::{Refusal, Refused};
use crate::retained::Page;
use sealmq_crypto::OpenError;
use sealmq_protocol::ReasonCode as R;
use sealmq_protocol::packet::RetainHandling::{self, DoNotSend, Send, SendIfNew};
use sealmq_protocol::packet::TopicAlias;

/// A session of a client that asks for nothing special.
fn session() -> Session {
    session5(|_| {}, |_| {})
}

fn alias(n: u16) -> Option<TopicAlias> {
    TopicAlias::new(n)
}

/// A PUBLISH with topic and alias as given.
fn aliased(topic: Option<&str>, alias: Option<TopicAlias>) -> Packet {
    let Packet::Publish(publish) = publish(Qos::AtMostOnce, None, false) else { unreachable!() };
    let topic = topic.map(|topic| topic.parse().unwrap());
    Packet::Publish(Publish { topic, topic_alias: alias, ..publish })
}

fn refuse(session: &mut Session, packet: Packet, refusal: Refusal) -> Vec<String> {
    feed_to(session, packet, |_| Outcome::Refused(Refused::for_tests(refusal)))
}

#[test]
fn aliases_are_resolved_before_anything_else_sees_the_topic() {
    let mut session = session();
    assert_eq!(feed(&mut session, aliased(Some("x/y"), alias(32))), ["route x/y"]);
    assert_eq!(feed(&mut session, aliased(None, alias(32))), ["route x/y"]);
    assert_eq!(feed(&mut session, aliased(None, alias(1))), ["close Protocol(UnknownTopicAlias)"]);
    assert_eq!(feed(&mut session, aliased(Some("x"), alias(33))), ["close Protocol(TopicAlias)"]);
}

#[test]
fn aliases_end_with_the_connection() {
    let mut session = session();
    feed(&mut session, aliased(Some("x/y"), alias(1)));
    session.detach();
    session.attach(terms(Version::V5), true, Instant::now());
    assert_eq!(feed(&mut session, aliased(None, alias(1))), ["close Protocol(UnknownTopicAlias)"]);
}

#[test]
fn a_duplicate_of_qos2_still_sets_its_alias() {
    let mut session = session();
    feed(&mut session, publish(Qos::ExactlyOnce, Some(3), false));
    let Packet::Publish(again) = publish(Qos::ExactlyOnce, Some(3), true) else { unreachable!() };
    let again = Packet::Publish(Publish { topic_alias: alias(1), ..again });
    assert_eq!(feed(&mut session, again), ["PubRec(3)"]);
    assert_eq!(feed(&mut session, aliased(None, alias(1))), ["route a/b"]);
}

#[test]
fn the_receive_maximum_counts_what_is_not_acknowledged() {
    let mut session = session5(|offer| offer.receive_maximum = 2, |_| {});
    // Acknowledged at once, so that there is always room.
    for n in 1..=5 {
        feed(&mut session, publish(Qos::AtLeastOnce, Some(n), false));
    }
    // QoS 2 takes its place until PUBCOMP.
    feed(&mut session, publish(Qos::ExactlyOnce, Some(6), false));
    feed(&mut session, publish(Qos::ExactlyOnce, Some(7), false));
    assert_eq!(feed(&mut session, publish(Qos::AtMostOnce, None, false)), ["route a/b"], "QoS 0 is free");
    feed(&mut session, pubrel(6));
    feed(&mut session, publish(Qos::ExactlyOnce, Some(8), false));
    let said = feed(&mut session, publish(Qos::AtLeastOnce, Some(9), false));
    assert_eq!(said, ["close Protocol(ReceiveMaximumExceeded)"]);
}

#[test]
fn an_acknowledgement_that_waits_for_the_store_keeps_its_place() {
    let mut session = session5(|offer| offer.receive_maximum = 1, |_| {});
    session.handle_packet(publish(Qos::AtLeastOnce, Some(1), false), Instant::now());
    let Some(Action::Route(_, receipt)) = session.poll_action() else { panic!() };
    let owed = session.handle_outcome(receipt, Outcome::Routed(Position(7), ReasonCode::Success, None));
    let Some((answer, _)) = owed else { panic!() };
    let said = feed(&mut session, publish(Qos::AtLeastOnce, Some(2), false));
    assert_eq!(said, ["close Protocol(ReceiveMaximumExceeded)"]);
    session.handle_acknowledged(&answer);
    assert_eq!(feed(&mut session, publish(Qos::AtLeastOnce, Some(3), false)), ["route a/b", "PubAck(3)"]);
}

#[test]
fn a_refused_qos2_message_is_over_with_its_pubrec() {
    let mut session = session5(|offer| offer.receive_maximum = 1, |_| {});
    for n in [1, 1, 2] {
        let said = refuse(&mut session, publish(Qos::ExactlyOnce, Some(n), false), Refusal::NotAuthorized);
        let expected = format!("PubRec({n}) NotAuthorized with a reason string");
        assert_eq!(said, ["route a/b", "Report(NotAuthorized)", &expected]);
    }
    assert_eq!(feed(&mut session, pubrel(1)), ["PubComp(1) PacketIdentifierNotFound"]);
}

#[test]
fn reason_strings_are_for_those_who_want_them() {
    // [MQTT-3.1.2-29]
    let mut session = session5(|_| {}, |terms| terms.problem_information = false);
    let said = refuse(&mut session, publish(Qos::AtLeastOnce, Some(1), false), Refusal::PayloadFormat);
    assert_eq!(said, ["route a/b", "Report(PayloadFormat)", "PubAck(1) PayloadFormatInvalid"]);
}

#[test]
fn a_3_1_1_publisher_that_is_refused_goes_on_to_pubcomp() {
    let mut session = super::session();
    refuse(&mut session, publish(Qos::ExactlyOnce, Some(1), false), Refusal::NotAuthorized);
    assert_eq!(feed(&mut session, publish(Qos::ExactlyOnce, Some(1), true)), ["PubRec(1)"]);
    assert_eq!(feed(&mut session, pubrel(1)), ["PubComp(1)"]);
}

/// Whoever is closed for an envelope that only time has spoilt comes back with it, for ever.
#[test]
fn what_is_sent_again_is_answered_where_its_first_copy_is_not_remembered() {
    for (error, again) in [
        (OpenError::Replayed, true),
        (OpenError::NotFresh, true),
        (OpenError::BadStamp, false),
        (OpenError::DecryptFailed, false),
    ] {
        let strict = Refusal::Envelope(error, OnRefusal::Disconnect);
        let lenient = Refusal::Envelope(error, OnRefusal::Drop);
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for mut session in [super::session(), session()] {
                let dropped = refuse(&mut session, publish(qos, Some(1), false), lenient);
                let said = refuse(&mut session, publish(qos, Some(2), true), strict);
                if again {
                    let expected: Vec<_> = dropped.iter().map(|said| said.replace("(1)", "(2)")).collect();
                    assert_eq!((said, expected.len()), (expected, 3));
                } else {
                    assert!(said[2].starts_with("close Refused("), "{said:?}");
                }
                let said = refuse(&mut session, publish(qos, Some(3), false), strict);
                assert!(said[2].starts_with("close Refused("), "sent for the first time: {said:?}");
            }
        }
    }
}

/// Whatever the policy says, and as often as it is sent.
#[test]
fn a_fault_of_ours_is_answered_and_closes_nothing() {
    let mut session = session();
    for dup in [false, true] {
        let said = refuse(&mut session, publish(Qos::AtLeastOnce, Some(1), dup), Refusal::Internal);
        assert_eq!(
            said,
            ["route a/b", "Report(Internal)", "PubAck(1) UnspecifiedError with a reason string"]
        );
    }
}

#[test]
fn qos_and_retain_that_are_not_offered_close() {
    let mut session = session5(|offer| offer.qos_max = 1, |_| {});
    let said = feed(&mut session, publish(Qos::ExactlyOnce, Some(1), false));
    assert_eq!(said, ["close Protocol(QosNotSupported)"]);
    let mut session = session5(|offer| offer.retain_available = false, |_| {});
    let Packet::Publish(retained) = publish(Qos::AtMostOnce, None, false) else { unreachable!() };
    let said = feed(&mut session, Packet::Publish(Publish { retain: true, ..retained }));
    assert_eq!(said, ["close Protocol(RetainNotSupported)"]);
}

#[test]
fn the_clients_receive_maximum_bounds_what_is_in_flight() {
    // [MQTT-3.3.4-9]
    let mut session = session5(|_| {}, |terms| terms.receive_maximum = 2);
    deliver(&mut session, Qos::ExactlyOnce, &["1", "2", "3", "4"]);
    assert_eq!(sent(&mut session), ["1 qos2 id1", "2 qos2 id2"]);
    assert_eq!(feed(&mut session, pubrec(1)), ["PubRel(1)"]);
    assert!(sent(&mut session).is_empty(), "not before PUBCOMP");
    feed(&mut session, pubcomp(1));
    assert_eq!(sent(&mut session), ["3 qos2 id3"]);
    // An error ends the exchange, and gives its place back.
    let failed = Packet::PubRec(Ack::of(id(2), ReasonCode::UnspecifiedError));
    assert!(feed(&mut session, failed).is_empty());
    assert_eq!(sent(&mut session), ["4 qos2 id4"]);
}

#[test]
fn after_a_reconnect_no_more_is_sent_again_than_the_new_receive_maximum() {
    let mut session = session();
    deliver(&mut session, Qos::AtLeastOnce, &["1", "2", "3"]);
    sent(&mut session);
    session.detach();
    session.attach(Terms { receive_maximum: 2, ..terms(Version::V5) }, true, Instant::now());
    deliver(&mut session, Qos::AtLeastOnce, &["4"]);
    assert_eq!(sent(&mut session), ["1 qos1 id1 dup", "2 qos1 id2 dup"]);
    // One that was not sent again yet is acknowledged all the same, late, from before.
    feed(&mut session, puback(3));
    assert!(sent(&mut session).is_empty());
    feed(&mut session, puback(1));
    assert_eq!(sent(&mut session), ["4 qos1 id4"]);
    feed(&mut session, puback(2));
    feed(&mut session, puback(4));
    deliver(&mut session, Qos::AtLeastOnce, &["5", "6", "7"]);
    assert_eq!(sent(&mut session), ["5 qos1 id5", "6 qos1 id6"]);
}

#[test]
fn pubrel_is_not_held_back_by_the_receive_maximum() {
    // [MQTT-3.3.4-10]
    let mut session = session();
    deliver(&mut session, Qos::ExactlyOnce, &["1", "2", "3"]);
    sent(&mut session);
    feed(&mut session, pubrec(2));
    feed(&mut session, pubrec(3));
    session.detach();
    // All of the window waits behind the first, but for those two.
    session.attach(Terms { receive_maximum: 1, ..terms(Version::V5) }, true, Instant::now());
    deliver(&mut session, Qos::AtLeastOnce, &["4"]);
    assert_eq!(sent(&mut session), ["1 qos2 id1 dup", "PubRel(2)", "PubRel(3)"]);
    // They take no place in it, and give none back.
    feed(&mut session, pubcomp(2));
    feed(&mut session, pubcomp(3));
    assert!(sent(&mut session).is_empty());
    feed(&mut session, pubrec(1));
    feed(&mut session, pubcomp(1));
    assert_eq!(sent(&mut session), ["4 qos1 id4"]);
}

#[test]
fn the_receive_maximum_counts_this_connection_alone() {
    let mut session = session5(|offer| offer.receive_maximum = 2, |_| {});
    for round in 0..3 {
        feed(&mut session, publish(Qos::ExactlyOnce, Some(2 * round + 1), false));
        feed(&mut session, publish(Qos::ExactlyOnce, Some(2 * round + 2), false));
        session.detach();
        session.attach(terms(Version::V5), true, Instant::now());
    }
    // What is released of earlier connections makes no room on this one.
    for id in 1..=2 {
        feed(&mut session, pubrel(id));
        feed(&mut session, publish(Qos::ExactlyOnce, Some(100 + id), false));
    }
    feed(&mut session, pubrel(3));
    let said = feed(&mut session, publish(Qos::ExactlyOnce, Some(200), false));
    assert_eq!(said, ["close Protocol(ReceiveMaximumExceeded)"]);
}

#[test]
fn unknown_ids_are_answered_with_not_found() {
    let mut session = session();
    assert_eq!(feed(&mut session, pubrec(9)), ["PubRel(9) PacketIdentifierNotFound"]);
    assert_eq!(feed(&mut session, pubrel(9)), ["PubComp(9) PacketIdentifierNotFound"]);
}

fn expiring(payload: &'static str, seconds: u32, now: Instant, qos: Qos) -> Delivery {
    let message = Arc::new(Message::expiring_for_tests("a/b", payload, seconds, now));
    Delivery { message, terms: On::of(qos), place: None }
}

#[test]
fn expiry_is_counted_down_and_the_expired_are_passed_over() {
    // [MQTT-3.3.2-5], [MQTT-3.3.2-6]
    let (mut session, start) = (session(), Instant::now());
    let later = start + Duration::from_millis(3_500);
    session.deliveries_mut().extend([
        expiring("late", 3, start, Qos::AtMostOnce),
        expiring("in time", 10, start, Qos::AtLeastOnce),
    ]);
    let said: Vec<_> = std::iter::from_fn(|| session.poll_transmit(later)).map(|a| show(&a)).collect();
    assert_eq!(said, ["in time qos1 id1 7s"]);
    assert_eq!(session.take_passed_over(), PassedOver { expired: 1, ..PassedOver::default() });
}

#[test]
fn what_expires_in_flight_is_not_sent_again_unless_its_exchange_was_begun() {
    let (mut session, start) = (session(), Instant::now());
    let deliveries =
        [("once", Qos::AtLeastOnce), ("begun", Qos::ExactlyOnce)].map(|(p, qos)| expiring(p, 60, start, qos));
    session.deliveries_mut().extend(deliveries);
    assert_eq!(sent(&mut session).len(), 2);
    session.detach();
    session.attach(terms(Version::V5), true, start);
    let later = start + Duration::from_secs(61);
    let said: Vec<_> = std::iter::from_fn(|| session.poll_transmit(later)).map(|a| show(&a)).collect();
    assert_eq!(said, ["begun qos2 id2 dup 0s"]);
}

#[test]
fn a_message_larger_than_the_client_takes_is_passed_over() {
    // [MQTT-3.1.2-24], [MQTT-3.1.2-25]: 2 of header, 5 of topic, 2 of id, 1 of properties, the payload.
    let mut session = session5(|_| {}, |terms| terms.packet_bytes_max = Some(14));
    deliver(&mut session, Qos::AtLeastOnce, &["12345", "1234", "1"]);
    assert_eq!(sent(&mut session), ["1234 qos1 id1", "1 qos1 id2"]);
    assert_eq!(session.take_passed_over().too_large, 1);
}

#[test]
fn topics_get_aliases_and_keep_them_while_connected() {
    let mut session = session5(|_| {}, |terms| terms.aliases_to_client = 1);
    let other = Arc::new(Message::of_broker("other".parse().unwrap(), Bytes::from("o")));
    let named = Arc::new(Message::of_broker("named/topic".parse().unwrap(), Bytes::from("n")));
    let push = |session: &mut Session, message: &Arc<Message>| {
        let terms = On::of(Qos::AtMostOnce);
        session.deliveries_mut().push_back(Delivery { message: message.clone(), terms, place: None });
    };
    for message in [&named, &named, &other, &named] {
        push(&mut session, message);
    }
    assert_eq!(
        sent(&mut session),
        ["n qos0 id0 set=1", "n qos0 id0 use=1", "o qos0 id0", "n qos0 id0 use=1"]
    );
    session.detach();
    session.attach(Terms { aliases_to_client: 1, ..terms(Version::V5) }, true, Instant::now());
    push(&mut session, &named);
    assert_eq!(sent(&mut session), ["n qos0 id0 set=1"], "the client has forgotten it");
}

#[test]
fn an_alias_is_not_introduced_where_it_would_not_fit() {
    let ask = |terms: &mut Terms| (terms.aliases_to_client, terms.packet_bytes_max) = (1, Some(14));
    let mut session = session5(|_| {}, ask);
    let long = Arc::new(Message::of_broker("topic".parse().unwrap(), Bytes::from("1234")));
    let short = Arc::new(Message::of_broker("topic".parse().unwrap(), Bytes::new()));
    let deliveries =
        [&long, &short, &long].map(|m| Delivery { message: m.clone(), terms: On::default(), place: None });
    session.deliveries_mut().extend(deliveries);
    // 2 of header, 7 of topic, 1 of properties, the payload; and 5 to spare for an alias.
    assert_eq!(sent(&mut session), ["1234 qos0 id0", " qos0 id0", "1234 qos0 id0"]);
}

/// What a subscription with these options is sent of retained messages.
fn asks_for_retained(session: &mut Session, handling: RetainHandling, filter: &str) -> bool {
    let options = SubscriptionOptions { retain_handling: handling, ..SubscriptionOptions::default() };
    let subscribe = Subscribe { filters: vec![(filter.parse(), options)], ..subscribe(&[]) };
    session.handle_permitted(subscribe, &[true]);
    let Some(Action::Subscribe(granted)) = session.poll_action() else { panic!() };
    session.poll_action();
    session.handle_subscribed(granted, crate::retained::Retained::new(1, 1).order());
    session.deliveries_mut();
    let asks = matches!(session.poll_transmit(Instant::now()), Some(Action::ReadRetained { .. }));
    session.handle_page(Page { messages: vec![], next: None });
    asks
}

#[test]
fn retain_handling_says_when_retained_messages_are_sent() {
    // [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
    let mut session = session();
    assert!(asks_for_retained(&mut session, SendIfNew, "a"));
    assert!(!asks_for_retained(&mut session, SendIfNew, "a"));
    assert!(asks_for_retained(&mut session, Send, "a"));
    assert!(!asks_for_retained(&mut session, DoNotSend, "b"));
    assert!(!asks_for_retained(&mut session, Send, "$share/g/a"), "never to who shares");
}

#[test]
fn what_is_turned_off_is_refused_by_its_own_code() {
    let offer = |offer: &mut Mqtt| {
        (offer.wildcard_subscriptions, offer.shared_subscriptions) = (false, false);
        (offer.subscription_identifiers, offer.qos_max) = (false, 1);
    };
    let mut session = session5(offer, |_| {});
    let reasons = |session: &mut Session, subscribe: Subscribe| {
        session.handle_permitted(subscribe, &[true, true, true]);
        session.poll_action();
        let Some(Action::SendKept(Packet::SubAck(ack))) = session.poll_action() else { panic!() };
        ack.reasons
    };
    let said = reasons(&mut session, subscribe(&[("a/#", 0), ("$share/g/a", 0), ("a", 2)]));
    let (wildcards, shared) = (R::WildcardSubscriptionsNotSupported, R::SharedSubscriptionsNotSupported);
    assert_eq!(said, [wildcards, shared, R::GrantedQos1]);
    let with_id = Subscribe {
        subscription_id: sealmq_protocol::packet::SubscriptionId::new(1),
        ..subscribe(&[("b", 0)])
    };
    assert_eq!(reasons(&mut session, with_id), [R::SubscriptionIdentifiersNotSupported]);
}

fn disconnect(reason: ReasonCode, session_expiry_s: Option<u32>) -> Packet {
    Packet::Disconnect(Box::new(Disconnect { session_expiry_s, ..Disconnect::of(reason) }))
}

#[test]
fn disconnect_changes_the_session_expiry_but_does_not_raise_it_from_nothing() {
    let mut session = session5(|offer| offer.session_expiry_max_s = Some(100), |_| {});
    feed(&mut session, disconnect(ReasonCode::Success, Some(50)));
    assert_eq!(session.expiry(), Some(Duration::from_secs(50)));
    feed(&mut session, disconnect(ReasonCode::Success, Some(u32::MAX)));
    assert_eq!(session.expiry(), Some(Duration::from_secs(100)));
    feed(&mut session, disconnect(ReasonCode::Success, Some(0)));
    let said = feed(&mut session, disconnect(ReasonCode::Success, Some(1)));
    assert_eq!(said, ["close Protocol(SessionExpiryRaised)"]);
}

#[test]
fn the_will_waits_only_while_the_session_is_kept() {
    for (expiry_s, delay_s, now) in [(0, 10, true), (10, 0, true), (10, 10, false), (u32::MAX, 1, false)] {
        let ask = |terms: &mut Terms| (terms.session_expiry_s, terms.will) = (expiry_s, Some(will(delay_s)));
        let mut session = session5(|_| {}, ask);
        let end = session.will_at_end();
        assert_eq!(matches!(end, WillAtEnd::Now(_)), now, "{expiry_s} {delay_s}: {end:?}");
        assert!(matches!(session.will_at_end(), WillAtEnd::None), "given out once");
    }
}

#[test]
fn disconnect_with_will_keeps_it() {
    let ask = |terms: &mut Terms| terms.will = Some(will(0));
    let mut session = session5(|_| {}, ask);
    let said = feed(&mut session, disconnect(ReasonCode::DisconnectWithWill, None));
    assert_eq!(said, ["close Disconnect(DisconnectWithWill)"]);
    assert!(matches!(session.will_at_end(), WillAtEnd::Now(_)));
}

#[test]
fn auth_is_for_those_who_began_with_it_and_in_the_same_way() {
    let auth = |method: &str| {
        let method = Some(method.into());
        Packet::Auth(Box::new(Auth {
            reason: ReasonCode::Reauthenticate,
            method,
            data: None,
            diagnostics: None,
        }))
    };
    assert_eq!(feed(&mut session(), auth("M")), ["close Protocol(UnexpectedAuth)"]);
    let mut session = session5(|_| {}, |terms| terms.authentication_method = Some("M".into()));
    assert_eq!(feed(&mut session, auth("N")), ["close Protocol(AuthMethodChanged)"]);
    assert!(matches!(feed(&mut session, auth("M")).as_slice(), [only] if only.starts_with("Authenticate")));
}
