#![no_main]
//! An offline order's text is taken or refused, and what is taken reads back the same; its body is exactly one encoding. A
//! set made of any bytes takes what it knows, and never loses a kill without its lift.

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use seams::Timestamp;
use wire::{
    kill::{KillSet, Unverified},
    v1,
};

fuzz_target!(|input: &[u8]| {
    if let Ok(order) = Unverified::parse(input) {
        assert_eq!(Unverified::parse(order.to_text().as_bytes()).as_ref(), Ok(&order));
        if let Ok(read) = order.read(Timestamp::from_micros(0)) {
            assert_eq!(read.encode(), order.body);
            assert!(read.kill.is_some() || !read.lifted.is_empty());
        }
    }
    let body = Unverified { body: input.to_vec(), signature: vec![0; 64] };
    let order = body.read(Timestamp::from_micros(0)).ok();
    let mut set = KillSet::default();
    if let Ok(body) = v1::KillBody::decode(input) {
        let _whole = set.follow(&body);
        let held: Vec<_> = set.kills().map(|kill| kill.id).collect();
        let _whole = set.add(&body);
        if let Some(order) = &order {
            let _fits = set.obey(order);
        }
        for id in held {
            assert!(set.is_lifted(id) || set.kills().any(|kill| kill.id == id));
        }
    }
    if let Some((read, keys)) = KillSet::decode(&set.encode(&[[7; 32]])) {
        assert_eq!((read, keys), (set, vec![[7; 32]]));
    } else {
        panic!("what was encoded does not decode");
    }
    let _refused = KillSet::decode(input);
});
