//! How much of what takes long is done: `scripts/test --long` does all of it.

/// The first in a long run, the second in one that somebody waits for.
pub fn long_or<T>(long: T, short: T) -> T {
    if std::env::var_os("ZAIKOBAN_TEST_LONG").is_some() {
        long
    } else {
        short
    }
}
