//! What is admitted and what is refused, and what a subscriber gets.

use super::*;
use sealmq_config::encryption::Policy as ConfigPolicy;

fn ingress(policies: &[(&str, Payload)]) -> Ingress {
    let policies = policies.iter().map(|(topics, payload)| ConfigPolicy {
        topics: vec![topics.parse().unwrap()],
        payload: *payload,
        on_refusal: OnRefusal::Drop,
        egress: sealmq_config::egress::Egress::Secure,
    });
    let config = sealmq_config::Config::default();
    Ingress::new(policies.collect(), crate::keys::opener(&config).unwrap(), HashMap::new())
}

fn now() -> Now {
    Now { instant: std::time::Instant::now(), unix_s: 1_700_000_000 }
}

fn admit(ingress: &Ingress, topic: &str, payload: &'static str) -> Result<Admitted, &'static str> {
    let submission = Submission::for_tests(topic, payload.as_bytes(), None);
    let everybody = Permissions::of(&[], "dev", None);
    let admitted = ingress.admit(submission, &everybody, &ReplayWindows::new(16), now());
    admitted.map_err(|refused| refused.refusal.name())
}

#[test]
fn plain_topics_pass_anything_on_without_a_copy() {
    let admitted = admit(&ingress(&[]), "a", "hello").unwrap();
    assert_eq!(&admitted.message.payload()[..], b"hello");
    assert!(admitted.message.egress() == Egress::Any);
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
    let barred = |filter: &str, channel| ingress.bars(&filter.parse().unwrap(), &everybody, channel);
    assert_eq!(barred("plant/7/#", Channel::Open), Some(Barred::Confidential));
    assert_eq!(barred("plant/7/#", Channel::Secure), None);
    assert_eq!(barred("#", Channel::Open), None, "a wildcard over more simply does not see them");
}

#[test]
fn a_payload_that_says_it_is_utf8_has_to_be() {
    // [MQTT-3.3.2-4]
    let ingress = ingress(&[]);
    let everybody = Permissions::of(&[], "dev", None);
    for (payload, good) in [(&b"\xC3\xA9"[..], true), (b"\xC3", false), (b"", true)] {
        let properties =
            MessageProperties { payload_format: Some(PayloadFormat::Utf8), ..MessageProperties::default() };
        let submission = Submission::for_tests("a", payload, Some(properties));
        let admitted = ingress.admit(submission, &everybody, &ReplayWindows::new(16), now());
        assert_eq!(admitted.is_ok(), good, "{payload:?}");
    }
}

#[test]
fn an_opened_envelope_is_not_called_one_any_more() {
    let envelope = MessageProperties {
        payload_format: Some(PayloadFormat::Unspecified),
        content_type: Some("application/cose; cose-type=\"cose-sign1\"".into()),
        ..MessageProperties::default()
    };
    assert!(without_envelope(&envelope).is_none());

    let response_topic = Some("r".parse().unwrap());
    let other = MessageProperties { content_type: Some("text/plain".into()), response_topic, ..envelope };
    let left = without_envelope(&other);
    assert_eq!(left, Some(Box::new(MessageProperties { payload_format: None, ..other })));
}

#[test]
fn what_a_publisher_is_told_of_an_envelope_tells_no_secret() {
    // A stamp of nobody who may publish there is one thing, everything else another.
    for error in OpenError::ALL {
        let not_allowed =
            matches!(error, OpenError::UnknownSender | OpenError::SenderNotAllowed | OpenError::BadStamp);
        let code = if not_allowed { ReasonCode::NotAuthorized } else { ReasonCode::PayloadFormatInvalid };
        assert_eq!(Refusal::Envelope(error, OnRefusal::Drop).reason(), code, "{error:?}");
    }
}
