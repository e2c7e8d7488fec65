//! The values that the store keeps, and their bytes: what a session is, what waits for it, what a message
//! is, who was enrolled. Each begins with a version byte. Times are milliseconds since 1970.

mod enrolled;
mod entry;
mod fields;
mod message;
mod session;

pub(crate) use enrolled::{decode_enrolled, encode_enrolled};
pub(crate) use entry::{Body, Entry, Flight, FlightState};
pub(crate) use message::{MessageRecord, decode_message, encode_message};
pub(crate) use session::{Held, KeptWill, SessionRecord, decode_subscription, encode_subscription};
