//! What the items are before anything has happened.

use super::{DAY, ItemState, Micros, SECOND, Status};
use crate::simulator::draw::{below, below_u32, micros, mix, one_of, unit};
use crate::simulator::settings::SimulatorSettings;

/// What item `index` is at the start.
pub(super) fn first_state(settings: &SimulatorSettings, index: u32, now: Micros) -> ItemState {
    let draw = |question: u64| mix(settings.seed, question, u64::from(index));
    let auction = unit(draw(0x20)) < settings.auctions.share;
    let store = below(draw(0x21), 100) < 18;
    // Three classes of price, so that neither cheap nor dear goods are rare.
    let (floor, room) = one_of(
        draw(0x22),
        &[(800, 4_000), (5_000, 20_000), (20_000, 60_000)],
        (5_000, 20_000),
    );
    let price = floor + below_u32(draw(0x23), room);
    let started = now - SECOND * i64::from(3_600 + below_u32(draw(0x24), 5 * 86_400));
    let (price, buy_now, quantity, bids, ends_at) = if auction {
        let first = micros(settings.auctions.ends_after_s);
        let last = micros(settings.auctions.ends_within_s);
        let room = u64::try_from(last - first).unwrap_or(0);
        let ends_in = first + i64::try_from(below(draw(0x25), room + 1)).unwrap_or(0);
        let buy_now = (below(draw(0x26), 100) < 50).then(|| price + price / 2);
        (price, buy_now, 1, below_u32(draw(0x27), 26), now + ends_in)
    } else {
        let many = one_of(draw(0x28), &[1, 1, 1, 2, 3, 5], 1);
        let ends_in = DAY + SECOND * i64::from(below_u32(draw(0x29), 6 * 86_400));
        (price, Some(price), many, 0, now + ends_in)
    };
    ItemState {
        version: 0,
        status: Status::Open,
        quantity,
        price,
        buy_now,
        init_price: if auction && bids > 0 { price / 3 + 1 } else { price },
        bids,
        store,
        auction,
        extended: false,
        starts_at: started / SECOND * SECOND,
        // Pages tell whole seconds; the truth is no finer than what they can say.
        ends_at: ends_at / SECOND * SECOND,
        since: now,
    }
}
