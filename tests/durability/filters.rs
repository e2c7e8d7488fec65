//! A filter that is too long to be kept: its SUBSCRIBE is answered, and the broker lives on.

use crate::harness::packets::{suback, subscribe};
use crate::harness::packets5::{SUBACK, subscribe5};
use crate::harness::{Broker, Connect, Connect5, Publish, Wire};

/// Topic Filter invalid.
const INVALID: u8 = 0x8F;

#[test]
fn filter_that_cannot_be_kept_is_refused() {
    let broker = Broker::start();
    let longest = "x".repeat(65_527);
    let too_long = ["x".repeat(65_528), "x".repeat(65_530), "x".repeat(65_535)];
    let (old, new) = (Connect::new("old").persistent(), Connect5::new("new").persistent(60));
    let mut receiver = Wire::connect(&broker, &old);
    let mut receiver5 = Wire::connect5(&broker, &new);
    for filter in &too_long {
        receiver.send(subscribe(1, &[(filter.as_str(), 1), ("a", 1)]));
        receiver.expect(suback(1, &[0x80, 1]));
        receiver5.send(subscribe5(1, &[(filter.as_str(), 1), ("a", 1)]).bytes());
        assert_eq!(receiver5.await_answer(SUBACK, 1).codes, [INVALID, 1]);
    }
    receiver.subscribe(&longest, 1);
    receiver5.subscribe5(&longest, 1);
    // A session that is not kept may have any.
    Wire::client(&broker, "passing").subscribe(&too_long[2], 1);

    let broker = broker.kill().start();
    let mut receiver = Wire::resume(&broker, &old);
    let mut receiver5 = Wire::resume5(&broker, &new);
    let mut publisher = Wire::client(&broker, "publisher");
    publisher.publish(&Publish::new(&longest, "long").qos(1, 1));
    publisher.publish(&Publish::new("a", "short").qos(1, 1));
    receiver.take("long");
    receiver.take("short");
    receiver5.take5("long");
    receiver5.take5("short");
}
