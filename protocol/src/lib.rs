//! What MQTT says: bytes to [`Packet`] and back, topic names and filters, quality of service and
//! reason codes, for MQTT 3.1, 3.1.1 and 5, with one `Packet` type for all.
//!
//! No I/O and no clock: bytes and packets come in and go out, and everything that comes out of
//! [`codec::decode`] is well formed. Not here: what a packet *means* for a session; that is the broker's.

pub mod codec;
pub mod error;
pub mod filter;
pub mod packet;
pub mod qos;
pub mod reason;
pub mod topic;

pub use error::{FilterError, ProtocolError, TopicError};
pub use filter::{Level, SubscriptionFilter, TopicFilter};
pub use packet::Packet;
pub use qos::Qos;
pub use reason::ReasonCode;
pub use topic::TopicName;
