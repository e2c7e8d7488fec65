//! Topic aliases (§3.3.2.3.4), in both directions.

use super::{PROTOCOL_ERROR, assert_disconnected};
use crate::harness::packets5::{TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM, With};
use crate::harness::{Broker, Connect5, Publish5, Wire};
use std::collections::{BTreeMap, BTreeSet};

/// What the broker takes by default.
const MAXIMUM: u32 = 32;

/// What the other side said each alias stands for.
#[derive(Default)]
struct Aliases(BTreeMap<u32, String>);

impl Aliases {
    /// The topic that a delivery is about.
    #[track_caller]
    fn topic(&mut self, publish: &Publish5) -> String {
        let topic = publish.topic().to_owned();
        match publish.properties.number(TOPIC_ALIAS) {
            None => {
                assert!(!topic.is_empty(), "neither topic nor alias");
                topic
            }
            Some(alias) if topic.is_empty() => self.0.get(&alias).expect("the alias was introduced").clone(),
            Some(alias) => {
                self.0.insert(alias, topic.clone());
                topic
            }
        }
    }
}

/// [MQTT-3.3.2-12]: every alias up to the maximum is taken, stands for its topic, and may be given to another
/// one.
#[test]
fn every_alias_up_to_the_maximum_is_accepted() {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 2);
    let mut client = Wire::client5(&broker, "c");
    for round in ["x", "y"] {
        for alias in 1..=MAXIMUM {
            let topic = format!("{round}/{alias}");
            client.publish5(&Publish5::new(&topic, "set").with(TOPIC_ALIAS, alias));
            assert_eq!(watcher.take5("set").topic(), topic);
        }
        for qos in 0..=2 {
            for alias in (1..=MAXIMUM).rev() {
                client.publish5(&Publish5::new("", "use").qos(qos, 1).with(TOPIC_ALIAS, alias));
                let got = watcher.take5("use");
                assert_eq!(got.topic(), format!("{round}/{alias}"));
                // It is between this client and the server.
                assert_eq!(got.properties.number(TOPIC_ALIAS), None);
            }
        }
    }
}

/// [MQTT-3.3.2-8]: there is no alias 0.
#[test]
fn alias_0_is_invalid() {
    assert_disconnected(&Broker::start(), Publish5::new("a", "1").with(TOPIC_ALIAS, 0).bytes(), 0x94);
}

/// [MQTT-3.3.2-9]: none beyond the maximum.
#[test]
fn alias_beyond_the_maximum_is_invalid() {
    let broker = Broker::start();
    for alias in [MAXIMUM + 1, 65_535] {
        assert_disconnected(&broker, Publish5::new("a", "1").with(TOPIC_ALIAS, alias).bytes(), 0x94);
    }
}

/// §3.3.2.3.4: an alias that was never said to be one stands for nothing.
#[test]
fn unknown_alias_is_a_protocol_error() {
    let broker = Broker::start();
    assert_disconnected(&broker, Publish5::new("", "1").with(TOPIC_ALIAS, 1).bytes(), PROTOCOL_ERROR);
}

/// [MQTT-3.3.2-7]: an alias ends with its connection, though the session goes on.
#[test]
fn alias_of_a_client_ends_with_the_connection() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(60);
    let mut client = Wire::connect5(&broker, &connect);
    client.publish5(&Publish5::new("a", "1").qos(1, 1).with(TOPIC_ALIAS, 1));
    client.cut();
    let mut client = Wire::resume5(&broker, &connect);
    client.send(Publish5::new("", "2").qos(1, 2).with(TOPIC_ALIAS, 1).bytes());
    client.expect_disconnect(PROTOCOL_ERROR);
}

/// §3.3.2.3.4: the will has its topic, whatever aliases there are; a refused message has set its alias.
#[test]
fn alias_of_a_refused_message_counts() {
    let broker = Broker::with_config(
        "[[acl]]\nclient = \"watcher\"\naccess = \"all\"\ntopics = [\"#\"]\n\
         [[acl]]\naccess = \"publish\"\ntopics = [\"open\"]\n",
    );
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 1);
    let connect = Connect5::new("c").will(Publish5::new("open", "will"));
    let mut client = Wire::connect5(&broker, &connect);
    assert_eq!(client.try_publish5(&Publish5::new("open", "1").qos(1, 1).with(TOPIC_ALIAS, 1)), 0);
    assert_eq!(client.try_publish5(&Publish5::new("closed", "1").qos(1, 1).with(TOPIC_ALIAS, 1)), 0x87);
    // The permission is that of the topic for which the alias stands now.
    assert_eq!(client.try_publish5(&Publish5::new("", "2").qos(1, 1).with(TOPIC_ALIAS, 1)), 0x87);
    client.cut();
    watcher.take5("1");
    assert_eq!(watcher.take5("will").topic(), "open");
    watcher.expect_nothing_but_pong();
}

/// Publishes to four topics again and again, and gives the aliases that `client` saw.
#[track_caller]
fn aliases_of_deliveries(broker: &Broker, client: &mut Wire) -> (BTreeSet<u32>, usize) {
    let (mut aliases, mut seen, mut saved) = (Aliases::default(), BTreeSet::new(), 0);
    client.subscribe5("topic/#", 1);
    let mut publisher = Wire::client5(broker, "publisher");
    for round in 0..30 {
        for name in ["one", "two", "three", "four"] {
            let topic = format!("topic/{name}");
            publisher.publish5(&Publish5::new(&topic, &topic).qos(round % 2, 1));
            let got = client.expect_publish5();
            client.acknowledge5(&got);
            assert_eq!(aliases.topic(&got), topic, "{got:?}");
            assert_eq!(got.text(), topic);
            seen.extend(got.properties.number(TOPIC_ALIAS));
            saved += usize::from(got.topic.is_empty());
        }
    }
    (seen, saved)
}

/// [MQTT-3.1.2-26], [MQTT-3.3.2-11], [MQTT-3.3.2-8]: the server gives no alias beyond the maximum of the
/// client, and none that is 0; those it gives stand for their topics.
#[test]
fn server_keeps_to_the_maximum_of_the_client() {
    let broker = Broker::start();
    for maximum in [1, 2, 10] {
        let mut client = Wire::connect5(&broker, &Connect5::new("c").with(TOPIC_ALIAS_MAXIMUM, maximum));
        let (seen, saved) = aliases_of_deliveries(&broker, &mut client);
        assert!(seen.iter().all(|alias| (1..=maximum).contains(alias)), "{seen:?}");
        assert!(saved > 0, "a client that takes aliases gets some");
    }
}

/// [MQTT-3.1.2-27]: without maximum, or with 0, it gives none.
#[test]
fn server_gives_no_alias_to_who_takes_none() {
    let broker = Broker::start();
    for connect in [Connect5::new("c"), Connect5::new("c").with(TOPIC_ALIAS_MAXIMUM, 0)] {
        let mut client = Wire::connect5(&broker, &connect);
        assert!(aliases_of_deliveries(&broker, &mut client).0.is_empty());
    }
}

/// [MQTT-3.3.2-7]: what is sent again after a reconnect names its topic, or introduces its alias anew.
#[test]
fn alias_of_the_server_ends_with_the_connection() {
    let broker = Broker::start();
    let connect = Connect5::new("c").persistent(60).with(TOPIC_ALIAS_MAXIMUM, 10);
    let mut client = Wire::connect5(&broker, &connect);
    client.subscribe5("a/topic", 1);
    let mut publisher = Wire::client5(&broker, "publisher");
    for n in 1..=30 {
        publisher.publish5(&Publish5::new("a/topic", "1").qos(1, n));
        client.expect_publish5();
    }
    client.cut();
    let mut aliases = Aliases::default();
    // This client takes none at all any more.
    let mut client = Wire::resume5(&broker, &Connect5::new("c").persistent(60));
    for _ in 0..30 {
        let got = client.expect_publish5();
        assert_eq!(aliases.topic(&got), "a/topic");
        assert!(got.dup && got.properties.number(TOPIC_ALIAS).is_none(), "{got:?}");
    }
    client.cut();
    let mut client = Wire::resume5(&broker, &connect);
    for _ in 0..30 {
        let got = client.expect_publish5();
        assert_eq!(aliases.topic(&got), "a/topic");
    }
}
