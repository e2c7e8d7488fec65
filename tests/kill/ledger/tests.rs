//! That each broken promise is found, and that nothing else is taken for one.

use super::breach::Kind;
use super::{Expected, Ledger};
use crate::payload::Stamp;

fn stamp(number: u32) -> Stamp {
    Stamp { publisher: 0, number }
}

/// Ten messages of publisher 0, sent and acknowledged, with one subscriber, both at this QoS.
fn ledger(qos: u8) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.open("publisher", qos);
    ledger.owe(0, "subscriber", qos, 0);
    ledger.begin_round();
    for number in 0..10 {
        ledger.sent(stamp(number));
        ledger.acknowledged(stamp(number));
    }
    ledger
}

fn arrive(ledger: &mut Ledger, qos: u8, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        ledger.arrived(0, "subscriber", stamp(number), qos);
    }
}

/// What is found when these arrive.
fn found(qos: u8, numbers: impl IntoIterator<Item = u32>) -> Vec<Kind> {
    let mut ledger = ledger(qos);
    arrive(&mut ledger, qos, numbers);
    ledger.settle();
    ledger.breaches.kinds()
}

#[test]
fn nothing_is_found_where_all_arrive_in_order() {
    for qos in [1, 2] {
        assert_eq!(found(qos, 0..10), []);
    }
}

#[test]
fn a_loss_is_found_with_its_numbers_and_round() {
    for qos in [1, 2] {
        assert_eq!(found(qos, (0..10).filter(|number| *number != 4)), [Kind::Lost]);
        assert_eq!(found(qos, 0..9), [Kind::Lost]);
        assert_eq!(found(qos, []), [Kind::Lost]);
    }
    let mut ledger = ledger(1);
    arrive(&mut ledger, 1, [0, 1, 2, 6, 7, 8]);
    assert!(!ledger.is_complete());
    ledger.begin_round();
    ledger.settle();
    let text = ledger.breaches.to_string();
    let wanted = "Lost: publisher to subscriber with QoS 1: 4 times, rounds 1 to 1, numbers 3..=5 9";
    assert_eq!(text.trim(), wanted);
}

#[test]
fn what_was_not_acknowledged_may_be_lost() {
    let mut ledger = ledger(1);
    ledger.sent(stamp(10));
    arrive(&mut ledger, 1, 0..10);
    assert!(ledger.is_complete());
    ledger.settle();
    assert!(ledger.breaches.is_empty());
}

#[test]
fn a_double_is_a_breach_of_qos_2_alone() {
    assert_eq!(found(2, (0..10).chain([7])), [Kind::Doubled]);
    let mut ledger = ledger(1);
    arrive(&mut ledger, 1, (0..10).chain(5..10));
    ledger.settle();
    assert!(ledger.breaches.is_empty());
    assert_eq!((ledger.figures.deliveries, ledger.figures.duplicates), (10, 5));
}

#[test]
fn what_comes_back_after_it_was_settled_is_a_double() {
    let mut ledger = ledger(2);
    arrive(&mut ledger, 2, 0..10);
    ledger.settle();
    arrive(&mut ledger, 2, [3]);
    assert_eq!(ledger.breaches.kinds(), [Kind::Doubled]);
}

#[test]
fn disorder_is_found_and_repeated_rows_are_not() {
    for qos in [1, 2] {
        assert_eq!(found(qos, [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]), [Kind::Disordered]);
    }
    assert_eq!(found(1, (0..6).chain(3..10)), []);
}

#[test]
fn what_was_never_sent_or_is_owed_to_others_is_a_ghost() {
    assert_eq!(found(1, 0..11), [Kind::Ghost]);
    let mut ledger = ledger(1);
    ledger.open("other", 1);
    ledger.sent(Stamp { publisher: 1, number: 0 });
    ledger.arrived(0, "subscriber", Stamp { publisher: 1, number: 0 }, 1);
    ledger.arrived(0, "subscriber", Stamp { publisher: 2, number: 0 }, 1);
    assert_eq!(ledger.breaches.kinds(), [Kind::Ghost, Kind::Ghost]);
}

#[test]
fn another_qos_is_found() {
    let mut ledger = ledger(2);
    arrive(&mut ledger, 1, [0]);
    assert_eq!(ledger.breaches.kinds(), [Kind::Altered]);
}

#[test]
fn a_subscription_that_changes_is_kept_to() {
    let with = |expected, arrives| {
        let mut ledger = ledger(1);
        ledger.expect(0, stamp(4), expected);
        arrive(&mut ledger, 1, (0..10).filter(|number| arrives || *number != 4));
        ledger.settle();
        ledger.breaches.kinds()
    };
    assert_eq!(with(Expected::Arrives, true), []);
    assert_eq!(with(Expected::Arrives, false), [Kind::Lost]);
    assert_eq!(with(Expected::Stays, true), [Kind::StillSubscribed]);
    assert_eq!(with(Expected::Stays, false), []);
    assert_eq!(with(Expected::Either, true), []);
    assert_eq!(with(Expected::Either, false), []);
}

#[test]
fn a_retained_message_is_as_new_as_promised() {
    let with = |found, acknowledged| {
        let mut ledger = ledger(1);
        ledger.retained(0, found, acknowledged);
        ledger.breaches.kinds()
    };
    assert_eq!(with(Some(7), Some(7)), []);
    assert_eq!(with(Some(9), Some(7)), []);
    assert_eq!(with(Some(9), None), []);
    assert_eq!(with(None, None), []);
    assert_eq!(with(Some(6), Some(7)), [Kind::RetainedTooOld]);
    assert_eq!(with(None, Some(7)), [Kind::RetainedWrong]);
    assert_eq!(with(Some(10), Some(7)), [Kind::RetainedWrong]);
}

#[test]
fn a_settled_ledger_goes_on() {
    let mut ledger = ledger(2);
    arrive(&mut ledger, 2, 0..10);
    ledger.settle();
    ledger.begin_round();
    for number in 10..200 {
        ledger.sent(stamp(number));
        ledger.acknowledged(stamp(number));
    }
    arrive(&mut ledger, 2, (10..200).filter(|number| *number != 150));
    ledger.settle();
    assert_eq!(ledger.breaches.kinds(), [Kind::Lost]);
    assert!(ledger.breaches.to_string().contains("rounds 2 to 2, numbers 150"));
}
