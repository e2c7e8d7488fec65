//! Every record goes out as a line and comes back as the bytes that it was.

use super::super::super::Position;
use super::super::super::layout::{self, Keyspace};
use super::super::super::record::{
    Body, Entry, Flight, FlightState, Held, KeptWill, MessageRecord, SessionRecord, encode_enrolled,
    encode_subscription,
};
use super::{RAW, read, write};
use crate::auth::{Fingerprint, Identity};
use crate::delivery::{Place, SessionId, Subscription};
use crate::egress::Egress;
use crate::enrolment::{self, KeyBytes, Kind, Name};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sealmq_config::encryption::Bind;
use sealmq_crypto::{Mark, ReplayWindows, Validity};
use sealmq_protocol::packet::{
    MessageProperties, PacketId, PayloadFormat, RetainHandling, SubscriptionId, SubscriptionOptions, Will,
};
use sealmq_protocol::{Qos, SubscriptionFilter, TopicName};
use std::time::Duration;
use zeroize::Zeroizing;

/// A key and its value.
type Record = (Keyspace, Vec<u8>, Vec<u8>);

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = Qos> {
    (0..3_u8).prop_map(|qos| Qos::from_bits(qos).unwrap())
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[a-zé\"\\\\$/ €]{1,12}".prop_map(|topic| topic.parse().unwrap())
}

fn filter() -> impl Strategy<Value = SubscriptionFilter> {
    prop_oneof!["[a-z]{1,5}(/[a-z+]){0,2}(/#)?", r"\$share/[a-z]{1,4}/[a-z]{1,5}/#"]
        .prop_filter_map("a filter", |filter| filter.parse().ok())
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    (1..=268_435_455_u32).prop_map(|id| SubscriptionId::new(id).unwrap())
}

fn place() -> impl Strategy<Value = Place> {
    (1..=u64::MAX >> 1, any::<bool>()).prop_map(|(at, shared)| Place::new(Position(at), shared).unwrap())
}

fn properties() -> impl Strategy<Value = MessageProperties> {
    let format = prop_oneof![Just(PayloadFormat::Utf8), Just(PayloadFormat::Unspecified)];
    let pairs = vec((".{0,6}", ".{0,6}"), 0..3);
    (option::of(format), option::of(".{0,8}"), option::of(topic()), option::of(bytes()), pairs).prop_map(
        |(payload_format, content_type, response_topic, correlation_data, pairs)| MessageProperties {
            payload_format,
            content_type: content_type.map(Into::into),
            response_topic,
            correlation_data,
            user_properties: pairs.into_iter().collect(),
        },
    )
}

fn message() -> impl Strategy<Value = MessageRecord> {
    let egress = prop_oneof![Just(Egress::Any), Just(Egress::Secure), Just(Egress::SecureOrSealed)];
    let flags = (qos(), any::<bool>(), egress);
    let extras = (option::of(any::<u64>()), option::of(properties()), option::of(".{0,6}"));
    (topic(), bytes(), flags, extras).prop_map(
        |(topic, payload, (qos, retain, egress), (expires_ms, properties, publisher))| MessageRecord {
            topic,
            payload,
            qos,
            retain,
            egress,
            expires_ms,
            properties: properties.map(Box::new),
            publisher: publisher.map(Into::into),
        },
    )
}

fn identity() -> impl Strategy<Value = Identity> {
    let print = || any::<[u8; 32]>().prop_map(Fingerprint::from_bytes);
    prop_oneof![
        option::of(".{0,6}").prop_map(|user| Identity::Claimed(user.map(Into::into))),
        (".{0,6}", print()).prop_map(|(user, print)| Identity::User(user.into(), print)),
        (".{0,6}", print()).prop_map(|(user, print)| Identity::Sender(user.into(), print)),
    ]
}

fn will() -> impl Strategy<Value = KeptWill> {
    let will = (topic(), bytes(), qos(), any::<bool>(), any::<u32>(), option::of(any::<u32>()));
    (option::of(1..u64::MAX), identity(), will, option::of(properties())).prop_map(
        |(due_ms, identity, (topic, payload, qos, retain, delay_s, message_expiry_s), properties)| {
            let properties = properties.map(Box::new);
            let will = Will { topic, payload, qos, retain, delay_s, message_expiry_s, properties };
            KeptWill { due_ms, identity, will }
        },
    )
}

fn session() -> impl Strategy<Value = Record> {
    let held = option::of(any::<u64>());
    let rest = (option::of(".{0,6}"), option::of(0..u64::MAX), held, option::of(will()));
    (any::<u64>(), ".{0,8}", rest).prop_map(|(session, client_id, (user, expiry, held, will))| {
        let record = SessionRecord {
            session: SessionId(session),
            client_id: client_id.into(),
            user: user.map(Into::into),
            expiry: expiry.map(Duration::from_secs),
            held: held.map_or(Held::Connected, |since_ms| Held::Parked { since_ms }),
            will,
        };
        (Keyspace::Session, record.client_id.as_bytes().to_vec(), record.encode())
    })
}

fn subscription() -> impl Strategy<Value = Record> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    let options = (qos(), any::<bool>(), any::<bool>(), handling);
    (any::<u64>(), filter(), options, option::of(subscription_id())).prop_map(
        |(session, filter, (qos, no_local, retain_as_published, retain_handling), id)| {
            let options = SubscriptionOptions { qos, no_local, retain_as_published, retain_handling };
            let key = layout::subscription_key(SessionId(session), &filter);
            let value = encode_subscription(&Subscription { filter, options, id, is_new: false });
            (Keyspace::Subscription, key, value)
        },
    )
}

fn queue() -> impl Strategy<Value = Record> {
    let body = option::of(message());
    let rest = (vec(subscription_id(), 0..3), option::of(filter()), any::<u32>(), body);
    (any::<(u64, u64)>(), qos(), any::<bool>(), rest).prop_map(
        |((session, position), qos, retain, (subscription_ids, group, size, body))| {
            let body = body.map_or(Body::Shared, |message| Body::Inline(message.encode().into()));
            let entry = Entry { qos, retain, subscription_ids, group, size, body };
            (Keyspace::Queue, layout::queue_key(SessionId(session), position).to_vec(), entry.to_bytes())
        },
    )
}

fn inflight() -> impl Strategy<Value = Record> {
    let state = prop_oneof![Just(FlightState::Published), Just(FlightState::Released)];
    (any::<u64>(), id(), any::<u64>(), place(), state).prop_map(|(session, id, sequence, place, state)| {
        let value = Flight { sequence, place, state }.encode();
        (Keyspace::Inflight, layout::packet_key(SessionId(session), id), value)
    })
}

fn window() -> impl Strategy<Value = Record> {
    (".{1,6}", vec(any::<u16>(), 1..20)).prop_map(|(sender, counters)| {
        let windows = ReplayWindows::new(0);
        let sender = Bytes::from(sender);
        for counter in counters {
            windows.retake(&sender, Mark::Seq(counter.into()));
        }
        let window = windows.snapshot(&sender).unwrap().to_bytes();
        (Keyspace::Replay, layout::window_key(&sender), window)
    })
}

fn enrolled() -> impl Strategy<Value = Record> {
    let entry = (vec(any::<u8>(), 0..40), option::of(0..2_usize), vec("[a-z]{1,4}(/[a-z]{1,3})?(/#)?", 1..3));
    let entry = (entry, option::of(any::<u64>()), option::of(any::<u64>())).prop_map(
        |((key, bind, topics), not_before, not_after)| enrolment::Entry {
            key: KeyBytes(Zeroizing::new(key)),
            bind: bind.map(|at| [Bind::ClientId, Bind::User][at]),
            topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
            validity: Validity { not_before, not_after },
        },
    );
    let kind = prop_oneof![Just(Kind::Sender), Just(Kind::TopicKey)];
    let former = any::<[u8; 32]>().prop_map(Fingerprint::from_bytes);
    let state = (any::<bool>(), any::<u64>(), option::of(entry), option::of(former));
    (kind, ".{1,6}", state).prop_filter_map(
        "something that is kept",
        |(kind, id, (is_disabled, changed_ms, entry, former))| {
            let name = Name::new(kind, &id).unwrap();
            let record =
                enrolment::Record { name, is_disabled, changed_ms, number: changed_ms / 2, entry, former };
            let bytes = || (Keyspace::Enrolled, layout::enrolled_key(&record.name), encode_enrolled(&record));
            (!record.is_empty()).then(bytes)
        },
    )
}

/// Records of all kinds that a store holds.
fn known() -> impl Strategy<Value = Record> {
    prop_oneof![
        any::<u32>().prop_map(|n| (Keyspace::Meta, b"schema".to_vec(), n.to_be_bytes().to_vec())),
        any::<u64>().prop_map(|n| (Keyspace::Meta, b"next_session".to_vec(), n.to_be_bytes().to_vec())),
        any::<u64>().prop_map(|n| (Keyspace::Meta, layout::dying_key(SessionId(n)), Vec::new())),
        session(),
        subscription(),
        queue(),
        (any::<u64>(), message()).prop_map(|(at, message)| (
            Keyspace::Message,
            at.to_be_bytes().to_vec(),
            message.encode()
        )),
        any::<(u64, u32)>().prop_map(|(at, n)| (
            Keyspace::Refs,
            at.to_be_bytes().to_vec(),
            n.to_be_bytes().to_vec()
        )),
        inflight(),
        (any::<u64>(), id()).prop_map(|(s, id)| (
            Keyspace::Inbound,
            layout::packet_key(SessionId(s), id),
            Vec::new()
        )),
        message().prop_map(|message| {
            (Keyspace::Retained, message.topic.as_str().as_bytes().to_vec(), message.encode())
        }),
        window(),
        enrolled(),
        (".{0,6}", any::<u64>(), any::<[u8; 32]>()).prop_map(|(s, at, hash)| (
            Keyspace::Replay,
            layout::stamp_key(s.as_bytes(), at, &hash),
            vec![]
        )),
    ]
}

/// Anything at all, and a known record with one byte another.
fn damaged() -> impl Strategy<Value = Record> {
    let any_bytes = || vec(any::<u8>(), 0..30);
    let any_record = (0..11_u8, any_bytes(), any_bytes())
        .prop_map(|(keyspace, key, value)| (Keyspace::of(keyspace).unwrap(), key, value));
    let flipped = (known(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |((keyspace, key, mut value), at, byte)| {
            if !value.is_empty() {
                let at = at.index(value.len());
                value[at] = byte;
            }
            (keyspace, key, value)
        },
    );
    prop_oneof![any_record, flipped]
}

proptest! {
    #[test]
    fn a_record_that_is_known_goes_out_with_its_fields_and_comes_back((keyspace, key, value) in known()) {
        let line = write(keyspace, &key, &value).unwrap();
        prop_assert!(!line.starts_with(RAW) && !line.contains('\n'), "{}", line);
        prop_assert_eq!(read(&line), Ok((keyspace, key, value)));
    }

    #[test]
    fn any_other_comes_back_as_well((keyspace, key, value) in damaged()) {
        let line = write(keyspace, &key, &value).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(read(&line), Ok((keyspace, key, value)));
    }

    #[test]
    fn any_text_is_a_record_or_an_error_that_does_not_repeat_it(text in "\\PC{0,60}") {
        if let Err(error) = read(&text) {
            prop_assert!(text.len() < 20 || !error.to_string().contains(&text));
        }
    }
}

/// What people and other programs rely on.
#[test]
fn lines_have_named_fields() {
    let message = MessageRecord {
        topic: "plant/7".parse().unwrap(),
        payload: Bytes::from_static(b"21.5"),
        qos: Qos::AtLeastOnce,
        retain: true,
        egress: Egress::Any,
        expires_ms: Some(7),
        properties: None,
        publisher: Some("dev".into()),
    };
    let line = write(Keyspace::Retained, b"plant/7", &message.encode()).unwrap();
    assert_eq!(
        line,
        r#"{"keyspace":"retained","topic":"plant/7","message":{"topic":"plant/7","qos":1,"retain":true,"confidential":false,"expires_ms":7,"publisher":"dev","payload":"MjEuNQ=="}}"#
    );
    let sealed = MessageRecord { egress: Egress::SecureOrSealed, ..message.clone() };
    let line = write(Keyspace::Retained, b"plant/7", &sealed.encode()).unwrap();
    assert!(line.contains(r#""confidential":true,"sealed_again":true,"#), "{line}");
    // By the flags alone, and stricter where nothing is said.
    let bit = sealed.encode()[1] & !0b1000_0000;
    let older = [&sealed.encode()[..1], &[bit], &sealed.encode()[2..]].concat();
    assert_eq!(MessageRecord::decode(older.into()).unwrap().egress, Egress::Secure);
    let raw = write(Keyspace::Refs, b"x", b"").unwrap();
    assert_eq!(raw, r#"{"raw":"refs","key":"eA==","value":""}"#);
}

#[test]
fn what_is_no_record_is_refused() {
    for line in [
        "",
        "{}",
        "null",
        r#"{"keyspace":"refs","position":1}"#,
        r#"{"keyspace":"refs","position":1,"count":2,"more":3}"#,
        r#"{"keyspace":"refs","position":1,"count":4294967296}"#,
        r#"{"keyspace":"elsewhere","position":1}"#,
        r#"{"keyspace":"inbound","session":1,"packet_id":0}"#,
        r#"{"raw":"elsewhere","key":"","value":""}"#,
        r#"{"raw":"refs","key":"?","value":""}"#,
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}
