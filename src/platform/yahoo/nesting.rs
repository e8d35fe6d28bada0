//! How deep a document nests, at most, found in one pass without building it.
//!
//! The parser behind `select` is recursive and quadratic in depth: a page of a few thousand unclosed `<div>`s ends the
//! process. So a page is measured first. The measure may be larger than the truth (then an odd page is refused), never
//! smaller by much: every start tag counts; an end tag takes one off only when the innermost open element is the one it
//! names, perhaps behind elements that HTML closes by itself. End tags that HTML ignores therefore take nothing off,
//! and neither do those inside attributes, comments and scripts, because tags are cut as the standard's tokenizer cuts
//! them. Text inside `<style>`, `<textarea>` and the like is counted as if it were tags, which can only raise the measure.

/// Elements that never have content.
const VOID: [&[u8]; 16] = [
    b"area",
    b"base",
    b"basefont",
    b"bgsound",
    b"br",
    b"col",
    b"embed",
    b"frame",
    b"hr",
    b"img",
    b"input",
    b"link",
    b"meta",
    b"source",
    b"track",
    b"wbr",
];
/// Elements that the end tag of what surrounds them closes too.
const IMPLIED_END: [&[u8]; 7] = [b"dd", b"dt", b"li", b"optgroup", b"option", b"p", b"rt"];
/// End tags that HTML treats in ways of their own when something else stands open inside.
const FORMATTING: [&[u8]; 14] = [
    b"a", b"b", b"big", b"code", b"em", b"font", b"i", b"nobr", b"s", b"small", b"strike", b"strong", b"tt",
    b"u",
];
/// Drawing elements that are written `<path …/>`; elsewhere the slash means nothing.
const DRAWING: [&[u8]; 10] = [
    b"path",
    b"circle",
    b"rect",
    b"line",
    b"polygon",
    b"polyline",
    b"ellipse",
    b"use",
    b"stop",
    b"image",
];
/// Drawing elements with content that stay drawing.
const DRAWING_GROUPS: [&[u8]; 7] = [
    b"svg",
    b"g",
    b"defs",
    b"lineargradient",
    b"radialgradient",
    b"clippath",
    b"mask",
];

/// Whether no element of `html` stands deeper than `limit`.
pub(super) fn within(html: &str, limit: usize) -> bool {
    let mut open: Vec<&[u8]> = Vec::new();
    let mut rest = html.as_bytes();
    while let Some(at) = memchr::memchr(b'<', rest) {
        rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        match rest.first() {
            // Text or not, depending on the element around it, so that what follows would be a guess.
            Some(b'!') if rest.starts_with(b"![CDATA[") && is_foreign(&open) => return false,
            Some(b'!') => rest = after_declaration(rest),
            Some(b'?') => rest = after(rest, b'>'),
            Some(b'/') if rest.get(1).is_some_and(u8::is_ascii_alphabetic) => {
                let (name, _, tail) = tag(rest.get(1..).unwrap_or_default());
                rest = tail;
                close(&mut open, name);
            }
            Some(b'/') => rest = after(rest, b'>'),
            Some(c) if c.is_ascii_alphabetic() => {
                let (name, closed, tail) = tag(rest);
                rest = tail;
                let drawing = open.last().is_some_and(|top| is_any(top, &DRAWING_GROUPS));
                let empty = is_any(name, &VOID) || (closed && drawing && is_any(name, &DRAWING));
                // Inside a drawing or a formula a script is an element like any other.
                if name.eq_ignore_ascii_case(b"script") && !is_foreign(&open) {
                    rest = after_script(rest);
                } else if !empty {
                    open.push(name);
                    if open.len() > limit {
                        return false;
                    }
                }
            }
            _ => {}
        }
    }
    true
}

/// Whether a drawing or a formula is open, where other rules hold.
fn is_foreign(open: &[&[u8]]) -> bool {
    open.iter().any(|name| is_any(name, &[b"svg", b"math"]))
}

fn is_any(name: &[u8], list: &[&[u8]]) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn close(open: &mut Vec<&[u8]>, name: &[u8]) {
    let implied = if is_any(name, &FORMATTING) {
        0
    } else {
        open.iter()
            .rev()
            .take_while(|top| is_any(top, &IMPLIED_END) && !top.eq_ignore_ascii_case(name))
            .count()
    };
    let below = open.len().saturating_sub(implied);
    if let Some(index) = below.checked_sub(1)
        && open.get(index).is_some_and(|top| top.eq_ignore_ascii_case(name))
    {
        open.truncate(index);
    }
}

/// Reads a tag from its name on: the name, whether it ends in `/>`, and what follows.
fn tag(text: &[u8]) -> (&[u8], bool, &[u8]) {
    let end = text
        .iter()
        .position(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>'))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [b'/', b'>', tail @ ..] => return (name, true, tail),
            [b'>', tail @ ..] => return (name, false, tail),
            [] => return (name, false, rest),
            [b'/', tail @ ..] => rest = tail,
            _ => rest = after_attribute(rest),
        }
    }
}

/// Behind one attribute. Its first byte belongs to its name, even an `=`.
fn after_attribute(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .skip(1)
        .position(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>' | b'='))
        .map_or(text.len(), |i| i.saturating_add(1));
    let rest = text.get(end..).unwrap_or_default().trim_ascii_start();
    let Some(value) = rest.strip_prefix(b"=") else {
        return rest;
    };
    let value = value.trim_ascii_start();
    match value {
        [quote @ (b'"' | b'\''), tail @ ..] => after(tail, *quote),
        [b'>', ..] => value,
        _ => {
            let end = value
                .iter()
                .position(|b| b.is_ascii_whitespace() || *b == b'>')
                .unwrap_or(value.len());
            value.get(end..).unwrap_or_default()
        }
    }
}

/// Behind the next `stop`; nothing when there is none.
fn after(text: &[u8], stop: u8) -> &[u8] {
    memchr::memchr(stop, text)
        .and_then(|at| text.get(at.saturating_add(1)..))
        .unwrap_or_default()
}

/// Behind a comment, or a declaration such as `<!DOCTYPE html>`.
fn after_declaration(text: &[u8]) -> &[u8] {
    let Some(comment) = text.strip_prefix(b"!--") else {
        return after(text, b'>');
    };
    if let Some(tail) = comment.strip_prefix(b">").or_else(|| comment.strip_prefix(b"->")) {
        return tail;
    }
    let mut rest = comment;
    while let Some(at) = memchr::memmem::find(rest, b"--") {
        rest = rest.get(at.saturating_add(2)..).unwrap_or_default();
        if let Some(tail) = rest.strip_prefix(b">").or_else(|| rest.strip_prefix(b"!>")) {
            return tail;
        }
        // `--->` ends a comment as well: look again from the second dash.
        if rest.first() == Some(&b'-') {
            rest = comment
                .get(comment.len().saturating_sub(rest.len()).saturating_sub(1)..)
                .unwrap_or_default();
        }
    }
    &[]
}

/// Behind the script's end tag.
fn after_script(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, b"</") {
        rest = rest.get(at.saturating_add(2)..).unwrap_or_default();
        let named = rest
            .get(..6)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"script"));
        let ended = rest
            .get(6)
            .is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>'));
        if named && ended {
            return tag(rest).2;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn well_formed_pages_are_measured_exactly() {
        let page = "<!DOCTYPE html><html><head><meta charset=utf-8><script>if(a<b){x='<div>'}</script></head>\
                    <body><ul><li>a<li>b</ul><svg><g><path d='M0'/><path/></g></svg><img src=x><br/>\
                    <a title='</a>'>x</a><!-- <b><b> --></body></html>";
        assert!(within(page, 5));
        assert!(!within(page, 4));
        let long = "<p><span>x</span></p><svg><path/></svg>".repeat(10_000);
        assert!(within(&long, 2));
    }

    #[test]
    fn no_trick_hides_nesting() {
        for trick in [
            "<div>",
            "<div/>",
            "<div></x>",
            "<div a=\"</div>\">",
            "<div a=b\"> ",
            "<!--><div>-->",
            "<div><!-- </div> --!>",
            "<div><!-- </div> --->",
            "<div><style></div></style>",
            "<div><script></div></script>",
            "<svg><div><path/>",
            "<path/>",
            "<div><table><tr><td></div>",
            "<b><p></b>",
            "<div><?</div>?>",
            "<div></ div>",
            "<math><script><g><style></script></style></math>",
            "<svg><foreignObject><div><svg><![CDATA[></svg></div>]]>",
        ] {
            assert!(!within(&trick.repeat(2_000), 500), "{trick}");
        }
    }

    #[test]
    fn a_document_within_the_limit_does_not_end_the_parser() {
        let page = format!("{}x{}", "<div>".repeat(500), "</div>".repeat(500));
        assert!(within(&page, 500));
        assert!(select::document::Document::from(page.as_str()).nodes.len() > 500);
    }

    proptest! {
        /// The deepest element of the parsed document is never much deeper than measured (html, head and body and a
        /// table's implied rows are added by the parser).
        #[test]
        fn the_measure_is_not_below_the_parsers_depth(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("<div>"), Just("</div>"), Just("<p>"), Just("</p>"), Just("<b>"), Just("</b>"),
                    Just("<table>"), Just("<td>"), Just("</table>"), Just("<li>"), Just("<ul>"), Just("</ul>"),
                    Just("<svg>"), Just("<path/>"), Just("</svg>"), Just("<a x='</div>'>"), Just("</a>"),
                    Just("<!--"), Just("-->"), Just("<script>"), Just("</script>"), Just("<style>"),
                    Just("</style>"), Just("<select>"), Just("</select>"), Just("\""), Just("'"), Just("<br/>"),
                    Just("<div a=\""), Just("\">"), Just("<div/>"), Just("</"), Just(">"), Just("x"),
                    Just("<textarea>"), Just("</textarea>"), Just("<button>"), Just("<form>"), Just("</form>"),
                    Just("<g>"), Just("<foreignObject>"), Just("<title>"), Just("</title>"), Just("<math>"),
                    Just("</math>"), Just("<mi>"), Just("</foreignObject>"), Just("<![CDATA["), Just("]]>"),
                ],
                0..60,
            )
        ) {
            let html = parts.concat();
            let mut low = 0;
            while !within(&html, low) {
                low += 1;
                if low > parts.len() {
                    // Refused whatever the limit.
                    return Ok(());
                }
            }
            let document = select::document::Document::from(html.as_str());
            let mut deepest = 0;
            for node in &document.nodes {
                let mut depth = 0;
                let mut at = node.parent;
                while let Some(index) = at {
                    depth += 1;
                    at = document.nodes[index].parent;
                }
                deepest = deepest.max(depth);
            }
            // Each table may add two implied levels, each unclosed formatting element one more per paragraph.
            let implied = 5 + 3 * parts.iter().filter(|p| p.starts_with("<t") || **p == "<b>" || p.starts_with("<a")).count();
            prop_assert!(deepest <= low + implied, "{deepest} > {low} + {implied}: {html}");
        }
    }
}
