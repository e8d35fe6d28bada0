//! What is done with listings when nothing is wrong over there.

use super::{Rig, failure, is_accepted, listing, revision};
use zaikoban::domain::{Currency, ErrorClass, ListingStatus, Money};
use zaikoban::platform::gateway::BATCH_REFUSED;
use zaikoban::platform::mercari::BAD_PRICE;
use zaikoban::platform::{Call, Destination, Revision};
use zaikoban::simulator::MercariSettings;

#[tokio::test]
async fn stock_and_price_are_set_and_read_back_and_stock_goes_in_one_call() {
    let rig = Rig::new();
    let mut sent: Vec<Revision> = (0..20).map(|i| rig.quantity(i, 7)).collect();
    sent[3].price = Money::yen(4_980).ok();
    sent[4] = revision(rig.listing(4), None, Some(300));
    assert_eq!(rig.mercari.requests(Call::Revise(&sent)), 3);
    let outcomes = rig.mercari.revise(&sent).await;
    assert_eq!(outcomes.len(), 20);
    assert!(outcomes.iter().all(is_accepted), "{outcomes:?}");
    let lines = rig.running.mercari_ledger(0, 100).entries;
    let of = |name: &str| lines.iter().filter(|line| &*line.operation == name).count();
    assert_eq!(
        (of("updateProductVariants"), of("updateProduct"), lines.len()),
        (19, 2, 21)
    );
    for (i, quantity, price) in [(3, 7, Some(4_980)), (4, 1, Some(300)), (5, 7, None)] {
        let shown = rig.mercari.read(&rig.listing(i)).await.unwrap();
        assert_eq!(
            (shown.status, shown.quantity.get()),
            (ListingStatus::Active, quantity)
        );
        assert_eq!(shown.price, Money::yen(i64::from(rig.entry(i).price)).ok());
        assert!(price.is_none_or(|yen| rig.entry(i).price == yen));
    }
}

#[tokio::test]
async fn more_than_twenty_take_several_calls_and_one_alone_takes_the_single_one() {
    let rig = Rig::new();
    let sent: Vec<Revision> = (0..30).map(|i| rig.quantity(i, 0)).collect();
    assert_eq!(rig.mercari.requests(Call::Revise(&sent)), 2);
    assert!(rig.mercari.revise(&sent).await.iter().all(is_accepted));
    assert!((0..30).all(|i| rig.entry(i).quantity == 0));
    assert!(
        rig.mercari
            .revise(&[rig.quantity(0, 2)])
            .await
            .iter()
            .all(is_accepted)
    );
    let last = rig.running.mercari_ledger(30, 10).entries;
    assert_eq!(last.len(), 1);
    assert_eq!(
        (&*last[0].operation, last[0].quantity),
        ("updateProductVariant", Some(2))
    );
    assert!(rig.mercari.revise(&[]).await.is_empty());
}

#[tokio::test]
async fn a_call_for_several_that_is_not_understood_is_told_and_never_made_again() {
    let rig = Rig::with(
        MercariSettings {
            takes_bulk: false,
            ..MercariSettings::default()
        },
        10_000,
    );
    let mut sent: Vec<Revision> = (0..3).map(|i| rig.quantity(i, 5)).collect();
    sent[0].price = Money::yen(5_000).ok();
    for outcome in rig.mercari.revise(&sent).await {
        let (error, unknown) = failure(&outcome);
        assert_eq!((&*error.code, unknown), (BATCH_REFUSED, false));
    }
    assert_eq!(rig.asked(), 1, "not even the price was sent");
    assert_eq!(rig.mercari.batch_size(), 1);
    assert!(rig.mercari.revise(&sent).await.iter().all(is_accepted));
    assert!((0..3).all(|i| rig.entry(i).quantity == 5));
    assert_eq!(rig.asked(), 5);
}

#[tokio::test]
async fn a_listing_is_hidden_and_shown_again_and_doing_so_twice_is_harmless() {
    let rig = Rig::new();
    let listing = rig.listing(0);
    for _ in 0..2 {
        rig.mercari.end(&listing).await.unwrap();
        assert_eq!(
            rig.mercari.read(&listing).await.unwrap().status,
            ListingStatus::Ended
        );
    }
    for _ in 0..2 {
        rig.mercari.relist(&listing).await.unwrap();
        assert_eq!(
            rig.mercari.read(&listing).await.unwrap().status,
            ListingStatus::Active
        );
    }
    let outcomes = rig
        .mercari
        .revise(&[rig.quantity(0, 4), rig.quantity(1, 4)])
        .await;
    assert!(outcomes.iter().all(is_accepted));
    let again = rig
        .mercari
        .revise(&[rig.quantity(0, 4), rig.quantity(1, 4)])
        .await;
    assert!(again.iter().all(is_accepted));
    assert_eq!((rig.entry(1).quantity, rig.entry(1).version), (4, 2));
}

#[tokio::test]
async fn a_sku_is_found_and_an_unknown_one_is_not() {
    let rig = Rig::new();
    let listing = rig.listing(2);
    let found = rig.mercari.find(&listing.sku).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].platform_product_id, listing.platform_product_id);
    assert!(found[0].is_active());
    assert!(rig.mercari.find("nobody's").await.unwrap().is_empty());
    let gone = super::listing("nobody's", "2JPr0");
    let error = rig.mercari.read(&gone).await.unwrap_err();
    assert_eq!(
        (error.class, &*error.code),
        (ErrorClass::NotFound, "mercari_not_found")
    );
    // A SKU that has moved to another product is not the listing that was linked.
    let moved = super::listing(&listing.sku, "2JPr0");
    let error = rig.mercari.read(&moved).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Protocol);
    assert_eq!(error.missing, [Box::<str>::from("productVariant.product.id")]);
    assert!(rig.mercari.reach().await.unwrap().date.is_some());
}

#[tokio::test]
async fn a_bad_entry_of_a_batch_does_not_hide_the_good_ones() {
    let rig = Rig::new();
    let gone = revision(listing("nobody's", "2JPr0"), Some(3), None);
    let outcomes = rig
        .mercari
        .revise(&[rig.quantity(0, 3), gone, rig.quantity(2, 3)])
        .await;
    assert!(
        is_accepted(&outcomes[0]) && is_accepted(&outcomes[2]),
        "{outcomes:?}"
    );
    let (error, unknown) = failure(&outcomes[1]);
    assert_eq!(
        (error.class, unknown),
        (ErrorClass::NotFound, true),
        "the answer does not name its SKU"
    );
    let gone = revision(listing("nobody's", "2JPr0"), Some(3), None);
    let alone = rig.mercari.revise(&[gone]).await;
    let (error, unknown) = failure(&alone[0]);
    assert_eq!((error.class, unknown), (ErrorClass::NotFound, false));
}

#[tokio::test]
async fn what_mercari_would_not_take_is_refused_before_anything_is_sent() {
    let rig = Rig::new();
    let at = |yen| revision(rig.listing(0), Some(0), Some(yen));
    let mut dollars = at(300);
    dollars.price = Some(Money::new(500.into(), Currency::Usd).unwrap());
    for bad in [at(0), at(299), at(10_000_000), dollars] {
        assert_eq!(&*rig.mercari.admits(&bad).unwrap_err().code, BAD_PRICE);
        let outcomes = rig.mercari.revise(std::slice::from_ref(&bad)).await;
        let (error, unknown) = failure(&outcomes[0]);
        assert_eq!(
            (error.class, &*error.code, unknown),
            (ErrorClass::Rejected, BAD_PRICE, false)
        );
    }
    let outcomes = rig
        .mercari
        .revise(&[rig.quantity(0, 1), rig.quantity(0, 2)])
        .await;
    assert!(is_accepted(&outcomes[0]));
    assert_eq!(&*failure(&outcomes[1]).0.code, "mercari_named_twice");
    for sku in ["", "a\nb", &"x".repeat(101)] {
        assert_eq!(
            rig.mercari.find(sku).await.unwrap_err().class,
            ErrorClass::Rejected
        );
    }
    assert_eq!(rig.asked(), 1);
    for good in [300, 9_999_999] {
        let outcomes = rig.mercari.revise(&[at(good)]).await;
        assert!(is_accepted(&outcomes[0]), "{outcomes:?}");
    }
}
