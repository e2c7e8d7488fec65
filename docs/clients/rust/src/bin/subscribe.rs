//! Opens what comes in envelopes: `subscribe HOST PORT FILTER COUNT SENDER_PUBLIC_KEY [TOPIC_KEY...]`.
//!
//! Prints what the named sender has sealed, each envelope once, and ends after COUNT messages (0: never). What
//! is not to be believed is named on stderr.

use anyhow::{Context, Result, bail};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
use rumqttc::v5::{Client, Event, MqttOptions};
use sealmq_crypto::{
    Keyring, OpenedCount, Opener, Policy, ReplayWindows, Sender, SenderPublicKey, TopicKey, TopicKeyEntry,
    Topics, Validity,
};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, filter, count, sender, topic_keys @ ..] = &arguments[..] else {
        bail!("subscribe HOST PORT FILTER COUNT SENDER_PUBLIC_KEY [TOPIC_KEY...]");
    };
    let count: u64 = count.parse()?;
    let opener = opener(sender, topic_keys)?;
    let policy = if topic_keys.is_empty() { Policy::Stamped } else { Policy::Sealed };
    let taken = ReplayWindows::new(100_000);

    let mut options = MqttOptions::new("", host, port.parse()?);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe(filter, QoS::AtLeastOnce)?;
    let mut shown = 0;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::SubAck(answer)) => match answer.return_codes[..] {
                [SubscribeReasonCode::Success(_)] => eprintln!("subscribed"),
                ref refused => bail!("refused: {refused:?}"),
            },
            Event::Incoming(Packet::Publish(message)) => {
                let topic = std::str::from_utf8(&message.topic)?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                match opener.open(&taken, policy, topic, &message.payload, now) {
                    Ok(message) => {
                        println!("{topic} {}", String::from_utf8_lossy(&message.plaintext));
                        shown += 1;
                    }
                    Err(error) => eprintln!("{topic}: {error}"),
                }
                if shown == count && count > 0 {
                    client.disconnect()?;
                }
            }
            Event::Outgoing(Outgoing::Disconnect) => return Ok(()),
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    bail!("the connection is lost")
}

/// Believes this sender on every topic, for five minutes where he shows a time, and opens with these keys.
fn opener(sender: &str, topic_keys: &[String]) -> Result<Opener> {
    let key = SenderPublicKey::from_bytes(&fs::read(sender).context("the sender's key")?)?;
    let (id, validity) = (key.id().to_vec(), Validity::default());
    let sender = Sender { id, key, topics: Arc::new(Everywhere), validity };
    let entries: Result<Vec<_>> = topic_keys
        .iter()
        .map(|file| {
            let key = TopicKey::from_bytes(&fs::read(file).context("a topic key")?)?;
            let (id, opened) = (key.id().to_vec(), OpenedCount::default());
            Ok(TopicKeyEntry { id, key, topics: Arc::new(Everywhere), validity, opened })
        })
        .collect();
    Ok(Opener::new(Keyring::new([sender], entries?)?, 300))
}

/// All topics.
#[derive(Debug)]
struct Everywhere;

impl Topics for Everywhere {
    fn contains(&self, _topic: &str) -> bool {
        true
    }
}
