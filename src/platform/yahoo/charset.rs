//! Which characters the bytes are: the header's word, else a byte-order mark, else the page's own `<meta>`.
//!
//! Today's pages are UTF-8 and are read as bytes, without copying. A label that lies is seen: text that is not ASCII
//! and yet valid UTF-8 is UTF-8, whatever was said (random EUC-JP or `Shift_JIS` text practically never is); and text
//! said to be UTF-8 that is not goes to the next label, then to the first Japanese encoding that it fits without a
//! mistake. What then still does not fit becomes U+FFFD, which no price's digit can be.

use encoding_rs::{EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_8};
use memchr::memmem;
use std::borrow::Cow;

/// How much of a page may stand before its `<meta charset>`. The standard says 1,024 bytes; Yahoo's stood later.
const META_WITHIN_BYTES: usize = 8192;

/// Whether the bytes may be read as UTF-8 as they stand: nothing names another encoding.
pub(super) fn is_utf8(content_type: Option<&str>, body: &[u8]) -> bool {
    labels(content_type, body)
        .into_iter()
        .flatten()
        .next()
        .is_none_or(|encoding| encoding == UTF_8)
}

/// The page as text.
pub(super) fn decode<'a>(content_type: Option<&str>, body: &'a [u8]) -> Cow<'a, str> {
    let labels = labels(content_type, body);
    let mut named = labels.iter().flatten().copied();
    let first = named.next().unwrap_or(UTF_8);
    if let Ok(text) = std::str::from_utf8(body)
        && (first == UTF_8 || (!text.is_ascii() && first != ISO_2022_JP))
    {
        return Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text));
    }
    let tried = std::iter::once(first)
        .chain(named)
        .chain([ISO_2022_JP, EUC_JP, SHIFT_JIS]);
    for encoding in tried {
        // ISO-2022-JP is ASCII with escapes: without an escape every ASCII page would "fit".
        if encoding == ISO_2022_JP && memchr::memchr(0x1b, body).is_none() {
            continue;
        }
        let (text, _, mistakes) = encoding.decode(body);
        if !mistakes {
            return text;
        }
    }
    first.decode(body).0
}

/// What header, byte-order mark and `<meta>` say, in that order.
fn labels(content_type: Option<&str>, body: &[u8]) -> [Option<&'static Encoding>; 3] {
    let header = content_type
        .and_then(|value| after_charset(value.as_bytes()))
        .and_then(Encoding::for_label);
    let mark = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let head = body.get(..META_WITHIN_BYTES).unwrap_or(body);
    let meta = memmem::find_iter(head, b"<meta")
        .filter_map(|at| {
            let tag = head.get(at..)?;
            let end = memchr::memchr(b'>', tag)?;
            Encoding::for_label(after_charset(tag.get(..end)?)?)
        })
        .next()
        // A page that could be read far enough to find the tag is not UTF-16, whatever the tag says.
        .map(|encoding| encoding.output_encoding());
    [header, mark, meta]
}

/// The word behind `charset=`.
fn after_charset(text: &[u8]) -> Option<&[u8]> {
    let at = text
        .windows(7)
        .position(|window| window.eq_ignore_ascii_case(b"charset"))?;
    let rest = text.get(at.saturating_add(7)..)?.trim_ascii_start();
    let rest = rest.strip_prefix(b"=")?.trim_ascii_start();
    let rest = match rest.first() {
        Some(b'"' | b'\'') => rest.get(1..)?,
        _ => rest,
    };
    let end = rest
        .iter()
        .position(|b| matches!(b, b'"' | b'\'' | b';' | b'>' | b'/') || b.is_ascii_whitespace())
        .unwrap_or(rest.len());
    rest.get(..end).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<html><head></head><body>遊戯王 ①㈱髙 現在 １２，８００円 12,800円</body></html>";

    #[test]
    fn every_label_is_heard() {
        for encoding in [UTF_8, EUC_JP, SHIFT_JIS] {
            let plain = TEXT.replace("①㈱髙", "");
            let (bytes, _, lost) = encoding.encode(&plain);
            assert!(!lost);
            let header = format!("text/html; charset=\"{}\"", encoding.name());
            assert_eq!(decode(Some(&header), &bytes), plain, "{}", encoding.name());
            // Without any label the encoding is found by trial.
            assert_eq!(decode(None, &bytes), plain, "{}", encoding.name());
            let tag = format!(
                "<head><meta http-equiv=Content-Type content='text/html; charset={}'>",
                encoding.name()
            );
            let tagged = plain.replace("<head>", &tag);
            let (bytes, _, _) = encoding.encode(&tagged);
            assert_eq!(decode(None, &bytes), tagged, "{}", encoding.name());
            // A header that names another encoding does not win over what the text plainly is.
            if encoding == UTF_8 {
                assert_eq!(decode(Some("text/html; charset=EUC-JP"), &bytes), tagged);
            }
        }
    }

    #[test]
    fn iso_2022_jp_machine_characters_marks_and_utf_16_are_read() {
        let (bytes, _, _) = ISO_2022_JP.encode("現在 12,800円");
        assert_eq!(
            decode(Some("text/html;charset=iso-2022-jp"), &bytes),
            "現在 12,800円"
        );
        let (bytes, _, lost) = SHIFT_JIS.encode("①㈱髙 ｶﾅ");
        assert!(!lost);
        assert_eq!(decode(Some("text/html; charset=Shift_JIS"), &bytes), "①㈱髙 ｶﾅ");
        let marked = "\u{feff}価格".as_bytes();
        assert_eq!(decode(None, marked), "価格");
        let wide: Vec<u8> = std::iter::once(0xfeff)
            .chain("価格 12".encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(decode(None, &wide), "価格 12");
    }

    #[test]
    fn d11_bytes_that_fit_nothing_become_marks_and_leave_the_digits() {
        let text = decode(Some("text/html; charset=utf-8"), b"\xfa\xff 3,440\x80\xff");
        assert!(text.contains('\u{fffd}') && text.contains("3,440"), "{text}");
    }

    #[test]
    fn only_utf8_is_read_without_decoding() {
        assert!(is_utf8(
            Some("text/html; charset=utf-8"),
            b"<meta charset=euc-jp>"
        ));
        assert!(is_utf8(Some("text/html"), b"<meta charset='UTF-8'>"));
        assert!(is_utf8(None, b"plain"));
        assert!(!is_utf8(None, b"<META CHARSET=x><meta charset=euc-jp>"));
        assert!(!is_utf8(Some("text/html; charset=euc-jp"), b""));
    }
}
