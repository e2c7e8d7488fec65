//! The COSE envelope of sealed payloads: made by [`seal()`], opened by an [`Opener`].
//!
//! Protected from whoever reads, alters, delays, repeats or moves packets on a wire without TLS, enrolled
//! senders among them: the payload's secrecy (an AEAD under a topic's key), its integrity, its sender and its
//! topic (an Ed25519 stamp), and that it is taken once (a counter or a time under the stamp).
//!
//! Not protected: topic names, packet flags and sizes; a message that is dropped; what was sealed to an
//! X25519 key once that key is lost. What follows from a plaintext is the caller's to keep confidential.
//!
//! Bytes and the time come in; plaintexts, envelopes and errors go out. No I/O, no clock, no MQTT, no logs.
//! Always holds: no input causes a panic, and no error or `Debug` output shows a secret or a payload.

mod aad;
pub mod batch;
mod cbor;
pub mod challenge;
mod cipher;
mod derived;
pub mod envelope;
pub mod error;
pub mod key;
pub mod keyring;
pub mod open;
pub mod replay;
pub mod reseal;
pub mod seal;
pub mod window;

pub use batch::{BATCH_STAMPS_MAX, verify_all};
pub use cipher::ContentAlgorithm;
pub use envelope::Envelope;
pub use error::{KeyError, KeyringError, OpenError, SealError};
pub use key::{Derived, SenderKey, SenderPublicKey, TopicKey, TopicPublicKey};
pub use keyring::{Keyring, OpenedCount, Sender, TopicKeyEntry, Topics, Validity};
pub use open::{Identified, Opened, Opener, Policy, Unsealed, Verified, payload_digest};
pub use replay::{Mark, ReplayWindows, Reservation};
pub use reseal::{EnvelopeSize, Resealer};
pub use seal::{ContentKey, Freshness, seal, seal_with_random};
pub use window::{Ahead, SenderWindow, WINDOW_NUMBERS};
