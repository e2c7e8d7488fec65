//! PINGREQ and PINGRESP, read and written (§3.12, §3.13): a fixed header, the same in all versions.
//! mqttbytes writes them; it does not read them, since it lets a body pass.

use super::fields::Fields;
use crate::ProtocolError;
use bytes::BytesMut;
use mqttbytes::v4;

/// Either of the two.
pub(super) fn read(fields: Fields<'_>) -> Result<(), ProtocolError> {
    fields.finish()
}

pub(super) fn write_request(out: &mut BytesMut) -> bool {
    v4::PingReq.write(out).is_ok()
}

pub(super) fn write_response(out: &mut BytesMut) -> bool {
    v4::PingResp.write(out).is_ok()
}
