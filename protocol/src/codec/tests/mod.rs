//! The codec against bytes written by hand: one test for each way to break the standard, and for each
//! fault of mqttbytes, by version and packet. What holds for all packets is in `all_packets.rs`, what
//! mqttbytes makes of them in `mqttbytes.rs`.

mod all_packets;
mod connect;
mod corpus;
mod frames;
mod mqttbytes;
mod strategies;
mod v311;
mod v5;
mod v5_connect;
mod v5_properties;

use super::{Limits, decode, decode_from_server, encode, publish_bytes};
use crate::Packet;
use crate::error::ProtocolError;
use crate::packet::{Ack, PacketId, Version};
use bytes::{Bytes, BytesMut};

const LIMITS: Limits = Limits { packet_bytes_max: 4096, topic_levels_max: 8, filters_max: 64 };
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn ack(number: u16) -> Ack {
    Ack::success(id(number))
}

/// A packet of at most 127 bytes of body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 128);
    [&[first, length], body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// What the first packet of a client is.
fn sent_in(version: Version, first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    decode(&mut packet(first, body).into(), version, &LIMITS).map(|packet| packet.expect("a whole packet"))
}

/// What the first packet of a server is.
fn answered_in(version: Version, first: u8, body: &[u8]) -> Result<Packet, ProtocolError> {
    decode_from_server(&mut packet(first, body).into(), version, &LIMITS)
        .map(|packet| packet.expect("a whole packet"))
}

/// What these packets are on the wire.
/// The bytes of a packet, for a PUBLISH as said without writing it; 0 when it has no form.
fn packet_bytes(packet: &Packet, version: Version) -> usize {
    if let Packet::Publish(publish) = packet {
        return publish_bytes(&publish.into(), publish.payload.len(), version);
    }
    let mut out = BytesMut::new();
    encode(packet, version, &mut out);
    out.len()
}

fn encoded(packets: &[Packet], version: Version) -> Bytes {
    let mut out = BytesMut::new();
    for packet in packets {
        assert!(encode(packet, version, &mut out), "{packet:?}");
    }
    out.freeze()
}
