//! Whole envelopes by `sealmq-crypto`: what a device pays to make one, and the broker to open it.

use super::Task;
use crate::rows::{Form, Kind, Operation};
use anyhow::Result;
use bytes::Bytes;
use sealmq_crypto::keyring::Topics;
use sealmq_crypto::{
    ContentAlgorithm, ContentKey, Freshness, Keyring, OpenedCount, Opener, Policy, ReplayWindows, Sender,
    SenderKey, TopicKey, TopicKeyEntry, Validity, seal,
};
use std::rc::Rc;
use std::sync::Arc;

const TOPIC: &str = "plant/7/boiler/temperature";
const SENDER: &str = "dev-0007";
const SECRET: [u8; 32] = [0x31; 32];
/// The forms that are envelopes.
pub(crate) const FORMS: [Form; 3] = [Form::Stamped, Form::SealedSymmetric, Form::SealedAsymmetric];

/// Every topic.
#[derive(Debug)]
struct Any;

impl Topics for Any {
    fn contains(&self, _: &str) -> bool {
        true
    }
}

/// Both ends of a topic: a device that makes envelopes, and a broker that opens them.
struct Ends {
    device: SenderKey,
    key: Option<TopicKey>,
    opener: Opener,
    policy: Policy,
}

impl Ends {
    fn of(form: Form) -> Result<Self> {
        let device = SenderKey::from_secret(SENDER, &SECRET);
        let sender = Sender {
            id: SENDER.into(),
            key: device.public(),
            topics: Arc::new(Any),
            validity: Validity::default(),
        };
        let entry = topic_key(form)?.map(|key| TopicKeyEntry {
            id: key.id().to_vec(),
            key,
            topics: Arc::new(Any),
            validity: Validity::default(),
            opened: OpenedCount::default(),
        });
        let policy = if entry.is_some() { Policy::Sealed } else { Policy::Stamped };
        let opener = Opener::new(Keyring::new([sender], entry)?, 300);
        Ok(Self { device, key: topic_key(form)?, opener, policy })
    }

    fn seal(&self, plaintext: &[u8]) -> Option<Bytes> {
        let key = self.key.as_ref().map(ContentKey::from);
        seal(&self.device, key, TOPIC, plaintext, Freshness::Seq(1)).ok().map(Bytes::from)
    }

    fn open(&self, envelope: &Bytes) -> Option<Bytes> {
        // A new window each time: the same envelope is no repetition then.
        let opened = self.opener.open(&ReplayWindows::new(1), self.policy, TOPIC, envelope, 0).ok()?;
        Some(opened.plaintext)
    }
}

/// What the content of this form is sealed with.
fn topic_key(form: Form) -> Result<Option<TopicKey>> {
    Ok(match form {
        Form::SealedSymmetric => {
            Some(TopicKey::from_symmetric("plant-7", ContentAlgorithm::A256Gcm, &SECRET)?)
        }
        Form::SealedAsymmetric => Some(TopicKey::from_x25519("plant-7", &SECRET)),
        Form::Plain | Form::Stamped | Form::Tls => None,
    })
}

/// Envelopes that are opened in turn: more than an opener keeps ciphers for, so that each of an asymmetric key is
/// agreed on anew.
const ENVELOPES: usize = 16;

pub(super) fn tasks(sizes: &[usize]) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for form in FORMS {
        let ends = Rc::new(Ends::of(form)?);
        for size in sizes {
            let plaintext = vec![0xA5; *size];
            let envelope = ends.seal(&plaintext).unwrap_or_default();
            let task = |operation, work| Task {
                kind: Kind::Envelope,
                name: form.name().to_owned(),
                operation,
                size_bytes: *size,
                batch: 1,
                added_bytes: envelope.len().saturating_sub(*size),
                work,
            };
            let (sealing, opening) = (ends.clone(), ends.clone());
            tasks.push(task(Operation::Seal, Box::new(move || sealing.seal(&plaintext).is_some())));
            let others = (1..ENVELOPES).filter_map(|_| ends.seal(&vec![0xA5; *size]));
            let mut envelopes =
                [envelope.clone()].into_iter().chain(others).collect::<Vec<_>>().into_iter().cycle();
            let open_next = move || envelopes.next().is_some_and(|next| opening.open(&next).is_some());
            tasks.push(task(Operation::Open, Box::new(open_next)));
        }
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_opens_what_was_sealed_and_nothing_else() {
        for form in FORMS {
            let ends = Ends::of(form).unwrap();
            let envelope = ends.seal(b"21.5 C").unwrap();
            assert_eq!(ends.open(&envelope).unwrap(), &b"21.5 C"[..], "{form:?}");
            let mut bad = envelope.to_vec();
            let last = bad.len() - 1;
            bad[last] ^= 1;
            assert!(ends.open(&bad.into()).is_none(), "{form:?}");
        }
    }

    #[test]
    fn what_an_envelope_adds_grows_from_form_to_form() {
        let added = tasks(&[64]).unwrap().iter().map(|task| task.added_bytes).collect::<Vec<_>>();
        let [stamped, _, symmetric, _, asymmetric, _] = added[..] else { panic!("{added:?}") };
        assert!(64 < stamped && stamped < symmetric && symmetric < asymmetric, "{added:?}");
    }
}
