//! What a server may send to a client: what the broker itself writes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sealmq_protocol_fuzz::check(data, sealmq_protocol::codec::decode_from_server);
});
