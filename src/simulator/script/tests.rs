use super::*;

const START: Micros = 1_790_000_000_000_000;

fn world(settings: &SimulatorSettings) -> World {
    World::new(settings, START)
}

fn busy() -> SimulatorSettings {
    SimulatorSettings {
        products: 300,
        change_rate_per_s: 50.0,
        relist_after_s: 2.0,
        auctions: AuctionSettings {
            share: 0.3,
            ends_after_s: 5.0,
            ends_within_s: 40.0,
            extension_s: 3.0,
            ..AuctionSettings::default()
        },
        ..SimulatorSettings::default()
    }
}

#[test]
fn one_seed_gives_one_truth_however_often_the_clock_is_asked() {
    let settings = busy();
    let (mut once, mut often, mut other) = (
        world(&settings),
        world(&settings),
        world(&SimulatorSettings { seed: 2, ..busy() }),
    );
    once.advance(START + 60 * SECOND);
    other.advance(START + 60 * SECOND);
    for tick in 0..=6_000 {
        often.advance(START + tick * 10_000);
    }
    assert!(once.history.total() > 2_000, "{}", once.history.total());
    assert_eq!(once.truth(), often.truth());
    assert_ne!(once.truth(), other.truth());
}

#[test]
fn every_kind_of_change_happens() {
    let mut world = world(&busy());
    let before = world.truth();
    world.advance(START + 60 * SECOND);
    let seen: Vec<(u32, ItemState)> = world.history.after(0, usize::MAX).map(|(_, c)| *c).collect();
    let zero = seen.iter().filter(|(_, s)| s.status == Status::Ended).count();
    let extended = seen.iter().filter(|(_, s)| s.extended).count();
    let back = seen
        .iter()
        .filter(|(i, s)| {
            s.status == Status::Open
                && seen
                    .iter()
                    .any(|(j, e)| i == j && e.version + 1 == s.version && e.status == Status::Ended)
        })
        .count();
    assert!(zero > 50 && extended > 5 && back > 20, "{zero} {extended} {back}");
    let dearer = before
        .iter()
        .zip(world.truth())
        .any(|(a, b)| b.price_jpy > a.price_jpy && !b.seller_is_store);
    assert!(dearer);
}

#[test]
fn about_two_in_five_auctions_with_bids_are_extended() {
    let settings = SimulatorSettings {
        products: 2_000,
        auctions: AuctionSettings {
            share: 1.0,
            ends_after_s: 1.0,
            ends_within_s: 2.0,
            extension_s: 60.0,
            extended_share: 0.4,
        },
        relist_after_s: 1.0e6,
        ..SimulatorSettings::default()
    };
    let mut world = world(&settings);
    let with_bids = world.items.iter().filter(|i| i.now.bids > 0).count();
    world.advance(START + 3 * SECOND);
    let extended = world.items.iter().filter(|i| i.now.extended).count();
    let percent = extended * 100 / with_bids;
    assert!((36..=44).contains(&percent), "{extended} of {with_bids}");
    let over = world
        .items
        .iter()
        .filter(|i| i.now.status == Status::Ended)
        .count();
    assert_eq!(over + extended, 2_000);
}

#[test]
fn a_stopped_script_moves_nothing_but_the_ends_of_auctions() {
    let mut world = world(&busy());
    world.advance(START + 10 * SECOND);
    world.script.stop(true, START + 10 * SECOND);
    let changes = world.history.total();
    world.advance(START + 60 * SECOND);
    let later: Vec<_> = world
        .history
        .after(changes, usize::MAX)
        .map(|(_, c)| *c)
        .collect();
    assert!(
        later
            .iter()
            .all(|(_, s)| s.auction && (s.extended || s.status == Status::Ended))
    );
    world.script.stop(false, START + 60 * SECOND);
    let changes = world.history.total();
    world.advance(START + 70 * SECOND);
    assert!(world.history.total() > changes + 200);
}

#[test]
fn an_end_that_was_moved_does_not_come_at_its_old_time() {
    let mut world = world(&busy());
    let index = world.items.iter().position(|i| i.now.auction).unwrap();
    let item = u32::try_from(index).unwrap();
    let (old, new) = (world.items[index].now.ends_at, START + 200 * SECOND);
    world.items[index].pinned = true;
    world.change(item, START, |state| {
        state.bids = 0;
        state.ends_at = new;
    });
    world.advance(old + 10 * SECOND);
    assert_eq!(world.items[index].now.status, Status::Open);
    world.advance(new);
    assert_eq!(world.items[index].now.status, Status::Ended);
}

#[test]
fn what_waits_in_the_heap_does_not_grow_with_the_changes() {
    let mut world = world(&busy());
    world.advance(START + 600 * SECOND);
    assert!(world.history.total() > 20_000);
    assert!(world.script.due.len() < 2_000, "{}", world.script.due.len());
}

#[test]
fn a_pinned_item_is_left_alone() {
    let mut world = world(&busy());
    for item in &mut world.items {
        item.pinned = !item.now.auction;
    }
    world.advance(START + 30 * SECOND);
    assert!(
        world
            .items
            .iter()
            .filter(|i| i.pinned)
            .all(|i| i.now.version == 0)
    );
}
