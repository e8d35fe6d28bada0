//! What all pages of one kind of goods have in common: navigation, pictures, carousels, styles, footers.
//!
//! Made once, from the seed, so that a template is as long and as hard to compress as a real page (110 to 142 KB,
//! about a quarter of it after gzip) without a byte of a real one. The carousels are part of the trap: they name 現在
//! and 即決 with prices of items that nobody watches.

use super::words::script_json;
use crate::simulator::draw::{below_u32, mix, one_of};
use crate::simulator::goods::Genre;
use std::fmt::Write;

/// Writes into a text, which cannot fail.
macro_rules! add {
    ($text:expr, $($arg:tt)*) => {
        let _ = write!($text, $($arg)*);
    };
}

/// Lengths of the four templates, in bytes, near the captured ones.
const LENGTHS: [usize; 4] = [113_000, 122_000, 130_000, 139_000];

/// A stream of words from one seed.
struct Words {
    seed: u64,
    drawn: u64,
}

impl Words {
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.seed, 0xf1, self.drawn)
    }

    fn number(&mut self, from: u32, to: u32) -> u32 {
        from + below_u32(self.next(), to - from)
    }

    /// Text that looks like what build tools and image hosts make up.
    fn code(&mut self, len: usize) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_0";
        (0..len)
            .map(|_| char::from(one_of(self.next(), LETTERS, b'A')))
            .collect()
    }
}

/// Puts everything that does not depend on the item into `page`.
pub(super) fn fill(page: &str, genre: &Genre, seed: u64, number: u64) -> String {
    let mut words = Words { seed, drawn: 0 };
    let mut text: String = page.lines().map(str::trim_start).collect();
    let length = one_of(number, &LENGTHS, 130_000);
    for (name, value) in parts(genre, &mut words) {
        text = text.replace(&format!("{{{{={name}}}}}"), &value);
    }
    // Photographs and icons as data URIs make up the rest, as they do on the real page.
    let mut navigation = navigation(&mut words);
    let known = text.len() + navigation.len();
    while known + navigation.len() < length {
        icon(&mut navigation, &mut words);
    }
    text.replace("{{=navigation}}", &navigation)
}

fn parts(genre: &Genre, words: &mut Words) -> Vec<(&'static str, String)> {
    let lines = || genre.description.iter();
    let short: String = lines().copied().collect();
    let html: String = lines().map(|l| format!("{l}<BR><BR>")).collect();
    let body: String = lines().map(|l| format!("<p>{l}</p>")).collect();
    let quoted: Vec<String> = lines().map(|l| format!("\"{}\",\"\"", script_json(l))).collect();
    let leaf = genre.path.last().map_or("0", |(id, _)| id);
    vec![
        (
            "keyword",
            genre
                .path
                .iter()
                .rev()
                .map(|(_, n)| *n)
                .collect::<Vec<_>>()
                .join(","),
        ),
        ("prefecture", "東京都".into()),
        ("pref_code", "13".into()),
        (
            "shipping_by",
            if leaf == "24238" { "winner" } else { "seller" }.into(),
        ),
        ("category_json", category_json(genre)),
        ("category_numbers", category_numbers(genre)),
        ("leaf_category", leaf.into()),
        ("brand_id", words.number(10_000, 99_999).to_string()),
        ("brand", genre.brand.into()),
        ("condition", genre.condition.into()),
        ("description_short", short.clone()),
        ("description_short_json", script_json(&short)),
        ("description_lines", quoted.join(",")),
        ("description_html", script_json(&html)),
        ("description_length", html.chars().count().to_string()),
        ("description_body", body),
        ("breadcrumb_json", breadcrumb_json(genre)),
        ("crumbs", crumbs(genre)),
        ("images", images(words)),
        ("photos", photos(words)),
        ("head_links", head_links(words)),
        ("styles", styles(words)),
        ("shelf_top", shelf(words, genre, 6)),
        ("shelf_bottom", shelf(words, genre, 14)),
        ("shelf_brand", shelf(words, genre, 10)),
        ("questions", "<p>質問はまだありません。</p>".into()),
        ("footer", footer()),
        ("first_state", rooms(&ROOMS_BEFORE, words)),
        ("other_state", rooms(&ROOMS_BEHIND, words)),
        ("build", words.number(700, 800).to_string()),
        ("scripts", scripts(words)),
    ]
}

fn category_json(genre: &Genre) -> String {
    let nodes: Vec<String> = (0..)
        .zip(genre.path)
        .map(|(node, (id, name))| format!("{{\"id\":\"{id}\",\"name\":\"{name}\",\"node\":{node}}}"))
        .collect();
    nodes.join(",")
}

fn category_numbers(genre: &Genre) -> String {
    let numbers: Vec<String> = (1..)
        .zip(genre.path)
        .map(|(n, (id, _))| format!("\"catid{n}\":\"{id}\""))
        .collect();
    numbers.join(",")
}

fn breadcrumb_json(genre: &Genre) -> String {
    let list: Vec<String> = (1..)
        .zip(genre.path)
        .map(|(n, (id, name))| {
            format!("{{\"@type\":\"ListItem\",\"position\":{n},\"item\":{{\"@id\":\"https://auctions.yahoo.co.jp/category/list/{id}\",\"name\":\"{name}\"}}}}")
        })
        .collect();
    list.join(",")
}

fn crumbs(genre: &Genre) -> String {
    let links = genre.path.iter();
    links
        .map(|(id, name)| {
            format!("<li><a href=\"https://auctions.yahoo.co.jp/category/list/{id}\">{name}</a></li>")
        })
        .collect()
}

fn images(words: &mut Words) -> String {
    let list: Vec<String> = (0..10)
        .map(|_| {
            let file = format!("https://auctions.c.yimg.jp/zk/{}/i-img900x1200-{}.jpg", words.code(64), words.number(1, 9_999_999));
            format!("{{\"image\":\"{file}\",\"width\":900,\"height\":1200,\"thumbnail\":\"{file}?pri=l&w=214&h=214\"}}")
        })
        .collect();
    list.join(",")
}

fn photos(words: &mut Words) -> String {
    (0..6)
        .map(|n| {
            let file = words.code(64);
            format!("<li class=\"zk-photo\"><button type=\"button\" aria-label=\"写真{n}\"><img src=\"https://auctions.c.yimg.jp/zk/{file}.jpg\" alt=\"\" width=\"900\" height=\"1200\" decoding=\"async\"/></button></li>")
        })
        .collect()
}

fn head_links(words: &mut Words) -> String {
    (0..18)
        .map(|_| {
            let file = words.code(20);
            format!("<link rel=\"preload\" as=\"script\" href=\"https://auction-assets.c.yimg.jp/webfe/_next/static/chunks/{file}.js\"/>")
        })
        .collect()
}

fn scripts(words: &mut Words) -> String {
    (0..18)
        .map(|_| format!("<script src=\"https://auction-assets.c.yimg.jp/webfe/_next/static/chunks/{}.js\" async=\"\"></script>", words.code(20)))
        .collect()
}

fn styles(words: &mut Words) -> String {
    let mut css = String::from("<style data-zk=\"1\">");
    for _ in 0..220 {
        let (class, size, space) = (words.code(8), words.number(8, 40), words.number(0, 64));
        let colour = words.number(0, 0xff_ffff);
        add!(
            css,
            ".zk{class}{{display:flex;font-size:{size}px;margin:{space}px 0;color:#{colour:06x}}}"
        );
    }
    css.push_str("</style>");
    css
}

/// Other items with their prices.
fn shelf(words: &mut Words, genre: &Genre, items: u32) -> String {
    let mut list = String::new();
    for _ in 0..items {
        let id = words.number(1_000_000_000, 1_090_000_000);
        let (now, buy_now) = (words.number(1, 90), words.number(91, 300));
        let (low, file, bids) = (words.number(100, 999), words.code(48), words.number(0, 40));
        add!(
            list,
            "<li class=\"zk-card\"><a href=\"https://auctions.yahoo.co.jp/jp/auction/x{id}\" data-zk-item=\"x{id}\"><img src=\"https://auc-pctr.c.yimg.jp/i/{file}.jpg?w=170&amp;h=170\" alt=\"\" loading=\"lazy\" width=\"170\" height=\"170\"/><p class=\"zk-card__title\">{} 他の出品 {id}</p><p class=\"zk-card__price\">現在<span>{now},{low}円</span></p><p class=\"zk-card__price\">即決<span>{buy_now},{low}円</span></p><p class=\"zk-card__bids\">{bids}件</p></a></li>",
            genre.brand
        );
    }
    list
}

fn navigation(words: &mut Words) -> String {
    const AREAS: [&str; 12] = [
        "コンピュータ",
        "家電、AV、カメラ",
        "音楽",
        "本、雑誌",
        "映画、ビデオ",
        "おもちゃ、ゲーム",
        "ホビー、カルチャー",
        "アンティーク",
        "スポーツ、レジャー",
        "自動車、オートバイ",
        "ファッション",
        "住まい",
    ];
    let mut html = String::from(
        "<noscript><p>JavaScriptを有効にすると、すべての機能をお使いいただけます。</p></noscript><a class=\"zk-logo\" href=\"https://auctions.yahoo.co.jp/\">Yahoo!オークション</a><form role=\"search\" action=\"/search/search\"><select name=\"auccat\"><option value=\"0\">すべてのカテゴリ</option>",
    );
    for area in AREAS {
        add!(
            html,
            "<option value=\"{}\">{area}</option>",
            words.number(20_000, 30_000)
        );
    }
    html.push_str("</select><input type=\"search\" name=\"p\" autocomplete=\"off\"/><button type=\"submit\">検索する</button></form><ul class=\"zk-menu\">");
    for entry in ["マイオク", "ウォッチ", "出品", "お知らせ", "ヘルプ"] {
        add!(
            html,
            "<li><a href=\"/{}\" data-zk-log=\"{}\">{entry}</a></li>",
            words.code(6),
            words.code(24)
        );
    }
    html.push_str("</ul>");
    html
}

/// An icon as the real page has dozens: an image in the document itself.
fn icon(html: &mut String, words: &mut Words) {
    // Half of it repeats, because drawings do: this is what makes the page as compressible as a real one.
    let (unique, width) = (words.code(150), words.number(1, 4) * 8);
    add!(
        html,
        "<span class=\"zk-Stack--{} zk-icon\"><img src=\"data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSIyNCIgaGVpZ2h0PSIyNCIgdmlld0JveD0iMCAwIDI0IDI0IiBmaWxsPSJub25lIj48cGF0aCBmaWxsLXJ1bGU9ImV2ZW5vZGQiIGNsaXAtcnVsZT0iZXZlbm9kZCIgZD0iTTAgMEgyNFYyNEgwWiIgZmlsbD0iYmxhY2siLz4{unique}PC9zdmc+\" width=\"{width}\" height=\"{width}\" alt=\"\"/></span><div class=\"zk-u-colorContentOnSurfaceVariant--light zk-u-fontSize12--regular zk-u-displayInlineFlex--center\"></div><div class=\"zk-u-colorContentOnSurfaceVariant--light zk-u-fontSize16--bold zk-u-displayInlineFlex--start\"></div>",
        words.code(12)
    );
}

fn footer() -> String {
    let mut html = String::from("<ul>");
    for (name, path) in [
        ("プライバシー", "privacy"),
        ("利用規約", "terms"),
        ("ガイドライン", "guidelines"),
        ("特定商取引法", "law"),
        ("ご意見", "voice"),
        ("ヘルプ", "help"),
    ] {
        add!(
            html,
            "<li><a href=\"https://auctions.yahoo.co.jp/special/{path}.html\" rel=\"nofollow\">{name}</a></li>"
        );
    }
    html.push_str("</ul><p><small>シミュレーター：zaikoban</small></p>");
    html
}

/// The parts of the state that stand before the item.
const ROOMS_BEFORE: [&str; 6] = [
    "itempage",
    "myauction",
    "myshortcut",
    "notice",
    "recommend",
    "search",
];
/// Those that stand behind it.
const ROOMS_BEHIND: [&str; 16] = [
    "campaign",
    "promotion",
    "login",
    "common",
    "coupon",
    "linkage",
    "user",
    "follow",
    "browsehistory",
    "favorite",
    "userSelf",
    "ranking",
    "products",
    "suggest",
    "blacklist",
    "wishlist",
];

fn rooms(names: &[&str], words: &mut Words) -> String {
    let rooms: Vec<String> = names
        .iter()
        .map(|room| {
            format!(
                "\"{room}\":{{\"isFetching\":false,\"hasError\":false,\"error\":null,\"items\":[],\"page\":{{\"index\":1,\
                 \"size\":50,\"total\":{},\"sort\":\"recommend\"}},\"filters\":{{\"min\":null,\"max\":null,\"store\":false,\
                 \"fresh\":false,\"words\":[]}},\"crumb\":\"\",\"trace\":\"{}\"}}",
                words.number(0, 9_999),
                words.code(90)
            )
        })
        .collect();
    rooms.join(",")
}
