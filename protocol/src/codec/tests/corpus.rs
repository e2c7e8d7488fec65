//! The seeds of the fuzz targets. Each is a whole number of packets, so that none of them is worth
//! nothing without anybody noticing.

use super::{LIMITS, VERSIONS};
use crate::codec::{Limits, decode, decode_from_server};
use crate::packet::Version;
use crate::{Packet, ProtocolError};
use bytes::Bytes;
use std::collections::HashSet;

type Decode = fn(&mut Bytes, Version, &Limits) -> Result<Option<Packet>, ProtocolError>;

/// Reads every seed to its end; gives the kinds of packet and the versions that were met.
fn kinds(target: &str, decode: Decode) -> HashSet<(Version, u8)> {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut kinds = HashSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = Bytes::from(std::fs::read(&path).unwrap());
        let version = VERSIONS[usize::from(bytes.split_to(1)[0]) % VERSIONS.len()];
        while let Some(first) = bytes.first().copied() {
            let packet = decode(&mut bytes, version, &LIMITS);
            assert!(matches!(packet, Ok(Some(_))), "{}: {packet:?}", path.display());
            kinds.insert((version, first >> 4));
        }
    }
    kinds
}

#[test]
fn seeds_hold_every_packet() {
    let of_client = kinds("client", decode);
    let of_server = kinds("server", decode_from_server);
    let missing = |met: &HashSet<(Version, u8)>, version, kinds: &[u8]| {
        kinds.iter().copied().filter(|kind| !met.contains(&(version, *kind))).collect::<Vec<_>>()
    };
    let nothing: Vec<u8> = Vec::new();
    assert_eq!(missing(&of_client, Version::V31, &[1]), nothing);
    assert_eq!(missing(&of_client, Version::V311, &[1, 3, 4, 5, 6, 7, 8, 10, 12, 14]), nothing);
    assert_eq!(missing(&of_client, Version::V5, &[1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15]), nothing);
    assert_eq!(missing(&of_server, Version::V311, &[2, 3, 4, 5, 6, 7, 9, 11, 13]), nothing);
    assert_eq!(missing(&of_server, Version::V5, &[2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15]), nothing);
}
