//! Everything comes back, whether the broker was asked to end or killed: what it kept and how far it was
//! with it. In all [`Way`](super::Way)s.

mod ended;
mod flights;
mod queues;
mod retained;
mod sealed;
mod sessions;
mod shared;
mod wills;
