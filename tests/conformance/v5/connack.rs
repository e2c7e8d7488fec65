//! CONNACK (§3.2): where it stands, and the properties by which the server says what it offers.

use super::assert_disconnected;
use crate::harness::packets5::{
    ASSIGNED_CLIENT_ID, Answer, CONNACK, MAXIMUM_PACKET_SIZE, MAXIMUM_QOS, PUBACK, REASON_STRING,
    RECEIVE_MAXIMUM, RETAIN_AVAILABLE, SERVER_KEEP_ALIVE, SESSION_EXPIRY, SHARED_AVAILABLE, SUBACK,
    SUBSCRIPTION_IDS_AVAILABLE, TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM, WILDCARD_AVAILABLE, With, subscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// The properties of CONNACK for this client.
fn greeting(broker: &Broker, connect: &Connect5) -> Answer {
    let (wire, connack) = Wire::greet5(broker, connect);
    wire.disconnect5(0);
    connack
}

/// [MQTT-3.2.0-1], [MQTT-3.1.4-5]: CONNACK with code 0 comes before anything else, whatever is owed.
#[test]
fn connack_comes_before_anything_that_is_owed() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(60);
    let mut client = Wire::connect5(&broker, &connect);
    client.subscribe5("a", 1);
    client.disconnect5(0);
    Wire::client5(&broker, "publisher").publish5(&Publish5::new("a", "1").qos(1, 1));
    let mut client = Wire::open(&broker);
    let more = [subscribe5(7, &[("b", 0)]).bytes(), Publish5::new("a", "2").qos(1, 8).bytes()].concat();
    client.send([connect.bytes(), more].concat());
    client.expect_connack(0);
    client.await_answer(SUBACK, 7);
    client.await_answer(PUBACK, 8);
    client.take5("1");
    client.take5("2");
}

/// [MQTT-3.2.0-2], [MQTT-3.2.2-1]: there is one CONNACK, and but for session present its flags are 0.
#[test]
fn there_is_one_connack() {
    let broker = Broker::start();
    let mut client = Wire::open(&broker);
    client.send(Connect5::new("c").bytes());
    let connack = client.receive();
    assert_eq!((connack[0], connack[2]), (CONNACK, 0), "{connack:02x?}");
    client.expect_nothing_but_pong();
}

/// §3.2.2.3: what differs from the standard's defaults, and no more.
#[test]
fn properties_say_what_differs_from_the_default() {
    let broker = Broker::start();
    let asking = Connect5::new("c").keep_alive(60).with(SESSION_EXPIRY, 0xFFFF_FFFF);
    for connect in [Connect5::new("c"), asking] {
        let properties = greeting(&broker, &connect).properties;
        assert_eq!(properties.number(RECEIVE_MAXIMUM), Some(4096));
        assert_eq!(properties.number(MAXIMUM_PACKET_SIZE), Some(16 << 20));
        assert_eq!(properties.number(TOPIC_ALIAS_MAXIMUM), Some(32));
        assert_eq!(properties.ids().len(), 3, "{properties:?}");
    }
}

/// §3.2.2.3: each limit of the operator is told.
#[test]
fn properties_say_what_the_operator_allows() {
    let config = "[mqtt]\nserver_keep_alive_max_s = 30\nreceive_maximum = 7\ntopic_alias_maximum = 3\n\
        packet_bytes_max = 5000\nqos_max = 0\nretain_available = false\nsession_expiry_max_s = 100\n\
        wildcard_subscriptions = false\nsubscription_identifiers = false\nshared_subscriptions = false";
    let connack =
        greeting(&Broker::with_config(config), &Connect5::new("").keep_alive(31).with(SESSION_EXPIRY, 101));
    let told = [
        (SERVER_KEEP_ALIVE, 30),
        (RECEIVE_MAXIMUM, 7),
        (TOPIC_ALIAS_MAXIMUM, 3),
        (MAXIMUM_PACKET_SIZE, 5000),
        (MAXIMUM_QOS, 0),
        (RETAIN_AVAILABLE, 0),
        (SESSION_EXPIRY, 100),
        (WILDCARD_AVAILABLE, 0),
        (SUBSCRIPTION_IDS_AVAILABLE, 0),
        (SHARED_AVAILABLE, 0),
    ];
    for (id, value) in told {
        assert_eq!(connack.properties.number(id), Some(value), "{id:#04x} of {connack:?}");
    }
    assert!(connack.properties.text(ASSIGNED_CLIENT_ID).is_some());
}

/// §3.2.2.3.2, §3.2.2.3.14: session expiry and keep alive are told only where they were changed.
#[test]
fn what_was_asked_for_and_granted_is_not_repeated() {
    let broker = Broker::with_config("[mqtt]\nserver_keep_alive_max_s = 30\nsession_expiry_max_s = 100");
    for connect in
        [Connect5::new("c").keep_alive(30).with(SESSION_EXPIRY, 100), Connect5::new("c").keep_alive(1)]
    {
        let properties = greeting(&broker, &connect).properties;
        assert_eq!(properties.number(SERVER_KEEP_ALIVE), None);
        assert_eq!(properties.number(SESSION_EXPIRY), None);
    }
    // Without keep alive a client would never be missed.
    assert_eq!(greeting(&broker, &Connect5::new("c")).properties.number(SERVER_KEEP_ALIVE), Some(30));
    let forever = Connect5::new("c").with(SESSION_EXPIRY, 0xFFFF_FFFF);
    assert_eq!(greeting(&broker, &forever).properties.number(SESSION_EXPIRY), Some(100));
}

/// [MQTT-3.2.2-9], [MQTT-3.2.2-11]: the highest QoS is told, and a PUBLISH above it ends the connection.
#[test]
fn qos_above_the_maximum_is_not_supported() {
    for qos_max in [0, 1] {
        let broker = Broker::with_config(&format!("[mqtt]\nqos_max = {qos_max}"));
        assert_eq!(
            greeting(&broker, &Connect5::new("c")).properties.number(MAXIMUM_QOS),
            Some(u32::from(qos_max))
        );
        for qos in qos_max + 1..=2 {
            assert_disconnected(&broker, Publish5::new("a", "1").qos(qos, 1).bytes(), 0x9B);
        }
        let mut client = Wire::client5(&broker, "c");
        client.publish5(&Publish5::new("a", "1").qos(qos_max, 1));
    }
}

/// [MQTT-3.2.2-10]: SUBSCRIBE may still ask for any QoS.
#[test]
fn subscribe_may_ask_for_more_than_the_maximum_qos() {
    let broker = Broker::with_config("[mqtt]\nqos_max = 0");
    let mut client = Wire::client5(&broker, "c");
    client.send(subscribe5(1, &[("a", 0), ("b", 1), ("c", 2)]).bytes());
    let codes = client.await_answer(SUBACK, 1).codes;
    assert!(codes.len() == 3 && codes.iter().all(|code| *code <= 2), "{codes:?}");
    client.publish5(&Publish5::new("c", "1"));
    assert_eq!(client.take5("1").qos, 0);
}

/// [MQTT-3.2.2-14]: a client that sends RETAIN where it is not available is told so, and closed.
#[test]
fn retain_is_not_supported_where_turned_off() {
    let broker = Broker::with_config("[mqtt]\nretain_available = false");
    for qos in 0..=2 {
        assert_disconnected(&broker, Publish5::new("a", "1").qos(qos, 1).retain().bytes(), 0x9A);
    }
    Wire::client5(&broker, "c").publish5(&Publish5::new("a", "1").qos(1, 1));
}

/// [MQTT-3.2.2-15]: a packet beyond the maximum packet size of the server is too large; one of just that
/// size is not.
#[test]
fn packet_beyond_the_maximum_size_is_too_large() {
    let broker = Broker::with_config("[mqtt]\npacket_bytes_max = 200");
    let of_size = |size: usize| {
        let bytes = Publish5::new("a", vec![b'x'; size - 7]).bytes();
        assert_eq!(bytes.len(), size);
        bytes
    };
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 0);
    client.send(of_size(200));
    assert_eq!(client.expect_publish5().payload.len(), 193);
    assert_disconnected(&broker, of_size(201), 0x95);
    // The length alone tells; what it announces is not waited for.
    assert_disconnected(&broker, [0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95);
}

/// [MQTT-3.2.2-17], [MQTT-3.2.2-18]: aliases beyond the maximum that was told are invalid; none was told
/// where it is 0.
#[test]
fn alias_beyond_the_maximum_is_invalid() {
    for (maximum, told) in [(0, None), (1, Some(1))] {
        let broker = Broker::with_config(&format!("[mqtt]\ntopic_alias_maximum = {maximum}"));
        let properties = greeting(&broker, &Connect5::new("c")).properties;
        assert_eq!(properties.number(TOPIC_ALIAS_MAXIMUM).filter(|maximum| *maximum > 0), told);
        assert_disconnected(&broker, Publish5::new("a", "1").with(TOPIC_ALIAS, maximum + 1).bytes(), 0x94);
    }
}

/// [MQTT-3.2.2-19], [MQTT-3.2.2-20]: what explains a refusal does not make it larger than the client takes.
#[test]
fn reason_does_not_exceed_the_maximum_packet_size() {
    let broker = Broker::with_config("[auth]\nclient_id_prefixes = [\"good-\"]");
    for maximum in 5..40 {
        let mut wire = Wire::open(&broker);
        wire.send(Connect5::new("bad").with(MAXIMUM_PACKET_SIZE, maximum).bytes());
        let packet = wire.receive();
        assert!(packet.len() <= maximum as usize, "{maximum}: {packet:02x?}");
        let answer = Answer::parse(&packet);
        assert!(
            answer.code() == 0x85 && answer.properties.text(REASON_STRING).is_none_or(|text| text.len() < 40)
        );
        wire.expect_closed();
    }
}
