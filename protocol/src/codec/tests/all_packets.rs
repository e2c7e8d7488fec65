//! What holds for all bytes and for all packets, in every version and either direction.

use super::strategies::{lowered, of_client, of_server, version};
use super::{LIMITS, VERSIONS, encoded, packet_bytes};
use crate::codec::{Limits, decode, decode_from_server, encode, missing};
use crate::packet::Version;
use crate::{Packet, ProtocolError};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

type Decode = fn(&mut Bytes, Version, &Limits) -> Result<Option<Packet>, ProtocolError>;
const DIRECTIONS: [Decode; 2] = [decode, decode_from_server];

/// Bytes that look like a packet: a true type, often true flags, a true remaining length.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..100))
        .prop_map(|(first, body)| [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat())
}

/// A packet of either end, on the wire.
pub(super) fn whole() -> impl Strategy<Value = (Version, Vec<u8>)> {
    version().prop_flat_map(|version| {
        prop_oneof![of_client(version), of_server(version)]
            .prop_map(move |packet| (version, encoded(&[packet], version).to_vec()))
    })
}

/// A packet with one byte changed.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    (whole(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|((_, mut bytes), at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    })
}

pub(super) fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), nearly_a_packet(), broken()]
}

/// Reads all that can be read, in every version and either direction; what is well formed can be
/// written, and read again.
fn read_all(bytes: &[u8], limits: &Limits) {
    for version in VERSIONS {
        for decode in DIRECTIONS {
            let mut buffer = Bytes::copy_from_slice(bytes);
            while let Ok(Some(packet)) = decode(&mut buffer, version, limits) {
                if has_bad_filter(&packet) {
                    continue; // its text is gone
                }
                let again = decode(&mut encoded(std::slice::from_ref(&packet), version), version, &LIMITS);
                assert_eq!(again, Ok(Some(packet)));
            }
        }
    }
}

fn has_bad_filter(packet: &Packet) -> bool {
    if let Packet::Subscribe(subscribe) = packet {
        subscribe.filters.iter().any(|(filter, _)| filter.is_err())
    } else if let Packet::Unsubscribe(unsubscribe) = packet {
        unsubscribe.filters.iter().any(Result::is_err)
    } else {
        false
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in any_bytes(), packet_bytes_max in 0usize..300, topic_levels_max in 0usize..5) {
        for limits in [LIMITS, Limits { packet_bytes_max, topic_levels_max, filters_max: 3 }] {
            read_all(&bytes, &limits);
        }
    }

    #[test]
    fn what_a_client_writes_is_read(
        (version, packets) in version().prop_flat_map(|version| {
            (Just(version), prop::collection::vec(of_client(version), 1..4))
        }),
    ) {
        let mut buffer = encoded(&packets, version);
        for packet in packets {
            prop_assert_eq!(missing(&buffer, &LIMITS), Ok(0));
            prop_assert_eq!(decode(&mut buffer, version, &LIMITS), Ok(Some(packet)));
        }
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn what_a_server_writes_is_read(
        (version, packets) in version().prop_flat_map(|version| {
            (Just(version), prop::collection::vec(of_server(version), 1..4))
        }),
    ) {
        let mut buffer = encoded(&packets, version);
        for packet in packets {
            prop_assert_eq!(decode_from_server(&mut buffer, version, &LIMITS), Ok(Some(packet)));
        }
        prop_assert!(buffer.is_empty());
    }

    /// A packet of MQTT 5 is written for MQTT 3.1.1 without what that does not have.
    #[test]
    fn what_a_version_lacks_is_left_out(packet in of_server(Version::V5)) {
        let mut out = BytesMut::new();
        let written = encode(&packet, Version::V311, &mut out);
        prop_assert_eq!(packet_bytes(&packet, Version::V311), out.len());
        let says_why = matches!(packet, Packet::Disconnect(_));
        match lowered(packet, Version::V311).filter(|_| !says_why) {
            Some(expected) => {
                prop_assert!(written);
                prop_assert_eq!(decode_from_server(&mut out.freeze(), Version::V311, &LIMITS), Ok(Some(expected)));
            }
            None => prop_assert!(!written || says_why),
        }
    }

    #[test]
    fn cut_packet_is_waited_for((version, bytes) in whole()) {
        let whole = Bytes::from(bytes);
        for length in 0..whole.len() {
            let mut buffer = whole.slice(..length);
            prop_assert_eq!(decode(&mut buffer, version, &LIMITS), Ok(None));
            prop_assert_eq!(&buffer, &whole.slice(..length));
            let wanted = missing(&buffer, &LIMITS).unwrap();
            prop_assert!((1..=whole.len() - length).contains(&wanted));
        }
    }

    #[test]
    fn all_but_publish_keep_no_read_buffer_alive((version, bytes) in whole()) {
        for decode in DIRECTIONS {
            let mut buffer = Bytes::from(bytes.clone());
            let read = decode(&mut buffer, version, &LIMITS);
            prop_assert!(buffer.is_unique() || matches!(read, Ok(Some(Packet::Publish(_)))));
        }
    }

    #[test]
    fn length_of_a_packet_is_known_before_it_is_written(
        (version, packet) in version().prop_flat_map(|version| {
            (Just(version), prop_oneof![of_client(version), of_server(version)])
        }),
    ) {
        prop_assert_eq!(packet_bytes(&packet, version), encoded(&[packet], version).len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_flipped_bit_panics((_, mut bytes) in whole()) {
        for at in 0..bytes.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 0xFF] {
                bytes[at] ^= flip;
                read_all(&bytes, &LIMITS);
                bytes[at] ^= flip;
            }
        }
    }
}
