//! Pages that are no item pages.

use super::words::html;
use flate2::{Compress, Compression, Crc, FlushCompress};

/// What a marketplace shows instead of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum OtherPage {
    Login,
    Captcha,
    Busy,
    Maintenance,
    NotFound,
    ServerError,
}

impl OtherPage {
    /// The page, for a visitor who asked for item `id`.
    pub(in crate::simulator) fn html(self, id: &str) -> String {
        let (title, body) = match self {
            Self::Login => (
                "ログイン - Yahoo! JAPAN",
                format!(
                    "<h1>ログイン</h1><form method=\"post\" action=\"https://login.yahoo.co.jp/config/login\"><input type=\"hidden\" name=\".done\" value=\"https://auctions.yahoo.co.jp/jp/auction/{}\"/><label>ID、携帯電話番号、メールアドレス<input type=\"text\" name=\"handle\"/></label><label>パスワード<input type=\"password\" name=\"passwd\"/></label><button type=\"submit\">ログイン</button></form><p>続けるにはログインしてください。</p>",
                    html(id)
                ),
            ),
            Self::Captcha => (
                "確認 - Yahoo! JAPAN",
                "<h1>画像認証</h1><p>ご利用の環境から通常と異なるアクセスが確認されました。ロボットではないことを確認するため、画像に表示された文字を入力してください。</p><form method=\"post\" action=\"/captcha\"><div class=\"captcha\" data-sitekey=\"zk\"></div><img src=\"/captcha.png\" alt=\"画像認証\"/><input type=\"text\" name=\"captcha\"/><button>送信</button></form>".into(),
            ),
            Self::Busy => (
                "Yahoo!オークション",
                "<h1>ただいまアクセスが集中しています</h1><p>アクセスが集中しているため、ページを表示できません。しばらく時間をおいてから、もう一度お試しください。</p>".into(),
            ),
            Self::Maintenance => (
                "メンテナンス中 - Yahoo!オークション",
                "<h1>ただいまメンテナンス中です</h1><p>システムメンテナンスのため、サービスを一時停止しています。ご迷惑をおかけして申し訳ございません。</p>".into(),
            ),
            Self::NotFound => (
                "ページが見つかりません - Yahoo!オークション",
                format!(
                    "<h1>ページが見つかりません</h1><p>お探しの商品（{}）は削除されたか、オークションIDが間違っている可能性があります。</p><ul><li><a href=\"https://auctions.yahoo.co.jp/\">オークショントップへ</a></li></ul>",
                    html(id)
                ),
            ),
            Self::ServerError => (
                "エラー - Yahoo!オークション",
                "<h1>エラーが発生しました</h1><p>時間をおいてから再度お試しください。</p>".into(),
            ),
        };
        format!(
            "<!DOCTYPE html><html lang=\"ja\"><head><meta charset=\"utf-8\"/><title>{title}</title><link rel=\"stylesheet\" href=\"https://s.yimg.jp/zk/plain.css\"/></head><body><header><a href=\"https://www.yahoo.co.jp/\">Yahoo! JAPAN</a></header><main>{body}</main><footer><small>シミュレーター：zaikoban</small></footer></body></html>"
        )
    }
}

const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty final block with fixed codes.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// A gzip body of some hundred kilobytes at most that inflates to 64 MiB: one compressed block of blanks, again and
/// again, so that making it costs no more than one of them.
pub(in crate::simulator) fn bomb() -> Vec<u8> {
    let blanks = vec![b' '; 1 << 20];
    let mut once = Crc::new();
    once.update(&blanks);
    let mut crc = Crc::new();
    let mut out = GZIP_HEAD.to_vec();
    // Without its blocks it is an empty page, which is a fault too.
    let block = deflate(&blanks).unwrap_or_default();
    for _ in 0..64 {
        out.extend_from_slice(&block);
        crc.combine(&once);
    }
    out.extend_from_slice(&LAST_BLOCK);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// `text` as deflate blocks that end on a byte and can stand anywhere in a stream.
fn deflate(text: &[u8]) -> Result<Vec<u8>, flate2::CompressError> {
    let mut compress = Compress::new(Compression::new(6), false);
    // A stored block costs five bytes per 64 KiB, so that this is always enough for one call.
    let mut out = Vec::with_capacity(text.len() + text.len() / 1_000 + 256);
    compress.compress_vec(text, &mut out, FlushCompress::Full)?;
    Ok(out)
}
