//! Finds the two JSON blocks of a page by searching its bytes, without a document tree.

use super::refusal::{Code, Refusal};
use memchr::memmem;

/// A tag longer than this is no script tag of Yahoo's.
const TAG_WITHIN_BYTES: usize = 512;

/// The JSON text of `<script id="__NEXT_DATA__" …>`, `None` when the page has none.
///
/// # Errors
/// [`Code::Truncated`] when the script does not end; a contract failure when there are two.
pub(super) fn next_data(body: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let mut found = None;
    for at in memmem::find_iter(body, b"__NEXT_DATA__") {
        if !is_id_of_script(body, at) {
            continue;
        }
        let script = body.get(at..).and_then(|rest| {
            let start = memchr::memchr(b'>', rest)?.checked_add(1)?;
            let rest = rest.get(start..)?;
            let end = memmem::find(rest, b"</script")?;
            rest.get(..end)
        });
        let Some(script) = script else {
            return Err(Refusal::naming(
                Code::Truncated,
                "__NEXT_DATA__",
                "the page breaks off inside `__NEXT_DATA__`",
            ));
        };
        if found.replace(script).is_some() {
            return Err(Refusal::contract(
                "__NEXT_DATA__",
                "the page holds `__NEXT_DATA__` twice",
            ));
        }
    }
    Ok(found)
}

/// Whether the name at `at` is the value of the id of a `<script>` tag.
fn is_id_of_script(body: &[u8], at: usize) -> bool {
    let before = body
        .get(at.saturating_sub(TAG_WITHIN_BYTES)..at)
        .unwrap_or_default();
    let Some(before) = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")) else {
        return false;
    };
    let Some(open) = memchr::memrchr(b'<', before) else {
        return false;
    };
    let tag = before.get(open..).unwrap_or_default();
    tag.len() > 7
        && tag
            .get(..7)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"<script"))
        && tag.get(7).is_some_and(u8::is_ascii_whitespace)
        && tag.ends_with(b"id=")
        && memchr::memchr(b'>', tag).is_none()
}

/// The text from the `{` of `var pageData = {` on, `None` when the page has none.
///
/// Only what stands as a statement in a script of code counts. What a seller writes also stands in JSON (the item's, the
/// search engines' and `pageData` itself) and in the description, and may look exactly like it.
///
/// # Errors
/// A contract failure when there are two.
pub(super) fn page_data(body: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let mut scripts = Scripts { body, next: 0 };
    let mut script: Option<Script<'_>> = None;
    // Where the object that was found begins.
    let mut found: Option<usize> = None;
    for at in memmem::find_iter(body, b"var pageData") {
        let before = body.get(..at).unwrap_or_default().trim_ascii_end();
        if !matches!(before.last(), Some(b'>' | b';' | b'}')) {
            continue;
        }
        let rest = body.get(at.saturating_add(12)..).map(<[u8]>::trim_ascii_start);
        let block = rest.and_then(|rest| Some(rest.strip_prefix(b"=")?.trim_ascii_start()));
        let Some(block) = block.filter(|block| block.first() == Some(&b'{')) else {
            continue;
        };
        while script.as_ref().is_none_or(|script| script.end <= at) {
            script = scripts.next();
            if script.is_none() {
                return Ok(found.and_then(|start| body.get(start..)));
            }
        }
        let is_code = script.as_ref().is_some_and(|s| s.begin <= at && !s.is_data());
        if !is_code || found.is_some_and(|start| at < end_of_json(body, start)) {
            continue;
        }
        if found.replace(body.len().saturating_sub(block.len())).is_some() {
            return Err(Refusal::contract("pageData", "the page holds `pageData` twice"));
        }
    }
    Ok(found.and_then(|start| body.get(start..)))
}

/// Where the JSON value ends that begins at `start`; there, when it is none.
fn end_of_json(body: &[u8], start: usize) -> usize {
    let mut values = serde_json::Deserializer::from_slice(body.get(start..).unwrap_or_default())
        .into_iter::<serde::de::IgnoredAny>();
    let _ = values.next();
    start.saturating_add(values.byte_offset())
}

/// A `<script>` element: its tag, and where its content begins and ends.
struct Script<'a> {
    tag: &'a [u8],
    begin: usize,
    end: usize,
}

impl Script<'_> {
    /// Whether it holds data and no code: `type="application/json"`, `application/ld+json`, or Next.js' own.
    fn is_data(&self) -> bool {
        memmem::find(self.tag, b"json").is_some() || memmem::find(self.tag, b"__NEXT_DATA__").is_some()
    }
}

/// The scripts of a page from its beginning on, read only as far as they are asked for.
struct Scripts<'a> {
    body: &'a [u8],
    next: usize,
}

impl<'a> Iterator for Scripts<'a> {
    type Item = Script<'a>;

    fn next(&mut self) -> Option<Script<'a>> {
        loop {
            let rest = self.body.get(self.next..)?;
            let open = memmem::find(rest, b"<script")?;
            let tag = rest.get(open.saturating_add(7)..)?;
            self.next = self.next.saturating_add(open).saturating_add(7);
            if !tag.first().is_some_and(|c| c.is_ascii_whitespace() || *c == b'>') {
                continue;
            }
            let (tag, content) = tag.split_at_checked(memchr::memchr(b'>', tag)?.saturating_add(1))?;
            let begin = self.next.saturating_add(tag.len());
            let end = begin.saturating_add(memmem::find(content, b"</script").unwrap_or(content.len()));
            self.next = end;
            return Some(Script { tag, begin, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_found_in_either_order_of_its_attributes() {
        for page in [
            r#"<p>__NEXT_DATA__</p><script id="__NEXT_DATA__" type="application/json">{}</script>"#,
            r#"<script type="application/json" crossorigin="anonymous" id='__NEXT_DATA__'>{}</script >"#,
        ] {
            assert_eq!(next_data(page.as_bytes()).unwrap(), Some(&b"{}"[..]), "{page}");
        }
    }

    #[test]
    fn look_alikes_are_not_the_script() {
        for page in [
            r#"<div id="__NEXT_DATA__">{}</div>"#,
            r#"<script data-x="__NEXT_DATA__">{}</script>"#,
            r#"<script>id="__NEXT_DATA__"</script>"#,
            r#"&lt;script id="__NEXT_DATA__"&gt;"#,
            "",
        ] {
            assert!(next_data(page.as_bytes()).unwrap().is_none(), "{page}");
        }
    }

    #[test]
    fn a_cut_script_and_a_second_one_are_refused() {
        let one = r#"<script id="__NEXT_DATA__">{}</script>"#;
        assert!(next_data(format!("{one}{one}").as_bytes()).is_err());
        for cut in [r#"<script id="__NEXT_DATA__">{"#, r#"<script id="__NEXT_DATA__"#] {
            assert_eq!(next_data(cut.as_bytes()).unwrap_err().code, Code::Truncated);
        }
    }

    #[test]
    fn page_data_is_found_in_a_script_and_not_in_a_title() {
        let page = br#"<script>var x=1; var pageData = {"items":{}};</script>"#;
        assert!(page_data(page).unwrap().unwrap().starts_with(b"{\"items\""));
        assert!(
            page_data(b"<script>\nvar pageData={};</script>")
                .unwrap()
                .is_some()
        );
        assert!(page_data(br#"{"title":"var pageData = {}"}"#).unwrap().is_none());
        assert!(page_data(b"<script>var pageData;</script>").unwrap().is_none());
    }

    #[test]
    fn of_two_that_stand_in_scripts_neither_counts() {
        for page in [
            "<script>var pageData={};var pageData={}</script>",
            "<script>var pageData={\"a\":\"}\"};var pageData={}</script>",
            "<script>var pageData={};</script><script async>var pageData={};</script>",
        ] {
            assert!(page_data(page.as_bytes()).is_err(), "{page}");
        }
    }

    #[test]
    fn what_looks_like_it_in_text_and_data_does_not_count() {
        let real =
            "<script>var pageData = {\"items\":{\"productName\":\"x; var pageData = {\\\"}\"}};</script>";
        for other in [
            "<script type=\"application/ld+json\">{\"name\":\"; var pageData = {\"}</script>",
            "<script type=\"application/json\">{\"a\":\"<script>; var pageData = {\"}</script>",
            "<script id='__NEXT_DATA__'>{\"a\":\"; var pageData = {\"}</script>",
            "<p>; var pageData = {</p>",
            "<b>a</b>var pageData = {",
            "<scripts>var pageData = {</scripts>",
            "",
        ] {
            for page in [format!("{other}{real}"), format!("{real}{other}")] {
                let found = page_data(page.as_bytes()).unwrap().unwrap();
                assert!(found.starts_with(b"{\"items\""), "{page}");
            }
            assert!(page_data(other.as_bytes()).unwrap().is_none(), "{other}");
        }
        let cut = "<p>; var pageData = {</p><script>var pageData = {\"items\"";
        assert!(
            page_data(cut.as_bytes())
                .unwrap()
                .unwrap()
                .starts_with(b"{\"items\"")
        );
    }
}
