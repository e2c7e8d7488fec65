//! What a [`Wire`] does as a client of MQTT 5: the same steps as for 3.1.1, with reason codes.

use super::broker::Broker;
use super::packets::{PINGREQ, PINGRESP};
use super::packets5::{
    Answer, CONNACK, Connect5, DISCONNECT5, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish5, SUBACK, ack5,
    disconnect5, subscribe5,
};
use super::wire::Wire;

/// No matching subscribers: as good as success.
const NO_SUBSCRIBERS: u8 = 0x10;

impl Wire {
    /// A client with clean start, whose session ends with the connection.
    pub(crate) fn client5(broker: &Broker, id: &str) -> Self {
        Self::connect5(broker, &Connect5::new(id))
    }

    /// Sends CONNECT on a new plaintext connection, and expects it to be accepted without a session
    /// from before.
    #[track_caller]
    pub(crate) fn connect5(broker: &Broker, connect: &Connect5) -> Self {
        let (wire, connack) = Self::greet5(broker, connect);
        assert!(!connack.session_present, "{connack:?}");
        wire
    }

    /// The same, where a session from before is expected.
    #[track_caller]
    pub(crate) fn resume5(broker: &Broker, connect: &Connect5) -> Self {
        let (wire, connack) = Self::greet5(broker, connect);
        assert!(connack.session_present, "{connack:?}");
        wire
    }

    /// Sends CONNECT on a new plaintext connection, expects it to be accepted, and gives CONNACK too.
    #[track_caller]
    pub(crate) fn greet5(broker: &Broker, connect: &Connect5) -> (Self, Answer) {
        let mut wire = Self::open(broker);
        wire.send(connect.bytes());
        let connack = wire.expect_connack(0);
        (wire, connack)
    }

    /// Sends `bytes` on a new plaintext connection: CONNACK with this code, then the end.
    #[track_caller]
    pub(crate) fn refused5(broker: &Broker, bytes: impl AsRef<[u8]>, code: u8) -> Answer {
        let mut wire = Self::open(broker);
        wire.send(bytes);
        let connack = wire.expect_connack(code);
        assert!(!connack.session_present, "[MQTT-3.2.2-6]: {connack:?}");
        wire.expect_closed();
        connack
    }

    /// The next packet is CONNACK with this code.
    #[track_caller]
    pub(crate) fn expect_connack(&mut self, code: u8) -> Answer {
        self.expect_reason(CONNACK, 0, code)
    }

    /// The next packet is an answer with this first byte, packet identifier (0 for none) and code.
    #[track_caller]
    pub(crate) fn expect_reason(&mut self, first: u8, id: u16, code: u8) -> Answer {
        let answer = Answer::parse(&self.receive());
        assert!(
            answer.first == first && answer.id == id && answer.code() == code,
            "expected {first:#04x} for {id} with {code:#04x}, got {answer:02x?}"
        );
        answer
    }

    /// An answer with this first byte and packet identifier comes; PUBLISH packets before it are left
    /// for later.
    #[track_caller]
    pub(crate) fn await_answer(&mut self, first: u8, id: u16) -> Answer {
        let answer = Answer::parse(&self.receive_answer());
        assert!(
            answer.first == first && answer.id == id,
            "expected {first:#04x} for {id}, got {answer:02x?}"
        );
        answer
    }

    /// DISCONNECT with this code comes, then the end of the connection; PUBLISH packets before it do not
    /// matter.
    #[track_caller]
    pub(crate) fn expect_disconnect(&mut self, code: u8) -> Answer {
        let answer = Answer::parse(&self.receive_answer());
        assert!(
            answer.first == DISCONNECT5 && answer.code() == code,
            "expected DISCONNECT with {code:#04x}, got {answer:02x?}"
        );
        self.forget_stashed();
        self.expect_closed();
        answer
    }

    /// Subscribes with these options, and expects the QoS asked for.
    #[track_caller]
    pub(crate) fn subscribe5(&mut self, filter: impl AsRef<[u8]>, options: u8) {
        self.send(subscribe5(0x5B5B, &[(filter, options)]).bytes());
        assert_eq!(self.await_answer(SUBACK, 0x5B5B).codes, [options & 3]);
    }

    /// Sends a message and waits until the broker has taken it over, so that it is routed when this
    /// returns: by its acknowledgement, or for QoS 0 by a PINGRESP.
    #[track_caller]
    pub(crate) fn publish5(&mut self, publish: &Publish5) {
        let code = self.try_publish5(publish);
        assert!(code == 0 || code == NO_SUBSCRIBERS, "{publish:?} is answered with {code:#04x}");
    }

    /// The same, with any reason code of PUBACK or PUBREC; 0 for QoS 0.
    #[track_caller]
    pub(crate) fn try_publish5(&mut self, publish: &Publish5) -> u8 {
        self.send(publish.bytes());
        match publish.qos {
            0 => {
                self.send(PINGREQ);
                self.expect_answer(PINGRESP);
                0
            }
            1 => self.await_answer(PUBACK, publish.id).code(),
            _ => {
                let code = self.await_answer(PUBREC, publish.id).code();
                if code < 0x80 {
                    self.send(ack5(PUBREL, publish.id, 0).bytes());
                    assert_eq!(self.await_answer(PUBCOMP, publish.id).code(), 0);
                }
                code
            }
        }
    }

    /// The next packet is a PUBLISH.
    #[track_caller]
    pub(crate) fn expect_publish5(&mut self) -> Publish5 {
        let packet = self.receive();
        Publish5::parse(&packet).unwrap_or_else(|| panic!("expected PUBLISH, got {packet:02x?}"))
    }

    /// The next packet is a PUBLISH with this payload, and is answered as its QoS asks (QoS 2 with all
    /// of its packets).
    #[track_caller]
    pub(crate) fn take5(&mut self, payload: &str) -> Publish5 {
        let publish = self.expect_publish5();
        assert_eq!(publish.text(), payload, "{publish:?}");
        self.acknowledge5(&publish);
        publish
    }

    /// Answers a PUBLISH as its QoS asks.
    #[track_caller]
    pub(crate) fn acknowledge5(&mut self, publish: &Publish5) {
        match publish.qos {
            0 => {}
            1 => self.send(ack5(PUBACK, publish.id, 0).bytes()),
            _ => {
                self.send(ack5(PUBREC, publish.id, 0).bytes());
                assert_eq!(self.await_answer(PUBREL, publish.id).code(), 0);
                self.send(ack5(PUBCOMP, publish.id, 0).bytes());
            }
        }
    }

    /// Sends DISCONNECT with this code, and waits until the broker has closed the connection.
    #[track_caller]
    pub(crate) fn disconnect5(mut self, code: u8) {
        self.send(disconnect5(code).bytes());
        self.expect_closed();
    }
}
