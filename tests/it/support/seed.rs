//! Where chance comes from: a random test says its seed, and takes another one from `ZAIKOBAN_TEST_SEED`.

use super::long::long_or;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The seed of the test `name`: from `ZAIKOBAN_TEST_SEED`, mixed with `own` so that two tests do not play the same; else
/// `own` itself, and in a long run a fresh one. It is printed, for whoever looks at a failure.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests may choose the seed"
)]
pub fn seed(name: &str, own: u64) -> u64 {
    let given = std::env::var("ZAIKOBAN_TEST_SEED").ok();
    let base: Option<u64> = match given.as_deref().map(str::trim) {
        Some(text) if !text.is_empty() => {
            Some(text.parse().expect("ZAIKOBAN_TEST_SEED: expected a whole number"))
        }
        _ => long_or(true, false).then(|| u64::from(rand::rng().random::<u32>())),
    };
    let seed = base.map_or(own, |base| base.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ own);
    match base {
        Some(base) => println!("{name}: seed {seed} (ZAIKOBAN_TEST_SEED={base})"),
        None => println!("{name}: seed {seed}"),
    }
    seed
}

/// A generator with that seed.
pub fn rng(name: &str, own: u64) -> StdRng {
    StdRng::seed_from_u64(seed(name, own))
}
