//! Publishes a sealed reading: `publish HOST PORT TOPIC READING SENDER_KEY TOPIC_KEY`.
//!
//! The topic key is a symmetric one, or the public half of a pair. The envelope is new by its counter, which is
//! kept in `SENDER_KEY.seq` as `sealmq seal` keeps it.

use anyhow::{Context, Result, bail};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{Client, Event, MqttOptions};
use sealmq_crypto::{ContentKey, Freshness, SenderKey, TopicKey, TopicPublicKey, seal};
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::time::Duration;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, topic, reading, sender_key, topic_key] = &arguments[..] else {
        bail!("publish HOST PORT TOPIC READING SENDER_KEY TOPIC_KEY");
    };
    let sender = SenderKey::from_bytes(&fs::read(sender_key).context("the sender's key")?)?;
    let key = fs::read(topic_key).context("the topic key")?;
    let (secret, public);
    let content_key = if let Ok(key) = TopicKey::from_bytes(&key) {
        secret = key;
        ContentKey::from(&secret)
    } else {
        public = TopicPublicKey::from_bytes(&key)?;
        ContentKey::from(&public)
    };
    let freshness = Freshness::Seq(next_seq(sender_key)?);
    let envelope = seal(&sender, Some(content_key), topic, reading.as_bytes(), freshness)?;

    let mut options = MqttOptions::new("", host, port.parse()?);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 10);
    client.publish(topic, QoS::AtLeastOnce, false, envelope)?;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::PubAck(answer)) => {
                if !matches!(answer.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
                    bail!("refused: {:?}", answer.reason);
                }
                client.disconnect()?;
            }
            Event::Outgoing(Outgoing::Disconnect) => return Ok(()),
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    bail!("the connection is lost")
}

/// The sender's next number: on the disk before it is used, and never given out twice.
fn next_seq(key_file: &str) -> Result<u64> {
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(format!("{key_file}.seq"))?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let last: u64 = if text.trim().is_empty() { 0 } else { text.trim().parse()? };
    file.rewind()?;
    writeln!(file, "{:020}", last + 1)?;
    file.sync_all()?;
    Ok(last + 1)
}
