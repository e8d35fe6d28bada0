//! What is asked as the application, about no listing: categories and quotas.

use super::super::client::{Ask, Reply};
use super::super::json::{self, At, Drift};
use super::super::{Ebay, contract, fault};
use crate::domain::ErrorClass;
use crate::platform::PlatformError;
use crate::platform::registrar::{Quota, Suggestion};
use chrono::{DateTime, Utc};
use serde_json::Value;
use url::Url;

const TAXONOMY: [&str; 3] = ["commerce", "taxonomy", "v1"];
const ANALYTICS: [&str; 3] = ["developer", "analytics", "v1_beta"];
/// The longest question that is sent.
const WORDS: usize = 300;
/// Resources without a bound tell nothing, and nobody reads more than this.
const QUOTAS: usize = 1_000;

impl Ebay {
    /// Categories that fit `words`; none when eBay suggests none.
    pub(super) async fn suggestions(
        &self,
        marketplace: &str,
        words: &str,
    ) -> Result<Vec<Suggestion>, PlatformError> {
        let doing = format!("tell the category tree of `{marketplace}`");
        let ask = [("marketplace_id", marketplace)];
        let url = self
            .client
            .address_of(&TAXONOMY, &["get_default_category_tree_id"], &ask);
        let tree = self.as_application(&doing, url).await?;
        let tree = tree.ok_or_else(|| nothing(&doing))?;
        let named = At::root("tree", &tree);
        let id = named
            .get("categoryTreeId")
            .and_then(|id| id.text().map(str::to_owned));
        let id = id.map_err(|drift| contract(&doing, &drift, &tree))?;
        let doing = "suggest a category";
        let words: String = words.chars().take(WORDS).collect();
        let parts = ["category_tree", &id, "get_category_suggestions"];
        let url = self.client.address_of(&TAXONOMY, &parts, &[("q", &words)]);
        let Some(body) = self.as_application(doing, url).await? else {
            return Ok(Vec::new());
        };
        suggestions(&At::root("answer", &body)).map_err(|drift| contract(doing, &drift, &body))
    }

    /// The application's and the seller's quotas of the Inventory API.
    pub(super) async fn quotas_left(&self) -> Result<Vec<Quota>, PlatformError> {
        let doing = "tell how many requests are left";
        let ask = [("api_context", "sell"), ("api_name", "inventory")];
        // The contract's paths end with a slash.
        let of = |path: &str| self.client.address_of(&ANALYTICS, &[path, ""], &ask);
        let mut all = Vec::new();
        if let Some(body) = self.as_application(doing, of("rate_limit")).await? {
            all.extend(quotas(&At::root("answer", &body)).map_err(|drift| contract(doing, &drift, &body))?);
        }
        let reply = self.client.send(doing, Ask::Get, of("user_rate_limit")).await;
        let reply = reply.map_err(|lost| lost.error)?;
        if let Some(body) = whole(doing, &reply)? {
            all.extend(quotas(&At::root("answer", &body)).map_err(|drift| contract(doing, &drift, &body))?);
        }
        Ok(all)
    }

    /// A body that is JSON; `None` for an answer without content.
    async fn as_application(&self, doing: &str, url: Url) -> Result<Option<Value>, PlatformError> {
        let bearer = self.app.access().await?;
        let reply = self.client.get_as(doing, &url, &bearer).await?;
        if reply.status != 401 {
            return whole(doing, &reply);
        }
        self.app.forget(&bearer).await;
        let bearer = self.app.access().await?;
        whole(doing, &self.client.get_as(doing, &url, &bearer).await?)
    }
}

fn whole(doing: &str, reply: &Reply) -> Result<Option<Value>, PlatformError> {
    match reply.status {
        204 => Ok(None),
        200 => json::parse(&reply.body).map(Some).map_err(|broken| {
            let drift = Drift {
                path: "body".into(),
                what: format!("expected JSON: {broken}"),
            };
            fault::contract(doing, &drift, fault::kept(&reply.body))
        }),
        _ => Err(reply.refusal(doing)),
    }
}

fn nothing(doing: &str) -> PlatformError {
    PlatformError {
        class: ErrorClass::Rejected,
        code: "ebay_no_tree".into(),
        message: format!("eBay did not {doing}: it has none").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

fn suggestions(at: &At<'_>) -> Result<Vec<Suggestion>, Drift> {
    let list = at
        .maybe("categorySuggestions")?
        .map(|list| list.items())
        .transpose()?;
    let mut found = Vec::new();
    for one in list.unwrap_or_default() {
        let category = one.get("category")?;
        let above = one
            .maybe("categoryTreeNodeAncestors")?
            .map(|list| list.items())
            .transpose()?;
        let mut path = Vec::new();
        for ancestor in above.unwrap_or_default() {
            let level = ancestor.get("categoryTreeNodeLevel")?.int()?;
            path.push((level, Box::from(ancestor.get("categoryName")?.text()?)));
        }
        path.sort_by_key(|(level, _)| *level);
        let mut path: Vec<Box<str>> = path.into_iter().map(|(_, name)| name).collect();
        path.push(category.get("categoryName")?.text()?.into());
        found.push(Suggestion {
            category: category.get("categoryId")?.text()?.into(),
            path,
        });
    }
    Ok(found)
}

fn quotas(at: &At<'_>) -> Result<Vec<Quota>, Drift> {
    let mut found = Vec::new();
    let apis = at.maybe("rateLimits")?.map(|list| list.items()).transpose()?;
    for api in apis.unwrap_or_default() {
        let context = api.get("apiContext")?.text()?.to_ascii_lowercase();
        let name = api.get("apiName")?.text()?.to_ascii_lowercase();
        if (context.as_str(), name.as_str()) != ("sell", "inventory") {
            continue;
        }
        for resource in api.get("resources")?.items()? {
            let named = resource.get("name")?.text()?;
            let rates = resource.maybe("rates")?.map(|list| list.items()).transpose()?;
            for rate in rates.unwrap_or_default().into_iter().take(QUOTAS) {
                found.push(Quota {
                    resource: named.into(),
                    limit: count(&rate, "limit")?,
                    remaining: count(&rate, "remaining")?,
                    reset: moment(&rate.get("reset")?)?,
                    window_s: count(&rate, "timeWindow")?,
                });
            }
        }
    }
    Ok(found)
}

fn count(at: &At<'_>, key: &str) -> Result<u64, Drift> {
    let number = at.get(key)?;
    u64::try_from(number.int()?).map_err(|_negative| number.drift("a number that is not negative"))
}

fn moment(at: &At<'_>) -> Result<DateTime<Utc>, Drift> {
    let text = at.text()?;
    text.parse().map_err(|_no_time| at.drift("a moment of ISO 8601"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_suggestion_is_told_with_its_path_from_the_root() {
        let body = json!({"categorySuggestions": [{
            "category": {"categoryId": "15230", "categoryName": "Film Cameras"},
            "categoryTreeNodeAncestors": [
                {"categoryId": "69323", "categoryName": "Film Photography", "categoryTreeNodeLevel": 2},
                {"categoryId": "625", "categoryName": "Cameras & Photo", "categoryTreeNodeLevel": 1}],
        }]});
        let found = suggestions(&At::root("answer", &body)).unwrap();
        assert_eq!(&*found[0].category, "15230");
        let path: Vec<&str> = found[0].path.iter().map(|p| &**p).collect();
        assert_eq!(path, ["Cameras & Photo", "Film Photography", "Film Cameras"]);
    }

    #[test]
    fn a_quota_without_a_number_is_no_zero() {
        let body = |rate: Value| {
            json!({"rateLimits": [{"apiContext": "sell", "apiName": "Inventory", "apiVersion": "v1",
                "resources": [{"name": "sell.inventory", "rates": [rate]}]}]})
        };
        let whole =
            json!({"limit": 5000, "remaining": 4, "reset": "2026-11-23T08:00:00.000Z", "timeWindow": 86400});
        let found = body(whole.clone());
        let found = quotas(&At::root("answer", &found)).unwrap();
        assert_eq!((found[0].limit, found[0].remaining), (5_000, 4));
        let mut others = body(whole.clone());
        for (key, other) in [("apiName", "Taxonomy"), ("apiContext", "buy")] {
            let mut api = others["rateLimits"][0].clone();
            api[key] = other.into();
            api["resources"][0]["rates"][0]["remaining"] = 0.into();
            others["rateLimits"].as_array_mut().unwrap().push(api);
        }
        let found = quotas(&At::root("answer", &others)).unwrap();
        assert_eq!(
            found.len(),
            1,
            "the quotas of another API are not ours: {found:?}"
        );
        for lacking in ["limit", "remaining", "reset", "timeWindow"] {
            let mut rate = whole.clone();
            rate.as_object_mut().unwrap().remove(lacking);
            let body = body(rate);
            let drift = quotas(&At::root("answer", &body)).unwrap_err();
            assert!(drift.path.ends_with(lacking), "{drift}");
        }
    }
}
