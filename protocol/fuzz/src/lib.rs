//! What holds for all bytes that a peer may send: they are read or refused without a panic, and what was
//! read can be written and reads the same again. The first byte picks the version, the others are what
//! the peer sends; each end of a connection is a target of its own.

use bytes::{Bytes, BytesMut};
use sealmq_protocol::codec::{Limits, connect_level, encode, missing, publish_bytes};
use sealmq_protocol::packet::Version;
use sealmq_protocol::{Packet, ProtocolError};

/// [`sealmq_protocol::codec::decode()`] or its like for a server.
pub type Decode = fn(&mut Bytes, Version, &Limits) -> Result<Option<Packet>, ProtocolError>;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
/// Low, so that they are met.
const LIMITS: Limits = Limits { packet_bytes_max: 4096, topic_levels_max: 8, filters_max: 16 };

/// Reads all packets in the bytes.
///
/// # Panics
/// Where something does not hold, which is what libFuzzer waits for.
pub fn check(data: &[u8], decode: Decode) {
    let Some((first, bytes)) = data.split_first() else { return };
    let version = VERSIONS[usize::from(*first) % VERSIONS.len()];
    let _ = connect_level(bytes);
    let mut buffer = Bytes::copy_from_slice(bytes);
    loop {
        let before = buffer.clone();
        match decode(&mut buffer, version, &LIMITS) {
            Ok(Some(packet)) => {
                assert_eq!(missing(&before, &LIMITS), Ok(0));
                assert!(buffer.len() < before.len());
                reads_the_same(&packet, version, decode);
            }
            Ok(None) => {
                assert_eq!(buffer, before, "what is not whole is left alone");
                assert!(missing(&before, &LIMITS).is_ok_and(|bytes| bytes > 0));
                return;
            }
            Err(error) => {
                let _ = (error.to_string(), error.reason(), error.clause(version));
                return;
            }
        }
    }
}

fn reads_the_same(packet: &Packet, version: Version, decode: Decode) {
    let mut out = BytesMut::new();
    assert!(encode(packet, version, &mut out), "{packet:?}");
    if let Packet::Publish(publish) = packet {
        assert_eq!(publish_bytes(&publish.into(), publish.payload.len(), version), out.len(), "{packet:?}");
    }
    if has_bad_filter(packet) {
        return; // its text is gone
    }
    let mut written = out.freeze();
    assert_eq!(decode(&mut written, version, &LIMITS).as_ref(), Ok(&Some(packet.clone())));
    assert!(written.is_empty());
}

fn has_bad_filter(packet: &Packet) -> bool {
    match packet {
        Packet::Subscribe(subscribe) => subscribe.filters.iter().any(|(filter, _)| filter.is_err()),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.iter().any(Result::is_err),
        _ => false,
    }
}
