//! What waits.

use super::support::{Bench, at, customers};
use crate::store::{NewDelivery, NewEvent, Queues, Settled};

#[test]
fn what_waits_is_counted_and_what_is_done_is_not() {
    let mut bench = Bench::new(customers());
    assert_eq!(bench.store.queues().expect("counted"), Queues::default());
    let event = |id: &str| NewEvent { connection: "acme".into(), kind: None, id: Some(id.into()), event: None };
    let delivery = NewDelivery {
        provider: "shop".into(),
        request: "{}".into(),
        body: "{}".into(),
        received_at: at(0),
        events: ["a", "b", "c", "d"].map(event).to_vec(),
    };
    bench.store.receive(&delivery).expect("received");
    let numbers: Vec<i64> = {
        let events = bench.store.waiting_events("acme", false).expect("read");
        events.iter().map(|event| event.number).collect()
    };
    bench.store.settle(numbers[0], &Settled::Done, at(1)).expect("settled");
    bench.store.settle(numbers[1], &Settled::Started, at(1)).expect("settled");
    bench.store.settle(numbers[2], &Settled::Failed { error: "no".into() }, at(1)).expect("settled");
    let queues = bench.store.queues().expect("counted");
    assert_eq!((queues.events_waiting, queues.events_started, queues.events_failed), (1, 1, 1));
}
