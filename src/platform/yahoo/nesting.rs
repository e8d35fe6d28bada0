//! How deep a document nests, measured by the parser itself before a tree is built.
//!
//! `select` walks its tree by recursion, and the parser takes time that grows with the square of the depth: a page of a
//! few thousand unclosed `<div>`s ends the process. What nests is for the standard's parser to say (scripts, comments,
//! drawings, formulas and unclosed formatting have rules of their own, and every shorter rule was found to hide
//! something), so the same parser runs first, piece by piece, over a sink that keeps nothing but who stands in whom.

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::TreeSink;
use html5ever::{
    Attribute, ExpandedName, ParseOpts, QualName, local_name, namespace_url, ns, parse_document,
};
use std::borrow::Cow;

/// How much is read between two looks at the depth: what can be hidden in it bounds the parser's work.
const PIECE_BYTES: usize = 4_096;
/// Steps that moving children about may take; a page that needs more was made for it.
const MOST_STEPS: usize = 50_000_000;
/// Nodes that a page may have (a real one has some 3,000): unclosed formatting is opened again in every block, by which
/// four megabytes could become a hundred million of them.
const MOST_NODES: usize = 200_000;

/// Whether no element of `html` stands deeper than `limit`.
pub(super) fn within(html: &str, limit: usize) -> bool {
    let mut parser = parse_document(Outline::new(), ParseOpts::default());
    let mut rest = html;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(piece_end(rest));
        rest = tail;
        parser.process(piece.into());
        if !parser.tokenizer.sink.sink.is_within(limit) {
            return false;
        }
    }
    parser.finish().is_within(limit)
}

/// Where the first piece of `text` ends, between two characters.
fn piece_end(text: &str) -> usize {
    (PIECE_BYTES..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

/// Who stands in whom.
struct Outline {
    nodes: Vec<Node>,
    steps: usize,
}

struct Node {
    name: QualName,
    is_element: bool,
    /// `<annotation-xml>` of a formula that holds HTML, where the rules of HTML hold again.
    holds_html: bool,
    parent: Option<usize>,
}

/// The document's own place.
const DOCUMENT: usize = 0;

impl Outline {
    fn new() -> Self {
        let mut outline = Self {
            nodes: Vec::new(),
            steps: 0,
        };
        outline.add(nameless());
        outline
    }

    fn add(&mut self, name: QualName) -> usize {
        self.nodes.push(Node {
            name,
            is_element: false,
            holds_html: false,
            parent: None,
        });
        self.nodes.len().saturating_sub(1)
    }

    fn parent(&self, node: usize) -> Option<usize> {
        self.nodes.get(node).and_then(|n| n.parent)
    }

    fn put(&mut self, child: &NodeOrText<usize>, parent: Option<usize>) {
        if let NodeOrText::AppendNode(child) = child
            && let Some(node) = self.nodes.get_mut(*child)
        {
            node.parent = parent;
        }
    }

    fn is_within(&self, limit: usize) -> bool {
        self.steps <= MOST_STEPS && self.nodes.len() <= MOST_NODES && self.deepest() <= limit
    }

    /// The depth of the deepest element; the outermost stands at 1.
    fn deepest(&self) -> usize {
        let mut depths: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut path = Vec::new();
        let mut deepest = 0;
        for start in 0..self.nodes.len() {
            let mut at = Some(start);
            let mut depth = 0_usize;
            while let Some(node) = at {
                if let Some(known) = depths.get(node).copied().flatten() {
                    depth = known;
                    break;
                }
                path.push(node);
                at = self.parent(node);
            }
            while let Some(node) = path.pop() {
                depth = depth.saturating_add(usize::from(self.nodes.get(node).is_some_and(|n| n.is_element)));
                if let Some(slot) = depths.get_mut(node) {
                    *slot = Some(depth);
                }
            }
            deepest = deepest.max(depth);
        }
        deepest
    }
}

fn nameless() -> QualName {
    QualName::new(None, ns!(), local_name!(""))
}

// === impl TreeSink ===

impl TreeSink for Outline {
    type Handle = usize;
    type Output = Self;

    fn finish(self) -> Self {
        self
    }

    fn parse_error(&mut self, _: Cow<'static, str>) {}

    fn get_document(&mut self) -> usize {
        DOCUMENT
    }

    fn elem_name<'a>(&'a self, target: &'a usize) -> ExpandedName<'a> {
        // Only handles that `create_element` gave out are asked about; the document's stands in for none.
        static NAMELESS: std::sync::LazyLock<QualName> = std::sync::LazyLock::new(nameless);
        self.nodes
            .get(*target)
            .map_or_else(|| NAMELESS.expanded(), |n| n.name.expanded())
    }

    fn create_element(&mut self, name: QualName, _: Vec<Attribute>, flags: ElementFlags) -> usize {
        let element = self.add(name);
        if let Some(node) = self.nodes.get_mut(element) {
            node.is_element = true;
            node.holds_html = flags.mathml_annotation_xml_integration_point;
        }
        element
    }

    fn create_comment(&mut self, _: StrTendril) -> usize {
        self.add(nameless())
    }

    fn create_pi(&mut self, _: StrTendril, _: StrTendril) -> usize {
        self.add(nameless())
    }

    fn append(&mut self, parent: &usize, child: NodeOrText<usize>) {
        self.put(&child, Some(*parent));
    }

    fn append_based_on_parent_node(&mut self, element: &usize, prev: &usize, child: NodeOrText<usize>) {
        let parent = self.parent(*element).or(Some(*prev));
        self.put(&child, parent);
    }

    fn append_doctype_to_document(&mut self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&mut self, target: &usize) -> usize {
        // As deep as if it stood in the element itself, which is where a reader finds it.
        *target
    }

    fn same_node(&self, x: &usize, y: &usize) -> bool {
        x == y
    }

    fn set_quirks_mode(&mut self, _: QuirksMode) {}

    fn append_before_sibling(&mut self, sibling: &usize, new: NodeOrText<usize>) {
        let parent = self.parent(*sibling);
        self.put(&new, parent);
    }

    fn add_attrs_if_missing(&mut self, _: &usize, _: Vec<Attribute>) {}

    fn remove_from_parent(&mut self, target: &usize) {
        self.put(&NodeOrText::AppendNode(*target), None);
    }

    fn reparent_children(&mut self, node: &usize, new_parent: &usize) {
        self.steps = self.steps.saturating_add(self.nodes.len());
        if self.steps > MOST_STEPS {
            return;
        }
        for child in self.nodes.iter_mut().filter(|n| n.parent == Some(*node)) {
            child.parent = Some(*new_parent);
        }
    }

    fn is_mathml_annotation_xml_integration_point(&self, target: &usize) -> bool {
        self.nodes.get(*target).is_some_and(|node| node.holds_html)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use select::document::Document;

    #[test]
    fn well_formed_pages_are_measured_exactly() {
        let page = "<!DOCTYPE html><html><head><meta charset=utf-8><script>if(a<b){x='<div>'}</script></head>\
                    <body><ul><li>a<li>b</ul><svg><g><path d='M0'/><path/></g></svg><img src=x><br/>\
                    <a title='</a>'>x</a><!-- <b><b> --></body></html>";
        assert!(within(page, 5));
        assert!(!within(page, 4));
        let long = "<p><span>x</span></p><svg><path/></svg>".repeat(10_000);
        assert!(within(&long, 4) && !within(&long, 3));
    }

    #[test]
    fn no_trick_hides_nesting() {
        let divs = "<div>".repeat(2_000);
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
            "<div><script><!--<script></script></div></script>",
            "<path/>",
            "<div><table><tr><td></div>",
            "<div><?</div>?>",
            "<div></ div>",
            "<svg><foreignObject><div><svg><![CDATA[></svg></div>]]>",
        ] {
            assert!(!within(&trick.repeat(2_000), 500), "{trick}");
        }
        for (before, behind) in [
            ("<svg><p><script><!--</script>", "-->"),
            ("<svg><foreignObject><script><!--</script>", ""),
            ("<svg><p><script>a<b c='</script>", "'"),
            ("<style><!--</style>", "-->"),
            ("<title><!--</title>", "-->"),
            ("<textarea><!--</textarea>", "-->"),
            ("<iframe><!--</iframe>", "-->"),
            ("<style><a b=\"</style>", "\">"),
            (
                "<math><annotation-xml encoding=\"text/html\"><script><!--</script>",
                "-->",
            ),
        ] {
            assert!(!within(&format!("{before}{divs}{behind}"), 500), "{before}");
        }
    }

    #[test]
    fn a_document_within_the_limit_does_not_end_the_parser() {
        let page = format!("{}x{}", "<div>".repeat(498), "</div>".repeat(498));
        assert!(within(&page, 500));
        assert!(Document::from(page.as_str()).nodes.len() > 498);
    }

    #[test]
    fn formatting_that_is_opened_again_in_every_block_is_refused() {
        let formats: String = (0..300).map(|n| format!("<b x={n}>")).collect();
        let page = format!("<div>{formats}</div>{}", "<div>x</div>".repeat(20_000));
        assert!(!within(&page, 500));
    }

    proptest! {
        /// The measure is the depth that the parsed document has.
        #[test]
        fn the_measure_is_the_parsers_depth(
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
                    Just("<annotation-xml encoding='text/html'>"), Just("</annotation-xml>"),
                ],
                0..60,
            )
        ) {
            let html = parts.concat();
            let mut low = 0;
            while !within(&html, low) {
                low += 1;
            }
            let document = Document::from(html.as_str());
            let elements = document.nodes.iter().filter(|node| matches!(node.data, select::node::Data::Element(..)));
            let depth = |node: &select::node::Raw| {
                let parent = |at: Option<usize>| at.map(|index| &document.nodes[index]);
                std::iter::successors(Some(node), |node| parent(node.parent)).count()
            };
            let deepest = elements.map(depth).max().unwrap_or(0);
            prop_assert_eq!(low, deepest, "{}", html);
        }
    }
}
