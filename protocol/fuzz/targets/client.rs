//! What a client may send to the broker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sealmq_protocol_fuzz::check(data, sealmq_protocol::codec::decode);
});
