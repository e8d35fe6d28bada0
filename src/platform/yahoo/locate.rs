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
/// # Errors
/// A contract failure when there are two.
pub(super) fn page_data(body: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let mut found = None;
    for at in memmem::find_iter(body, b"var pageData") {
        let before = body.get(..at).unwrap_or_default().trim_ascii_end();
        if !matches!(before.last(), None | Some(b'>' | b';' | b'}')) {
            continue;
        }
        let block = body
            .get(at.saturating_add(12)..)
            .map(<[u8]>::trim_ascii_start)
            .and_then(|rest| rest.strip_prefix(b"="))
            .map(<[u8]>::trim_ascii_start)
            .filter(|rest| rest.first() == Some(&b'{'));
        if block.is_some() && std::mem::replace(&mut found, block).is_some() {
            return Err(Refusal::contract("pageData", "the page holds `pageData` twice"));
        }
    }
    Ok(found)
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
        assert!(page_data(b">var pageData={};var pageData={}").is_err());
    }
}
