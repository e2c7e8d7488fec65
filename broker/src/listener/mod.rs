//! Where clients connect.

pub(crate) mod development;
pub(crate) mod tls;
