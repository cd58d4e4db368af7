//! Every message at every version: what is encoded is decoded again, and leaves nothing behind.

mod oracle;

use crate::{
    Decoder, Message, every_message,
    random::{Random, Sample},
};
use std::fmt::Debug;

/// Random values of one message at one version; each seed is another shape.
const SEEDS: u64 = 24;

fn check<M: Message + Sample + PartialEq + Debug>() {
    for version in M::VERSIONS {
        for seed in 0..SEEDS {
            let message = M::sample(&mut Random::new(seed), version);
            let parts =
                message.to_parts(version).unwrap_or_else(|error| panic!("{} {version}: {error}", M::NAME));
            let mut decoder = Decoder::with_default_budget(parts.to_bytes().unwrap());
            let read = M::decode(&mut decoder, version);
            assert_eq!(read.as_ref(), Ok(&message), "{} {version} seed {seed}", M::NAME);
            assert_eq!(decoder.remaining(), 0, "{} {version} seed {seed}", M::NAME);
            let again = read.unwrap().to_parts(version).unwrap();
            assert_eq!(again, parts, "{} {version} seed {seed}", M::NAME);
        }
        let message = M::sample(&mut Random::new(0), version);
        let bytes = message.to_parts(version).unwrap().to_bytes().unwrap();
        for end in 0..bytes.len() {
            let cut = M::decode(&mut Decoder::with_default_budget(bytes.slice(..end)), version);
            assert!(cut.is_err(), "{} {version} cut at {end} of {}", M::NAME, bytes.len());
        }
    }
    let (below, above) = (*M::VERSIONS.start() - 1, *M::VERSIONS.end() + 1);
    for version in [below, above] {
        assert!(M::from_bytes(Default::default(), version).is_err(), "{} {version}", M::NAME);
    }
}

macro_rules! check_all {
    ($($message:ty,)*) => { $(check::<$message>();)* };
}

#[test]
fn every_message_survives_every_version() {
    every_message!(check_all);
}
