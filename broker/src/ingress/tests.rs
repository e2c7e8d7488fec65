//! What is admitted and what is refused, and what a subscriber gets.

use super::*;
use bytes::Bytes;
use sealmq_config::encryption::Policy as ConfigPolicy;
use sealmq_protocol::Qos;

fn ingress(policies: &[(&str, Payload)]) -> Ingress {
    let policies = policies.iter().map(|(topics, payload)| ConfigPolicy {
        topics: vec![topics.parse().unwrap()],
        payload: *payload,
        on_refusal: OnRefusal::Drop,
    });
    let config = sealmq_config::Config::default();
    Ingress::new(policies.collect(), crate::keys::opener(&config).unwrap())
}

fn admit(ingress: &Ingress, topic: &str, payload: &'static str) -> Result<Admitted, &'static str> {
    let publish = Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: true,
        topic: topic.parse().unwrap(),
        packet_id: None,
        payload: Bytes::from(payload),
    };
    let everybody = Permissions::of(&[], "dev", None);
    let admitted = ingress.admit(publish, &everybody, &ReplayWindows::new(16), 1_700_000_000);
    admitted.map_err(|(refusal, _)| refusal.name())
}

#[test]
fn plain_topics_pass_anything_on_without_a_copy() {
    let admitted = admit(&ingress(&[]), "a", "hello").unwrap();
    assert_eq!(&admitted.message.payload()[..], b"hello");
    assert!(!admitted.message.confidential());
    assert!(admitted.message.retain());
    assert_eq!(admitted.fingerprint, None);
}

#[test]
fn plaintext_is_refused_where_an_envelope_is_asked_for() {
    let ingress = ingress(&[("s", Payload::Sealed), ("t", Payload::Stamped), ("e", Payload::EndToEnd)]);
    for topic in ["s", "t", "e"] {
        assert_eq!(admit(&ingress, topic, "hello").unwrap_err(), "not-an-envelope");
    }
}

#[test]
fn the_brokers_own_topics_are_not_for_clients() {
    let ingress = ingress(&[]);
    assert_eq!(admit(&ingress, "$SYS/broker/uptime", "0").unwrap_err(), "reserved-topic");
    assert_eq!(admit(&ingress, "$sealmq/key/a", "0").unwrap_err(), "reserved-topic");
    assert!(admit(&ingress, "$SYSTEM/a", "0").is_ok());
}

#[test]
fn sealed_topics_cannot_be_subscribed_to_in_plaintext() {
    let ingress = ingress(&[("plant/#", Payload::Sealed)]);
    let everybody = Permissions::of(&[], "dev", None);
    let may = |filter: &str, secure| ingress.may_subscribe(&filter.parse().unwrap(), &everybody, secure);
    assert!(!may("plant/7/#", false));
    assert!(may("plant/7/#", true));
    assert!(may("#", false), "a wildcard over more simply does not see them");
}
