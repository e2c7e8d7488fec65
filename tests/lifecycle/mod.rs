//! The life of the process: how it starts and what it says of a wrong configuration, how it reads its
//! rules again, how it lets TLS clients in, and how it stops.

mod check;
mod identity;
mod reload;
mod start;
mod stop;
mod tls;
