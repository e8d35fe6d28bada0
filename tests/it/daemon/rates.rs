//! Exchange rates of a source, in the real daemon.

use super::world::World;
use crate::support::bank::Bank;
use serde_json::Value;
use std::time::Duration;
use zaikoban::domain::day_in_frankfurt;

/// A rate is followed within 20 s, and listings are worked out after that.
const FOLLOWED: Duration = Duration::from_secs(60);

fn prices(listings: &Value) -> Vec<(i64, String)> {
    let rows = listings["items"].as_array().unwrap();
    let mut prices: Vec<(i64, String)> = rows
        .iter()
        .map(|row| (row["id"].as_i64().unwrap(), row["wanted_price"].to_string()))
        .collect();
    prices.sort();
    prices
}

#[tokio::test]
async fn a_quote_reprices_and_one_that_jumps_waits_for_a_person() {
    let bank = Bank::start().await;
    let today = day_in_frankfurt(zaikoban::clock::Clock::system().now());
    let endpoint = format!("http://{}", bank.address);
    let mut world = World::new("rates", 733, 20).await;
    world.set(&[
        ("EXCHANGE__SOURCE", "ecb"),
        ("EXCHANGE__ENDPOINT", &endpoint),
        ("SCHEDULES__EXCHANGE_RATES__ENABLED", "false"),
    ]);
    world.launch().await;
    world.register().await;
    world.settle(world.patience()).await;

    // until the first quote, the settings' rates
    let told = world.json("rates list").await;
    assert_eq!(
        (&told["in_use"]["source"], &told["in_use"]["rates"]["USD"]),
        (&"fixed".into(), &"150.0".into()),
        "{told}"
    );
    let before = prices(&world.json("listings list --limit 1000").await);
    bank.quotes(today, "156.50");
    let ran = world.cli("schedule run exchange_rates --wait").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        bank.asked(),
        ["GET /stats/eurofxref/eurofxref-daily.xml HTTP/1.1"],
        "one request, to the file"
    );
    let doctor = world.cli("doctor").await;
    let words: Vec<&str> = doctor.out.split_whitespace().collect();
    assert!(
        words.join(" ").contains("the newest that the source has"),
        "{doctor:?}"
    );
    let told = world.json("rates list").await;
    assert_eq!(told["items"][0]["status"], "accepted", "{told}");
    assert_eq!(told["in_use"]["source"], "ecb", "{told}");
    let table = world.shown("rates list").await;
    let row = [
        "ecb",
        &today.to_string(),
        "accepted",
        "yes",
        "156.5",
        "195.625",
        "4.3333",
    ];
    assert!(row.iter().all(|cell| table.contains(cell)), "{table}");
    let moved = world
        .until(
            "listings to follow the rate",
            FOLLOWED,
            "/v1/listings?limit=1000",
            |now| {
                let now = prices(now);
                let of = before.iter().zip(&now).find(|(old, new)| old != new);
                of.map(|(old, _)| old.0)
            },
        )
        .await;
    let story = world.shown(&format!("listings explain {moved}")).await;
    assert!(
        story.contains(&format!("yen for one unit (ecb, {today})")),
        "{story}"
    );

    // the same once more is nothing; a jump waits, and is told
    let ran = world.cli("schedule run exchange_rates --wait").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bank.quotes(today, "170.00");
    let ran = world.cli("schedule run exchange_rates --wait").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told = world.json("rates list").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 2, "{told}");
    let (waits, id) = (&told["items"][0], &told["items"][0]["id"]);
    assert_eq!(waits["status"], "waiting", "{told}");
    assert!(
        told["in_use"]["rates"]["USD"]
            .as_str()
            .unwrap()
            .starts_with("156.5"),
        "{told}"
    );
    let errors = world.json("errors list").await.to_string();
    assert!(errors.contains("exchange_rate_jumped"), "{errors}");
    let said = world.said(&format!("rates accept {id} --note checked")).await;
    assert!(said.contains("accepted"), "{said}");
    assert!(
        world
            .refused(&format!("rates refuse {id}"))
            .await
            .contains("accepted already")
    );
    world
        .until("the accepted rate to be followed", FOLLOWED, "/v1/rates", |now| {
            let usd = now["in_use"]["rates"]["USD"].as_str()?;
            usd.starts_with("170").then_some(())
        })
        .await;
    let errors = world.json("errors list").await.to_string();
    assert!(!errors.contains("exchange_rate_jumped"), "{errors}");

    // what cannot be read, or cannot be right, changes nothing and is a failure
    bank.says("<html>Service unavailable</html>");
    let ran = world.cli("schedule run exchange_rates --wait").await;
    assert!(
        ran.code == Some(1) && ran.err.contains("European Central Bank"),
        "{ran:?}"
    );
    bank.quotes(today, "1.70");
    let ran = world.cli("schedule run exchange_rates --wait").await;
    assert!(
        ran.code == Some(1) && ran.err.contains("cannot be right"),
        "{ran:?}"
    );
    let told = world.json("rates list").await;
    assert_eq!(told["items"].as_array().unwrap().len(), 2, "{told}");

    // a daemon that starts again prices by what was accepted, at once
    world.kill().await;
    world.launch().await;
    let told = world.json("rates list").await;
    assert!(
        told["in_use"]["rates"]["USD"]
            .as_str()
            .unwrap()
            .starts_with("170"),
        "{told}"
    );
    world.finish().await;
}
