//! Bytes to [`Packet`] and back, for either end of a connection; the only folder that names mqttbytes.
//! A file for each packet, or for each group of the same form, reads and writes it in all versions;
//! `frame.rs` finds it in the buffer, `fields.rs` and `properties.rs` take it apart, `body.rs` puts it
//! together. Which of it mqttbytes does is in docs/architecture.md.
//!
//! What comes out is well formed: flags, identifiers, UTF-8, topics, properties, and no byte too many.
//! What a PUBLISH carries is slices of what was read; all else is copied, and keeps no buffer alive.

mod acknowledgement;
mod auth;
mod body;
mod connack;
mod connect;
mod disconnect;
mod fields;
mod frame;
mod ping;
mod properties;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;
mod unsubscribe;

pub use acknowledgement::{encode_puback, encode_pubrec};
pub use connect::connect_level;
pub use publish::{decode_publish_properties, encode_publish, publish_bytes};

use crate::packet::Version;
use crate::{Packet, ProtocolError};
use bytes::{Buf, Bytes, BytesMut};
use frame::{Frame, Framed, PacketType, frame_length};
use publish::Sender;

/// What a peer may not pass, though the standard allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest packet in bytes, fixed header included.
    pub packet_bytes_max: usize,
    /// The most levels of a topic name, of a will too, and of a topic filter.
    pub topic_levels_max: usize,
    /// The most filters in one SUBSCRIBE or UNSUBSCRIBE: each costs many times its bytes.
    pub filters_max: usize,
}

/// Takes one whole packet of a client from the front of `buffer`: one of `version`, but that a CONNECT
/// is read by the version that it names. Gives `None` and leaves the buffer as it was when the packet
/// is not whole; [`missing`] then says how much to wait for. After an error the connection is to be
/// closed.
pub fn decode(
    buffer: &mut Bytes,
    version: Version,
    limits: &Limits,
) -> Result<Option<Packet>, ProtocolError> {
    take(buffer, version, limits, from_client)
}

/// The same as [`decode()`] for what a server sends: for clients and for tests.
pub fn decode_from_server(
    buffer: &mut Bytes,
    version: Version,
    limits: &Limits,
) -> Result<Option<Packet>, ProtocolError> {
    take(buffer, version, limits, from_server)
}

/// How many more bytes the packet at the front of `buffer` needs at least; 0 when it is whole. A
/// packet that is too long is an error as soon as its length is known.
pub fn missing(buffer: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    match frame_length(buffer, limits)? {
        Framed::Whole(_) => Ok(0),
        Framed::Missing(bytes) => Ok(bytes),
    }
}

/// Appends a packet to `out`, and says whether it was written. One that has no form on the wire is
/// not, and leaves `out` as it was: a body past 268,435,455 bytes, a field past 65,535, a PUBLISH above
/// QoS 0 without identifier, and AUTH, or a DISCONNECT with a reason, before MQTT 5. A filter that is
/// `Err` has no text any more and is left out. A CONNECT is written in the version that it names.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> bool {
    match packet {
        Packet::Publish(publish) => encode_publish(&publish.into(), version, out),
        Packet::PubAck(ack) => acknowledgement::write(PacketType::PubAck, ack, version, out),
        Packet::PubRec(ack) => acknowledgement::write(PacketType::PubRec, ack, version, out),
        Packet::PubRel(ack) => acknowledgement::write(PacketType::PubRel, ack, version, out),
        Packet::PubComp(ack) => acknowledgement::write(PacketType::PubComp, ack, version, out),
        Packet::Connect(connect) => connect::write(connect, out),
        Packet::ConnAck(ack) => connack::write(ack, version, out),
        Packet::Subscribe(subscribe) => subscribe::write(subscribe, version, out),
        Packet::SubAck(ack) => subscribe::write_ack(ack, version, out),
        Packet::Unsubscribe(unsubscribe) => unsubscribe::write(unsubscribe, version, out),
        Packet::UnsubAck(ack) => unsubscribe::write_ack(ack, version, out),
        Packet::PingReq => ping::write_request(out),
        Packet::PingResp => ping::write_response(out),
        Packet::Disconnect(disconnect) => disconnect::write(disconnect, version, out),
        Packet::Auth(auth) => auth::write(auth, version, out),
    }
}

/// What is taken from the front of a buffer: nothing while it is not whole. A packet is built right in
/// here by who reads it, since to move it costs as much as to read it.
type Taken = Result<Option<Packet>, ProtocolError>;

fn take(
    buffer: &mut Bytes,
    version: Version,
    limits: &Limits,
    read: fn(&Frame<'_>, Version, &Limits) -> Taken,
) -> Taken {
    let Framed::Whole(bytes) = frame_length(buffer, limits)? else {
        return Ok(None);
    };
    let frame = Frame::new(buffer, bytes, version)?;
    let packet = read(&frame, version, limits);
    buffer.advance(bytes);
    packet
}

#[inline]
fn taken<T>(read: Result<T, ProtocolError>, packet: impl FnOnce(T) -> Packet) -> Taken {
    Ok(Some(packet(read?)))
}

fn from_client(frame: &Frame<'_>, version: Version, limits: &Limits) -> Taken {
    if frame.packet_type == PacketType::Connect {
        return taken(connect::read(frame, limits), |it| Packet::Connect(Box::new(it)));
    }
    frame.check_length(version)?;
    let fields = frame.fields;
    match frame.packet_type {
        PacketType::Publish => publish::read(frame, version, limits, Sender::Client),
        PacketType::PubAck => taken(acknowledgement::read(fields, version), Packet::PubAck),
        PacketType::PubRec => taken(acknowledgement::read(fields, version), Packet::PubRec),
        PacketType::PubRel => taken(acknowledgement::read_release(fields, version), Packet::PubRel),
        PacketType::PubComp => taken(acknowledgement::read_release(fields, version), Packet::PubComp),
        PacketType::PingReq => taken(ping::read(fields), |()| Packet::PingReq),
        PacketType::Subscribe => taken(subscribe::read(fields, version, limits), Packet::Subscribe),
        PacketType::Unsubscribe => taken(unsubscribe::read(fields, version, limits), Packet::Unsubscribe),
        PacketType::Disconnect => {
            taken(disconnect::read_from_client(fields, version), |it| Packet::Disconnect(Box::new(it)))
        }
        PacketType::Auth => taken(auth::read_from_client(fields), |it| Packet::Auth(Box::new(it))),
        PacketType::Connect
        | PacketType::ConnAck
        | PacketType::SubAck
        | PacketType::UnsubAck
        | PacketType::PingResp => Err(ProtocolError::ServerPacket),
    }
}

fn from_server(frame: &Frame<'_>, version: Version, limits: &Limits) -> Taken {
    frame.check_length(version)?;
    let fields = frame.fields;
    match frame.packet_type {
        PacketType::Publish => publish::read(frame, version, limits, Sender::Server),
        PacketType::PubAck => taken(acknowledgement::read(fields, version), Packet::PubAck),
        PacketType::PubRec => taken(acknowledgement::read(fields, version), Packet::PubRec),
        PacketType::PubRel => taken(acknowledgement::read_release(fields, version), Packet::PubRel),
        PacketType::PubComp => taken(acknowledgement::read_release(fields, version), Packet::PubComp),
        PacketType::PingResp => taken(ping::read(fields), |()| Packet::PingResp),
        PacketType::ConnAck => taken(connack::read(fields, version), |it| Packet::ConnAck(Box::new(it))),
        PacketType::SubAck => taken(subscribe::read_ack(fields, version), Packet::SubAck),
        PacketType::UnsubAck => taken(unsubscribe::read_ack(fields, version), Packet::UnsubAck),
        PacketType::Disconnect if version == Version::V5 => {
            taken(disconnect::read_from_server(fields), |it| Packet::Disconnect(Box::new(it)))
        }
        PacketType::Auth => taken(auth::read_from_server(fields), |it| Packet::Auth(Box::new(it))),
        PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq
        | PacketType::Disconnect => Err(ProtocolError::ClientPacket),
    }
}
