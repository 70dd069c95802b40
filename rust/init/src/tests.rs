//! The wire format: what is encoded is what is decoded, and nothing malformed is believed.

use std::vec::Vec;

use super::{Decoder, Encoder, Hello, List, Message, Step, Words};

#[test]
fn a_step_comes_back_as_it_was() {
    let options = List::new(b"=size\0100\0ro\0");
    let numbers: Vec<u8> = [7u64, 9].iter().flat_map(|number| number.to_le_bytes()).collect();
    let steps = [
        Step::Mount { kind: c"tmpfs", source: c"", target: c"/tmp", options, attributes: 3, propagation: 0, behaviour: 1 },
        Step::JoinNamespaces { pairs: Words::new(&numbers) },
        Step::MakeFile { path: c"etc/x", mode: 0o644, content: b"odd" },
        Step::Pivot {},
    ];
    let mut encoder = Encoder::default();
    steps.iter().for_each(|step| step.encode(&mut encoder));
    let mut decoder = Decoder::new(encoder.as_slice());
    for step in steps {
        assert_eq!(Step::decode(&mut decoder), Ok(step));
    }
    assert!(decoder.is_empty());
}

#[test]
fn a_plan_that_is_cut_anywhere_is_malformed() {
    let mut encoder = Encoder::default();
    Step::Hostname { name: c"a-name-of-some-length" }.encode(&mut encoder);
    for length in 0..encoder.len() {
        assert!(Step::decode(&mut Decoder::new(&encoder.as_slice()[..length])).is_err(), "{length}");
    }
}

#[test]
fn a_length_beyond_the_plan_is_malformed() {
    for length in [u64::MAX, u64::MAX - 7, 1 << 40] {
        let bytes: Vec<u8> = [26, length, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert!(Step::decode(&mut Decoder::new(&bytes)).is_err());
    }
}

#[test]
fn an_unknown_step_is_malformed() {
    assert!(Step::decode(&mut Decoder::new(&u64::MAX.to_le_bytes())).is_err());
}

#[test]
fn messages_come_back_as_they_were() {
    let message = Message { kind: 4, step: 1 << 30, call: 165, errno: -1, value: u64::MAX, extra: 1 << 33 };
    assert_eq!(Message::from_bytes(&message.to_bytes()), message);
    let hello = Hello { length: 1 << 35, floor: 7, count: 253 };
    assert_eq!(Hello::from_bytes(&hello.to_bytes()), hello);
}
