//! Packets of every kind and version, for property tests. A packet of MQTT 3.1.1 is one of MQTT 5 with
//! what was not there yet taken away, by [`lowered`]. They are boxed, since a union of all of them is
//! larger than a test's stack.

use crate::packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Diagnostics, Disconnect,
    MessageProperties, PacketId, PayloadFormat, Publish, RetainHandling, SubAck, Subscribe, SubscriptionId,
    SubscriptionIds, SubscriptionOptions, TopicAlias, UnsubAck, Unsubscribe, UserProperties, Version, Will,
};
use crate::{Packet, Qos, ReasonCode, SubscriptionFilter, TopicName};
use bytes::Bytes;
use bytestring::ByteString;
use proptest::option::of;
use proptest::prelude::*;
use std::num::{NonZeroU16, NonZeroU32};

pub(super) fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(super::VERSIONS.to_vec())
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_filter_map("zero", PacketId::new)
}

fn text() -> impl Strategy<Value = ByteString> {
    "[^\0]{0,12}".prop_map(ByteString::from)
}

fn binary(bytes_max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=bytes_max).prop_map(Bytes::from)
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[^\0+#/]{1,5}(/[^\0+#/]{0,3}){0,4}".prop_map(|text| text.parse().unwrap())
}

fn filter() -> impl Strategy<Value = SubscriptionFilter> {
    "(\\$share/[a-z]{1,3}/)?([^\0+#/]{1,4}|\\+)(/([^\0+#/]{0,3}|\\+)){0,4}(/#)?"
        .prop_map(|text| text.parse().unwrap())
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    prop::collection::vec((text(), text()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn diagnostics() -> impl Strategy<Value = Option<Box<Diagnostics>>> {
    let diagnostics = (of(text()), user_properties()).prop_map(|(reason_string, user_properties)| {
        let nothing = reason_string.is_none() && user_properties.is_empty();
        (!nothing).then(|| Box::new(Diagnostics { reason_string, user_properties }))
    });
    prop_oneof![2 => Just(None), 1 => diagnostics]
}

fn message_properties() -> impl Strategy<Value = Option<Box<MessageProperties>>> {
    let format = prop_oneof![Just(PayloadFormat::Unspecified), Just(PayloadFormat::Utf8)];
    let some = (of(format), of(text()), of(topic()), of(binary(20)), user_properties()).prop_map(
        |(payload_format, content_type, response_topic, correlation_data, user_properties)| {
            let properties = MessageProperties {
                payload_format,
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            };
            (!properties.is_empty()).then(|| Box::new(properties))
        },
    );
    prop_oneof![Just(None), some]
}

fn non_zero_16() -> impl Strategy<Value = NonZeroU16> {
    packet_id()
}

fn non_zero_32() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_filter_map("zero", NonZeroU32::new)
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    prop_oneof![1..200_u32, 1..=SubscriptionId::MAX].prop_filter_map("zero", SubscriptionId::new)
}

fn method_and_data() -> impl Strategy<Value = (Option<ByteString>, Option<Bytes>)> {
    of((text(), of(binary(20))))
        .prop_map(|both| both.map_or((None, None), |(method, data)| (Some(method), data)))
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    let numbers = (prop_oneof![Just(NonZeroU16::MAX), non_zero_16()], of(non_zero_32()), any::<u16>());
    (numbers, any::<bool>(), any::<bool>(), method_and_data(), user_properties()).prop_map(
        |(numbers, response, problem, (authentication_method, authentication_data), user_properties)| {
            let (receive_maximum, maximum_packet_size, topic_alias_maximum) = numbers;
            ConnectProperties {
                receive_maximum,
                maximum_packet_size,
                topic_alias_maximum,
                request_response_information: response,
                request_problem_information: problem,
                authentication_method,
                authentication_data,
                user_properties,
            }
        },
    )
}

fn will() -> impl Strategy<Value = Will> {
    let times = (prop_oneof![Just(0), any::<u32>()], of(any::<u32>()));
    (topic(), binary(40), qos(), any::<bool>(), times, message_properties()).prop_map(
        |(topic, payload, qos, retain, (delay_s, message_expiry_s), properties)| Will {
            topic,
            payload,
            qos,
            retain,
            delay_s,
            message_expiry_s,
            properties,
        },
    )
}

fn connect() -> impl Strategy<Value = Packet> {
    let expiry = prop_oneof![Just(0), Just(u32::MAX), any::<u32>()];
    let login = (of(text()), of(binary(20)));
    ((text(), any::<bool>(), expiry, any::<u16>()), of(will()), login, connect_properties()).prop_map(
        |((client_id, clean_start, session_expiry_s, keep_alive_s), will, login, properties)| {
            let (user_name, password) = login;
            Packet::Connect(Box::new(Connect {
                version: Version::V5,
                client_id,
                clean_start,
                session_expiry_s,
                keep_alive_s,
                will,
                user_name,
                password,
                properties,
            }))
        },
    )
}

fn publish() -> impl Strategy<Value = Publish> {
    let header = (any::<bool>(), qos(), any::<bool>(), packet_id());
    (header, topic(), of(any::<u32>()), message_properties(), binary(300)).prop_map(
        |((dup, qos, retain, id), topic, message_expiry_s, properties, payload)| {
            let above = qos > Qos::AtMostOnce;
            Publish {
                dup: dup && above,
                qos,
                retain,
                topic: Some(topic),
                packet_id: above.then_some(id),
                topic_alias: None,
                message_expiry_s,
                subscription_ids: SubscriptionIds::default(),
                properties,
                payload,
            }
        },
    )
}

/// With an alias, and so perhaps without a topic.
fn publish_with_alias() -> impl Strategy<Value = Publish> {
    (publish(), non_zero_16(), any::<bool>()).prop_map(|(mut publish, alias, unnamed)| {
        publish.topic_alias = Some(TopicAlias::from(alias));
        publish.topic.take_if(|_| unnamed);
        publish
    })
}

fn publish_of_server() -> impl Strategy<Value = Publish> {
    let publish = prop_oneof![publish(), publish_with_alias()];
    (publish, prop::collection::vec(subscription_id(), 0..4)).prop_map(|(mut publish, ids)| {
        publish.subscription_ids = ids.into_iter().collect();
        publish
    })
}

fn one_of(reasons: &[ReasonCode]) -> impl Strategy<Value = ReasonCode> + use<> {
    prop::sample::select(reasons.to_vec())
}

fn ack(reasons: &[ReasonCode]) -> impl Strategy<Value = Ack> + use<> {
    let reason = prop_oneof![Just(ReasonCode::Success), one_of(reasons)];
    (packet_id(), reason, diagnostics()).prop_map(|(packet_id, reason, diagnostics)| Ack {
        packet_id,
        reason,
        diagnostics,
    })
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let retain_handling = prop::sample::select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    (qos(), any::<bool>(), any::<bool>(), retain_handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

fn subscribe() -> impl Strategy<Value = Packet> {
    let filter = (filter(), options()).prop_map(|(filter, mut options)| {
        options.no_local &= filter.share_name().is_none(); // [MQTT-3.8.3-4]
        (Ok(filter), options)
    });
    (packet_id(), prop::collection::vec(filter, 1..20), of(subscription_id()), user_properties()).prop_map(
        |(packet_id, filters, subscription_id, user_properties)| {
            Packet::Subscribe(Subscribe { packet_id, filters, subscription_id, user_properties })
        },
    )
}

fn unsubscribe() -> impl Strategy<Value = Packet> {
    (packet_id(), prop::collection::vec(filter().prop_map(Ok), 1..20), user_properties()).prop_map(
        |(packet_id, filters, user_properties)| {
            Packet::Unsubscribe(Unsubscribe { packet_id, filters, user_properties })
        },
    )
}

fn sub_ack() -> impl Strategy<Value = Packet> {
    use ReasonCode as R;
    let reason = one_of(&[R::Success, R::GrantedQos1, R::GrantedQos2, R::UnspecifiedError, R::QuotaExceeded]);
    (packet_id(), prop::collection::vec(reason, 1..100), diagnostics()).prop_map(
        |(packet_id, reasons, diagnostics)| Packet::SubAck(SubAck { packet_id, reasons, diagnostics }),
    )
}

fn unsub_ack() -> impl Strategy<Value = Packet> {
    let reason = one_of(&[ReasonCode::Success, ReasonCode::NoSubscriptionExisted, ReasonCode::NotAuthorized]);
    (packet_id(), prop::collection::vec(reason, 1..100), diagnostics()).prop_map(
        |(packet_id, reasons, diagnostics)| Packet::UnsubAck(UnsubAck { packet_id, reasons, diagnostics }),
    )
}

fn conn_ack_properties() -> impl Strategy<Value = ConnAckProperties> {
    let maximum_qos = of(prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce)]);
    let numbers = (
        of(any::<u32>()),
        of(non_zero_16()),
        maximum_qos,
        of(non_zero_32()),
        of(non_zero_16()),
        of(any::<u16>()),
    );
    let texts = (of(text()), of(text()), of(text()));
    let diagnostics = (of(text()), user_properties());
    (numbers, any::<[bool; 4]>(), texts, method_and_data(), diagnostics).prop_map(
        |(numbers, unavailable, texts, (authentication_method, authentication_data), diagnostics)| {
            let [retain_unavailable, wildcards_unavailable, subscription_ids_unavailable, shared_unavailable] =
                unavailable;
            ConnAckProperties {
                session_expiry_s: numbers.0,
                receive_maximum: numbers.1,
                maximum_qos: numbers.2,
                retain_unavailable,
                maximum_packet_size: numbers.3,
                assigned_client_id: texts.0,
                topic_alias_maximum: numbers.4,
                wildcards_unavailable,
                subscription_ids_unavailable,
                shared_unavailable,
                server_keep_alive_s: numbers.5,
                response_information: texts.1,
                server_reference: texts.2,
                authentication_method,
                authentication_data,
                diagnostics: Diagnostics { reason_string: diagnostics.0, user_properties: diagnostics.1 },
            }
        },
    )
}

fn conn_ack() -> impl Strategy<Value = Packet> {
    use ReasonCode as R;
    let refusals = [R::UnsupportedProtocolVersion, R::BadUserNameOrPassword, R::ServerMoved, R::Banned];
    let reason = prop_oneof![Just(R::Success), one_of(&refusals)];
    (any::<bool>(), reason, conn_ack_properties()).prop_map(|(present, reason, properties)| {
        let session_present = present && reason == R::Success;
        Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))
    })
}

fn disconnect(reasons: &[ReasonCode], of_server: bool) -> impl Strategy<Value = Packet> + use<> {
    let reason = prop_oneof![Just(ReasonCode::Success), one_of(reasons)];
    (reason, of(any::<u32>()), of(text()), diagnostics()).prop_map(
        move |(reason, session_expiry_s, server_reference, diagnostics)| {
            Packet::Disconnect(Box::new(Disconnect {
                reason,
                session_expiry_s: session_expiry_s.filter(|_| !of_server),
                server_reference: server_reference.filter(|_| of_server),
                diagnostics,
            }))
        },
    )
}

fn auth(reasons: &[ReasonCode]) -> impl Strategy<Value = Packet> + use<> {
    (one_of(reasons), method_and_data(), diagnostics()).prop_map(|(reason, (method, data), diagnostics)| {
        Packet::Auth(Box::new(Auth { reason, method, data, diagnostics }))
    })
}

fn acknowledgement() -> impl Strategy<Value = Packet> {
    let received = [ReasonCode::NoMatchingSubscribers, ReasonCode::QuotaExceeded];
    let released = [ReasonCode::PacketIdentifierNotFound];
    prop_oneof![
        ack(&received).prop_map(Packet::PubAck),
        ack(&received).prop_map(Packet::PubRec),
        ack(&released).prop_map(Packet::PubRel),
        ack(&released).prop_map(Packet::PubComp),
    ]
}

/// What a client sends in MQTT 5.
fn of_client_v5() -> impl Strategy<Value = Packet> {
    let reasons = [ReasonCode::DisconnectWithWill, ReasonCode::AdministrativeAction];
    prop_oneof![
        4 => prop_oneof![publish(), publish_with_alias()].prop_map(Packet::Publish).boxed(),
        4 => acknowledgement().boxed(),
        3 => connect().boxed(),
        3 => subscribe().boxed(),
        3 => unsubscribe().boxed(),
        1 => Just(Packet::PingReq).boxed(),
        2 => disconnect(&reasons, false).boxed(),
        2 => auth(&[ReasonCode::ContinueAuthentication, ReasonCode::Reauthenticate]).boxed(),
    ]
}

/// What a server sends in MQTT 5.
fn of_server_v5() -> impl Strategy<Value = Packet> {
    let reasons = [ReasonCode::SessionTakenOver, ReasonCode::MalformedPacket, ReasonCode::ServerMoved];
    prop_oneof![
        4 => publish_of_server().prop_map(Packet::Publish).boxed(),
        4 => acknowledgement().boxed(),
        3 => conn_ack().boxed(),
        3 => sub_ack().boxed(),
        3 => unsub_ack().boxed(),
        1 => Just(Packet::PingResp).boxed(),
        2 => disconnect(&reasons, true).boxed(),
        2 => auth(&[ReasonCode::ContinueAuthentication, ReasonCode::Success]).boxed(),
    ]
}

/// What a client sends.
pub(super) fn of_client(version: Version) -> BoxedStrategy<Packet> {
    of_client_v5().prop_filter_map("only in MQTT 5", move |packet| lowered(packet, version)).boxed()
}

/// What a server sends.
pub(super) fn of_server(version: Version) -> BoxedStrategy<Packet> {
    let says_why = |packet: &Packet| matches!(packet, Packet::Disconnect(_));
    let lowered = move |packet| {
        if version != Version::V5 && says_why(&packet) { None } else { lowered(packet, version) }
    };
    of_server_v5().prop_filter_map("only in MQTT 5", lowered).boxed()
}

/// The packet without what this version does not have; `None` where nothing is left.
pub(super) fn lowered(packet: Packet, version: Version) -> Option<Packet> {
    if version == Version::V5 {
        return Some(packet);
    }
    let bare = |ack: &Ack| Ack::success(ack.packet_id);
    Some(match packet {
        Packet::Connect(connect) => Packet::Connect(Box::new(lowered_connect(*connect, version))),
        Packet::Publish(publish) => Packet::Publish(Publish {
            topic: Some(publish.topic?),
            topic_alias: None,
            message_expiry_s: None,
            subscription_ids: SubscriptionIds::default(),
            properties: None,
            ..publish
        }),
        Packet::PubAck(ack) => Packet::PubAck(bare(&ack)),
        Packet::PubRec(ack) => Packet::PubRec(bare(&ack)),
        Packet::PubRel(ack) => Packet::PubRel(bare(&ack)),
        Packet::PubComp(ack) => Packet::PubComp(bare(&ack)),
        Packet::ConnAck(ack) => Packet::ConnAck(Box::new(ConnAck {
            session_present: ack.session_present,
            reason: ReasonCode::from_connect_return_code(ack.reason.connect_return_code())?,
            properties: ConnAckProperties::default(),
        })),
        Packet::Subscribe(Subscribe { packet_id, filters, .. }) => Packet::Subscribe(Subscribe {
            packet_id,
            filters: filters
                .into_iter()
                .map(|(filter, options)| (filter, SubscriptionOptions::of(options.qos)))
                .collect(),
            subscription_id: None,
            user_properties: UserProperties::default(),
        }),
        Packet::SubAck(SubAck { packet_id, reasons, .. }) => {
            let codes = reasons.into_iter().map(ReasonCode::subscribe_return_code);
            let reasons = codes.filter_map(ReasonCode::from_byte).collect();
            Packet::SubAck(SubAck { packet_id, reasons, diagnostics: None })
        }
        Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe(Unsubscribe { user_properties: UserProperties::default(), ..unsubscribe })
        }
        Packet::UnsubAck(UnsubAck { packet_id, .. }) => {
            Packet::UnsubAck(UnsubAck { packet_id, reasons: Vec::new(), diagnostics: None })
        }
        Packet::PingReq => Packet::PingReq,
        Packet::PingResp => Packet::PingResp,
        Packet::Disconnect(_) => Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::Success))),
        Packet::Auth(_) => return None,
    })
}

fn lowered_connect(connect: Connect, version: Version) -> Connect {
    let session_expiry_s = if connect.clean_start { 0 } else { u32::MAX };
    let will = connect.will.map(|will| Will { delay_s: 0, message_expiry_s: None, properties: None, ..will });
    let password = connect.password.filter(|_| connect.user_name.is_some());
    let properties = ConnectProperties::default();
    Connect { version, session_expiry_s, will, password, properties, ..connect }
}
