//! Migrations up, down, again, twice at once, broken off, and from the future; partitions.

use crate::support::pg::TestDb;
use chrono::{DateTime, Utc};
use zaikoban::store::migrate::{self, SchemaStatus};
use zaikoban::store::partitions::ensure_partitions;

const DUMP: &str = "SELECT string_agg(d, E'\\n' ORDER BY d) FROM ( \
    SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull AS d \
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') \
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
    UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal) AS all_of_it";

#[tokio::test]
async fn migrations_go_up_down_and_up_to_the_same_schema() {
    let t = TestDb::empty().await;
    let status = migrate::status(t.db()).await.unwrap();
    assert!(status.applied.is_empty() && !status.pending.is_empty());
    let up = migrate::up(t.db()).await.unwrap();
    assert_eq!(up, status.pending);
    let first = t.text(DUMP).await;
    assert_eq!(migrate::redo(t.db()).await.unwrap().len(), 1);
    assert_eq!(
        t.text(DUMP).await,
        first,
        "down.sql leaves something, or takes too little"
    );
    assert_eq!(migrate::down(t.db(), 99).await.unwrap().len(), up.len());
    let left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '%diesel%'";
    assert_eq!(t.text(left).await, "0");
    assert_eq!(
        t.text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
            .await,
        "0"
    );
    migrate::up(t.db()).await.unwrap();
    assert_eq!(t.text(DUMP).await, first);
}

#[tokio::test]
async fn two_daemons_that_migrate_at_once_do_it_once() {
    let t = TestDb::empty().await;
    let (one, other) = tokio::join!(migrate::up(t.db()), migrate::up(t.db()));
    let mut done = [one.unwrap().len(), other.unwrap().len()];
    done.sort();
    assert_eq!(done, [0, migrate::status(t.db()).await.unwrap().applied.len()]);
}

#[tokio::test]
async fn a15_a_migration_that_is_broken_off_leaves_the_version_before_it() {
    let t = TestDb::empty().await;
    // the last statements of the first migration meet a function of this name, after all the tables were made
    t.run("CREATE FUNCTION processing_queue_ready() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'").await;
    let failed = migrate::up(t.db()).await.unwrap_err().to_string();
    assert!(
        failed.contains("failed and was rolled back") && failed.contains("processing_queue_ready"),
        "{failed}"
    );
    assert_eq!(
        t.text("SELECT count(*) FROM pg_tables WHERE tablename = 'processing_queue'")
            .await,
        "0"
    );
    t.run("DROP FUNCTION processing_queue_ready").await;
    migrate::up(t.db()).await.unwrap();
}

/// The session dies at each statement of all migrations in turn; what stands afterwards is one of the versions, whole, and
/// the next start goes on from it.
#[tokio::test]
async fn a15_a_migration_that_dies_at_any_statement_leaves_a_whole_version() {
    let t = TestDb::empty().await;
    let mut versions = vec![String::new()];
    let whole = {
        let fresh = TestDb::empty().await;
        let all = migrate::up(fresh.db()).await.unwrap().len();
        for left in (0..all).rev() {
            versions.insert(1, fresh.text(DUMP).await);
            assert_eq!(migrate::down(fresh.db(), 1).await.unwrap().len(), 1, "{left}");
        }
        // With nothing applied there is diesel's own table, or not even that.
        versions.insert(1, fresh.text(DUMP).await);
        versions.last().unwrap().clone()
    };
    t.run(
        "CREATE SCHEMA a15; CREATE SEQUENCE a15.passed; CREATE TABLE a15.dies (at bigint); INSERT INTO a15.dies VALUES (0);
         CREATE FUNCTION a15.maybe_die() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('a15.passed') = (SELECT at FROM a15.dies) THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
         END $$;
         CREATE EVENT TRIGGER a15_dies ON ddl_command_end EXECUTE FUNCTION a15.maybe_die()",
    )
    .await;
    let mut deaths = 0;
    for at in 1.. {
        t.run(&format!(
            "SELECT setval('a15.passed', 1, false); UPDATE a15.dies SET at = {at}"
        ))
        .await;
        let ended = migrate::up(t.db()).await;
        t.run("UPDATE a15.dies SET at = 0").await;
        let stands = t.text(DUMP).await;
        assert!(
            versions.contains(&stands),
            "statement {at}: half a version stands"
        );
        match ended {
            Ok(_) => break,
            Err(error) => assert!(error.is_outage(), "statement {at}: {error}"),
        }
        deaths += 1;
        let done = migrate::up(t.db()).await.unwrap();
        assert!(!done.is_empty(), "statement {at}: the next start goes on");
        assert_eq!(t.text(DUMP).await, whole, "statement {at}");
        migrate::down(t.db(), 99).await.unwrap();
    }
    println!("a15: died at each of {deaths} statements");
    assert!(deaths > 40, "{deaths} statements");
}

#[tokio::test]
async fn b16_a_database_from_the_future_is_refused() {
    let t = TestDb::new().await;
    t.run("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000001')")
        .await;
    for refused in [
        migrate::up(t.db()).await.map(|_| ()),
        migrate::status(t.db()).await.map(|_: SchemaStatus| ()),
        migrate::down(t.db(), 1).await.map(|_| ()),
    ] {
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("schema 20990101000001, this binary knows ≤ 2026"),
            "{text}"
        );
    }
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

async fn rows_of(t: &TestDb) -> String {
    t.text(
        "SELECT string_agg(tableoid::regclass || ' ' || version, ', ' ORDER BY version) FROM stock_history",
    )
    .await
}

async fn change(t: &TestDb, version: i64, created_at: &str) {
    t.run(&format!(
        "INSERT INTO stock_history (product_id, new_stock, change_type, change_source, watch_id, version, created_at) \
         VALUES (1, 0, 'stock_change', 'yahoo', 1, {version}, '{created_at}')"
    ))
    .await;
}

#[tokio::test]
async fn partitions_are_made_ahead_and_rows_without_a_month_move_into_theirs() {
    let t = TestDb::new().await;
    change(&t, 1, "2026-11-30T23:59:59Z").await;
    change(&t, 2, "2026-12-01T00:00:00Z").await;
    change(&t, 3, "2031-01-01T00:00:00Z").await;
    assert_eq!(
        rows_of(&t).await,
        "stock_history_default 1, stock_history_default 2, stock_history_default 3"
    );

    let now = at("2026-11-15T00:00:00Z");
    let names = [
        "stock_history_2026_11",
        "stock_history_2026_12",
        "stock_history_2027_01",
    ];
    assert_eq!(ensure_partitions(t.db(), now).await.unwrap(), names);
    assert_eq!(
        ensure_partitions(t.db(), now).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        rows_of(&t).await,
        "stock_history_2026_11 1, stock_history_2026_12 2, stock_history_default 3"
    );

    change(&t, 4, "2027-01-31T23:59:59Z").await;
    assert!(rows_of(&t).await.ends_with("stock_history_2027_01 4"));
    let next = ensure_partitions(t.db(), at("2026-12-01T00:00:00Z"))
        .await
        .unwrap();
    assert_eq!(next, ["stock_history_2027_02"]);
    assert_eq!(
        t.text("SELECT count(DISTINCT id) FROM stock_history").await,
        "4",
        "the identity goes on"
    );
    migrate::redo(t.db()).await.unwrap();
}

#[tokio::test]
async fn two_daemons_that_make_partitions_at_once_do_it_once() {
    let t = TestDb::new().await;
    let now = at("2026-11-15T00:00:00Z");
    let (one, other) = tokio::join!(ensure_partitions(t.db(), now), ensure_partitions(t.db(), now));
    assert_eq!(one.unwrap().len() + other.unwrap().len(), 3);
}
