//! `src/store/schema.rs` is what the migrations make.

use crate::support::pg::TestDb;
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str = "//! The tables as diesel sees them.\n//!\n//! Written by the test `store::schema::the_tables_in_the_program_are_those_in_the_database` from a migrated database. After a\n//! change of the migrations, run it and copy the file that it names.\n\n";

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    type_name: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    names: String,
}

#[derive(QueryableByName)]
struct Reference {
    #[diesel(sql_type = Text)]
    child: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    parent: String,
}

#[tokio::test]
async fn the_tables_in_the_program_are_those_in_the_database() {
    let t = TestDb::new().await;
    let made = render(&mut t.db().conn().await.unwrap()).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = std::fs::read_to_string(root.join("src/store/schema.rs")).unwrap();
    if made != kept {
        let path = root.join("target/schema.rs");
        std::fs::write(&path, made).unwrap();
        panic!(
            "src/store/schema.rs is not what the migrations make: cp {} src/store/schema.rs",
            path.display()
        );
    }
}

async fn render(conn: &mut AsyncPgConnection) -> String {
    // partitions are parts of their table, not tables of their own
    let columns: Vec<Column> = diesel::sql_query(
        "SELECT c.relname::text AS table_name, a.attname::text AS column_name, t.typname::text AS type_name, \
         NOT a.attnotnull AS nullable \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         JOIN pg_type t ON t.oid = a.atttypid \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
         AND c.relname NOT LIKE '\\_\\_diesel%' ORDER BY c.relname, a.attnum",
    )
    .load(conn)
    .await
    .unwrap();
    let keys: Vec<Named> = diesel::sql_query(
        "SELECT c.relname::text AS table_name, string_agg(a.attname, ', ' ORDER BY k.place) AS names \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
         CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
         WHERE i.indisprimary GROUP BY c.relname",
    )
    .load(conn)
    .await
    .unwrap();
    let references: Vec<Reference> = diesel::sql_query(
        "SELECT c.conrelid::regclass::text AS child, a.attname::text AS column_name, \
         c.confrelid::regclass::text AS parent \
         FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
         WHERE c.contype = 'f' ORDER BY 1, 2",
    )
    .load(conn)
    .await
    .unwrap();

    let mut text = HEAD.to_owned();
    let mut tables: Vec<&str> = columns.iter().map(|c| c.table_name.as_str()).collect();
    tables.dedup();
    for table in &tables {
        let key = &keys.iter().find(|k| k.table_name == *table).unwrap().names;
        writeln!(text, "diesel::table! {{\n    {table} ({key}) {{").unwrap();
        for column in columns.iter().filter(|c| c.table_name == *table) {
            writeln!(text, "        {} -> {},", column.column_name, type_of(column)).unwrap();
        }
        text.push_str("    }\n}\n\n");
    }
    for r in &references {
        // two tables that refer to each other, and one that refers twice, are joined by hand
        let ways = references
            .iter()
            .filter(|o| {
                (&o.child, &o.parent) == (&r.child, &r.parent)
                    || (&o.child, &o.parent) == (&r.parent, &r.child)
            })
            .count();
        if ways == 1 {
            writeln!(
                text,
                "diesel::joinable!({} -> {} ({}));",
                r.child, r.parent, r.column_name
            )
            .unwrap();
        }
    }
    writeln!(
        text,
        "\ndiesel::allow_tables_to_appear_in_same_query!(\n    {},\n);",
        tables.join(",\n    ")
    )
    .unwrap();
    text
}

fn type_of(column: &Column) -> String {
    let plain = |name: &str| match name {
        "int8" => "BigInt",
        "int4" => "Integer",
        "int2" => "SmallInt",
        "text" | "varchar" | "bpchar" => "Text",
        "timestamptz" => "Timestamptz",
        "date" => "Date",
        "numeric" => "Numeric",
        "bool" => "Bool",
        "jsonb" => "Jsonb",
        "uuid" => "Uuid",
        "float4" => "Float",
        "float8" => "Double",
        other => panic!("`{other}` has no diesel type here yet"),
    };
    let inner = match column.type_name.strip_prefix('_') {
        Some(element) => format!("Array<{}>", plain(element)),
        None => plain(&column.type_name).to_owned(),
    };
    if column.nullable {
        format!("Nullable<{inner}>")
    } else {
        inner
    }
}
