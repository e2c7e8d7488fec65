//! rumqttc, the client that Rust programs use most, with MQTT 5.
//!
//! Its names are its own: `recv_timeout` is what makes it send and receive. It hands a message with a
//! topic alias on as it came, without the topic, so that here the aliases are resolved once more.

use crate::harness::{Broker, PATIENCE};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, LastWillProperties, Packet, PubAckReason, PubRecReason,
    Publish, PublishProperties, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A connected client.
struct Rumqttc {
    client: Client,
    connection: Connection,
    connack: ConnAck,
    /// Messages that came while something else was awaited.
    stashed: VecDeque<Publish>,
    aliases: HashMap<u16, Vec<u8>>,
}

impl Rumqttc {
    fn start(broker: &Broker, id: &str) -> Self {
        Self::with(broker, id, |_| {})
    }

    fn with(broker: &Broker, id: &str, set: impl FnOnce(&mut MqttOptions)) -> Self {
        let addr = broker.addr();
        let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
        options.set_connect_properties(ConnectProperties::new());
        set(&mut options);
        let (client, mut connection) = Client::new(options, 1_000);
        let connack = match connection.recv_timeout(PATIENCE) {
            Ok(Ok(Event::Incoming(Packet::ConnAck(connack)))) => connack,
            other => panic!("expected CONNACK, got {other:?}"),
        };
        Self { client, connection, connack, stashed: VecDeque::new(), aliases: HashMap::new() }
    }

    fn packet(&mut self) -> Packet {
        loop {
            match self.connection.recv_timeout(PATIENCE) {
                Ok(Ok(Event::Incoming(packet))) => return packet,
                Ok(Ok(Event::Outgoing(_))) => {}
                other => panic!("expected a packet, got {other:?}"),
            }
        }
    }

    /// The first packet in which `found` finds something; messages before it are kept for later.
    fn answer<T>(&mut self, found: impl Fn(&Packet) -> Option<T>) -> T {
        loop {
            let packet = self.packet();
            if let Some(answer) = found(&packet) {
                return answer;
            }
            if let Packet::Publish(publish) = packet {
                self.stashed.push_back(publish);
            } else {
                assert!(matches!(packet, Packet::PubRec(_) | Packet::PubRel(_)), "not expected: {packet:?}");
            }
        }
    }

    fn message(&mut self) -> Publish {
        let mut publish = loop {
            if let Some(publish) = self.stashed.pop_front() {
                break publish;
            }
            let packet = self.packet();
            if let Packet::Publish(publish) = packet {
                break publish;
            }
            assert!(matches!(packet, Packet::PubRel(_)), "expected a message, got {packet:?}");
        };
        if let Some(alias) = publish.properties.as_ref().and_then(|properties| properties.topic_alias) {
            if publish.topic.is_empty() {
                publish.topic = self.aliases[&alias].clone().into();
            } else {
                self.aliases.insert(alias, publish.topic.to_vec());
            }
        }
        publish
    }

    #[track_caller]
    fn expect(&mut self, topic: &str, payload: &str) -> Publish {
        let message = self.message();
        assert_eq!((&*message.topic, &*message.payload), (topic.as_bytes(), payload.as_bytes()));
        message
    }

    fn subscribe(&mut self, filter: Filter, id: Option<usize>) -> SubscribeReasonCode {
        let properties = SubscribeProperties { id, user_properties: Vec::new() };
        self.client.subscribe_many_with_properties([filter], properties).unwrap();
        self.answer(|packet| {
            let Packet::SubAck(suback) = packet else { return None };
            Some(suback.return_codes[0])
        })
    }

    #[track_caller]
    fn subscribed(mut self, filter: &str, qos: QoS) -> Self {
        let granted = self.subscribe(Filter::new(filter, qos), None);
        assert_eq!(granted, SubscribeReasonCode::Success(qos));
        self
    }

    /// Publishes, and waits for the end of its exchange.
    fn publish(&mut self, topic: &str, qos: QoS, payload: &str, properties: PublishProperties) {
        let payload = payload.to_owned();
        self.client.publish_with_properties(topic, qos, false, payload, properties).unwrap();
        match qos {
            QoS::AtMostOnce => {
                let event = self.connection.recv_timeout(PATIENCE);
                assert!(matches!(event, Ok(Ok(Event::Outgoing(Outgoing::Publish(_))))), "{event:?}");
            }
            QoS::AtLeastOnce => self.answer(|packet| matches!(packet, Packet::PubAck(_)).then_some(())),
            QoS::ExactlyOnce => self.answer(|packet| matches!(packet, Packet::PubComp(_)).then_some(())),
        }
    }
}

fn alias(alias: u16) -> PublishProperties {
    PublishProperties { topic_alias: Some(alias), ..PublishProperties::default() }
}

#[test]
fn rumqttc_every_qos_of_publish_and_subscription() {
    let broker = Broker::start();
    let mut publisher = Rumqttc::start(&broker, "publisher");
    for granted in EVERY_QOS {
        let id = format!("subscriber-{granted:?}");
        let mut subscriber = Rumqttc::start(&broker, &id).subscribed("a/+", granted);
        for qos in EVERY_QOS {
            publisher.publish("a/b", qos, "1", PublishProperties::default());
            assert_eq!(subscriber.expect("a/b", "1").qos as u8, (qos as u8).min(granted as u8));
        }
    }
}

#[test]
fn rumqttc_gets_properties_as_they_were_sent() {
    let broker = Broker::start();
    let mut subscriber = Rumqttc::start(&broker, "subscriber");
    subscriber.subscribe(Filter::new("a", QoS::ExactlyOnce), Some(42));
    let mut publisher = Rumqttc::start(&broker, "publisher");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sent = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(3_600),
        topic_alias: None,
        response_topic: Some("re/ply".to_owned()),
        correlation_data: Some(vec![0, 255, 1].into()),
        user_properties: vec![pair("b", "1"), pair("a", "2"), pair("b", "3")],
        subscription_identifiers: Vec::new(),
        content_type: Some("text/plain".to_owned()),
    };
    for qos in EVERY_QOS {
        publisher.publish("a", qos, "1", sent.clone());
        let got = subscriber.expect("a", "1").properties.unwrap();
        assert_eq!(got, PublishProperties { subscription_identifiers: vec![42], ..sent.clone() });
    }
}

#[test]
fn rumqttc_is_told_what_became_of_its_message() {
    let rules = "[[acl]]\naccess = \"all\"\npermission = \"deny\"\ntopics = [\"no/#\"]\n\
        [[acl]]\naccess = \"all\"\ntopics = [\"#\"]";
    let broker = Broker::with_config(rules);
    let mut client = Rumqttc::start(&broker, "client").subscribed("taken", QoS::AtMostOnce);
    let refused = client.subscribe(Filter::new("no/#", QoS::AtLeastOnce), None);
    assert_eq!(refused, SubscribeReasonCode::NotAuthorized);
    for (topic, puback, pubrec) in [
        ("taken", PubAckReason::Success, PubRecReason::Success),
        ("nobody", PubAckReason::NoMatchingSubscribers, PubRecReason::NoMatchingSubscribers),
        ("no/a", PubAckReason::NotAuthorized, PubRecReason::NotAuthorized),
    ] {
        client.client.publish(topic, QoS::AtLeastOnce, false, "1").unwrap();
        let reason = client.answer(|packet| {
            let Packet::PubAck(puback) = packet else { return None };
            Some(puback.reason)
        });
        assert_eq!(reason, puback);
        client.client.publish(topic, QoS::ExactlyOnce, false, "1").unwrap();
        let reason = client.answer(|packet| {
            let Packet::PubRec(pubrec) = packet else { return None };
            Some(pubrec.reason)
        });
        assert_eq!(reason, pubrec);
        if reason != PubRecReason::NotAuthorized {
            client.answer(|packet| matches!(packet, Packet::PubComp(_)).then_some(()));
        }
    }
}

#[test]
fn rumqttc_topic_aliases_in_both_directions() {
    let broker = Broker::start();
    let mut subscriber = Rumqttc::with(&broker, "subscriber", |options| {
        options.set_topic_alias_max(Some(2));
    })
    .subscribed("#", QoS::AtLeastOnce);
    let mut publisher = Rumqttc::start(&broker, "publisher");
    for (number, topic) in [(1, "first/topic"), (2, "second/topic"), (3, "third/topic")] {
        publisher.publish(topic, QoS::AtLeastOnce, "named", alias(number));
        subscriber.expect(topic, "named");
    }
    for (number, topic) in [(1, "first/topic"), (2, "second/topic"), (3, "third/topic")].repeat(3) {
        publisher.publish("", QoS::AtLeastOnce, "alias", alias(number));
        subscriber.expect(topic, "alias");
    }
    assert!(!subscriber.aliases.is_empty(), "the broker uses aliases where it may");
    assert!(subscriber.aliases.keys().all(|alias| (1..=2).contains(alias)));
}

#[test]
fn rumqttc_keeps_to_both_windows() {
    let broker = Broker::with_config("[mqtt]\nreceive_maximum = 3");
    let mut subscriber = Rumqttc::with(&broker, "subscriber", |options| {
        options.set_receive_maximum(Some(2)).set_manual_acks(true);
    })
    .subscribed("a", QoS::AtLeastOnce);
    let mut publisher = Rumqttc::start(&broker, "publisher");
    assert_eq!(publisher.connack.properties.as_ref().unwrap().receive_max, Some(3));
    for n in 0..30 {
        publisher.client.publish("a", QoS::AtLeastOnce, false, n.to_string()).unwrap();
    }
    for _ in 0..30 {
        publisher.answer(|packet| matches!(packet, Packet::PubAck(_)).then_some(()));
    }
    let mut open = VecDeque::from([subscriber.expect("a", "0"), subscriber.expect("a", "1")]);
    for n in 2..30 {
        // An answer to something else comes, and no third message before it.
        subscriber.subscribe(Filter::new("fence", QoS::AtMostOnce), None);
        assert!(subscriber.stashed.is_empty());
        subscriber.client.ack(&open.pop_front().unwrap()).unwrap();
        open.push_back(subscriber.expect("a", &n.to_string()));
    }
}

#[test]
fn rumqttc_shares_a_subscription() {
    let broker = Broker::start();
    let member = |id: &str| {
        let member = Rumqttc::start(&broker, id).subscribed("$share/group/a/#", QoS::AtLeastOnce);
        member.subscribed("end", QoS::AtLeastOnce)
    };
    let members = [member("one"), member("two")];
    let mut publisher = Rumqttc::start(&broker, "publisher");
    for n in 0..40 {
        publisher.publish("a/b", QoS::AtLeastOnce, &n.to_string(), PublishProperties::default());
    }
    publisher.publish("end", QoS::AtLeastOnce, "end", PublishProperties::default());
    let shares = members.map(|mut member| {
        let messages = std::iter::repeat_with(|| member.message());
        let share = messages.take_while(|message| message.topic != "end");
        let number =
            |message: Publish| std::str::from_utf8(&message.payload).unwrap().parse::<u32>().unwrap();
        share.map(number).collect::<Vec<_>>()
    });
    assert!(shares.iter().all(|share| share.len() >= 4), "{shares:?}");
    let mut all = shares.concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[test]
fn rumqttc_session_is_resumed() {
    let broker = Broker::start();
    let kept = |broker| {
        Rumqttc::with(broker, "kept", |options| {
            options.set_clean_start(false).set_session_expiry_interval(Some(60));
        })
    };
    let first = kept(&broker);
    assert!(!first.connack.session_present);
    drop(first.subscribed("a", QoS::ExactlyOnce));
    broker.log_line(|line| line.message() == "connection lost");
    let mut publisher = Rumqttc::start(&broker, "publisher");
    let expiry = PublishProperties { message_expiry_interval: Some(60), ..PublishProperties::default() };
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publisher.publish("a", qos, &format!("{qos:?}"), expiry.clone());
    }
    let mut second = kept(&broker);
    assert!(second.connack.session_present);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let message = second.expect("a", &format!("{qos:?}"));
        assert_eq!(message.qos, qos);
        assert!(message.properties.unwrap().message_expiry_interval.unwrap() <= 60);
    }
}

#[test]
fn rumqttc_will_waits_for_its_delay() {
    let broker = Broker::start();
    let mut heir = Rumqttc::start(&broker, "heir").subscribed("will", QoS::AtLeastOnce);
    let properties = LastWillProperties {
        delay_interval: Some(1),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some("text/plain".to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    let mortal = Rumqttc::with(&broker, "mortal", |options| {
        options.set_last_will(LastWill::new("will", "gone", QoS::AtLeastOnce, false, Some(properties)));
        options.set_session_expiry_interval(Some(60));
    });
    let gone = Instant::now();
    drop(mortal);
    let message = heir.expect("will", "gone");
    assert_eq!(message.properties.unwrap().content_type.as_deref(), Some("text/plain"));
    assert!(gone.elapsed() >= Duration::from_secs(1), "{:?}", gone.elapsed());
}
