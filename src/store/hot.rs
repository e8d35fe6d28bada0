//! Prepared once per connection: statements of fixed text that run often.
//!
//! diesel never keeps the prepared form of a `sql_query`, because it cannot know that its text is always the same, so
//! each run costs one more round trip and a parse. [`hot`] vouches for it. The text itself is the cache's key, so two
//! statements can never be mixed up; a text that is put together from values must not come here, or the cache grows
//! without bound.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Untyped;

/// A statement that is prepared once per connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot<Q>(Q);

/// Vouches that `query` always has the same text.
pub(crate) fn hot<Q>(query: Q) -> Hot<Q> {
    Hot(query)
}

impl<Q> Query for Hot<Q> {
    type SqlType = Untyped;
}

impl<Q> QueryId for Hot<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Hot<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}
