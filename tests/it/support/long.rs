//! How much of what takes long is done: `scripts/test --long` does all of it.

/// The first in a long run, the second in one that somebody waits for.
pub fn long_or<T>(long: T, short: T) -> T {
    if std::env::var_os("ZAIKOBAN_TEST_LONG").is_some() {
        long
    } else {
        short
    }
}

/// How often the daemon is killed: `ZAIKOBAN_TEST_KILLS`, where somebody wants another number.
pub fn kills(usual: usize) -> usize {
    let given = std::env::var_os("ZAIKOBAN_TEST_KILLS");
    given.map_or(usual, |text| {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.expect("ZAIKOBAN_TEST_KILLS: expected a whole number")
    })
}
