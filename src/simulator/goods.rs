//! What the imaginary sellers sell: names, sellers and descriptions, each a function of the seed and the item's number.
//!
//! Nothing is stored per item: 100,000 titles that are never asked for cost no memory.

use super::draw::{below, below_u32, mix, one_of};

/// Questions to the seed, so that no two properties of an item hang together.
const ID: u64 = 1;
const TITLE: u64 = 2;
const SELLER: u64 = 3;

/// One kind of goods; pages of one kind share a template.
pub(super) struct Genre {
    /// Category path: id and name, from the root.
    pub path: &'static [(&'static str, &'static str)],
    /// Brand as shown.
    pub brand: &'static str,
    /// Condition as shown.
    pub condition: &'static str,
    makers: &'static [&'static str],
    models: &'static [&'static str],
    remarks: &'static [&'static str],
    /// Lines of the description.
    pub description: &'static [&'static str],
}

/// The kinds of goods; item `i` is of kind `i % 4`.
pub(super) const GENRES: [Genre; 4] = [
    Genre {
        path: &[
            ("0", "オークション"),
            ("23632", "家電、AV、カメラ"),
            ("23636", "カメラ、光学機器"),
            ("23640", "フィルムカメラ"),
        ],
        brand: "在庫番光機",
        condition: "やや傷や汚れあり",
        makers: &["在庫番光機", "山吹カメラ", "青嵐オプト"],
        models: &[
            "ZK-F1 ボディ",
            "単焦点 50mm F1.4",
            "二眼レフ 120判",
            "望遠ズーム 70-210mm",
            "露出計付き距離計連動機",
        ],
        remarks: &[
            "動作確認済み",
            "整備品",
            "元箱・説明書付き",
            "防湿庫保管",
            "シャッター快調 <美品>",
            "レンズ & ケース",
        ],
        description: &[
            "ご覧いただきありがとうございます。",
            "防湿庫で保管していた品です。シャッターは全速切れています。",
            "ファインダーにわずかな塵がありますが、写りに影響はありません。",
            "付属品は写真に写っているものがすべてです。",
            "発送は平日の午前中に行います。",
        ],
    },
    Genre {
        path: &[
            ("0", "オークション"),
            ("25464", "おもちゃ、ゲーム"),
            ("25888", "模型、プラモデル"),
            ("25892", "鉄道模型"),
        ],
        brand: "みどり模型",
        condition: "未使用に近い",
        makers: &["みどり模型", "北斗ホビー", "ことり製作所"],
        models: &[
            "Nゲージ 旧型客車 6両セット",
            "1/144 試作機",
            "HOゲージ 電気機関車",
            "1/700 巡洋艦",
            "情景キット 駅前商店街",
        ],
        remarks: &[
            "未組立",
            "絶版",
            "限定版",
            "動力良好",
            "デカール未使用",
            "\"再生産\"ではありません",
        ],
        description: &[
            "コレクション整理のため出品します。",
            "一度だけ走行させ、その後は箱に入れて保管していました。",
            "箱に経年の色あせがあります。",
            "まとめて落札された場合は同梱いたします。",
            "神経質な方の入札はご遠慮ください。",
        ],
    },
    Genre {
        path: &[
            ("0", "オークション"),
            ("23140", "アクセサリー、時計"),
            ("23260", "腕時計"),
            ("23268", "メンズ腕時計"),
        ],
        brand: "ときわ時計店",
        condition: "目立った傷や汚れなし",
        makers: &["ときわ", "北辰精機", "白鷺時計"],
        models: &[
            "手巻き 17石",
            "自動巻き デイデイト",
            "クオーツ クロノグラフ",
            "懐中時計 鉄道仕様",
            "ダイバー 200m",
        ],
        remarks: &[
            "稼働品",
            "オーバーホール済",
            "純正ブレス",
            "日差±10秒",
            "ケース付 ☆",
            "電池交換済み",
        ],
        description: &[
            "祖父から譲り受けた時計です。",
            "日差は平置きで十秒ほどですが、環境により変わります。",
            "風防に薄い線傷がありますが、着用時には目立ちません。",
            "防水性能は保証いたしません。",
            "ノークレーム、ノーリターンでお願いします。",
        ],
    },
    Genre {
        path: &[
            ("0", "オークション"),
            ("24198", "ホビー、カルチャー"),
            ("24230", "楽器、器材"),
            ("24238", "ギター"),
        ],
        brand: "ひびき楽器",
        condition: "傷や汚れあり",
        makers: &["ひびき楽器", "三ツ星弦", "浜風ギター"],
        models: &[
            "アコースティックギター D型",
            "エレキギター ST型",
            "クラシックギター 松単板",
            "ベース JB型",
            "ウクレレ ソプラノ",
        ],
        remarks: &[
            "ハードケース付",
            "弦新品",
            "調整済み",
            "日本製",
            "1970年代",
            "ジャンク扱い・音出し確認",
        ],
        description: &[
            "長年愛用した楽器です。",
            "ネックの反りはなく、弦高は十二フレットで二ミリ半です。",
            "ボディに打痕と塗装のはがれがあります。",
            "弦は出品前に新しいものに交換しました。",
            "大型のため送料は着払いとなります。",
        ],
    },
];

/// The kind of item `index`.
pub(super) fn genre_index(index: u32) -> usize {
    match index % 4 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 3,
    }
}

/// The kind of item `index`.
pub(super) fn genre(index: u32) -> &'static Genre {
    let [first, second, third, fourth] = &GENRES;
    match genre_index(index) {
        0 => first,
        1 => second,
        2 => third,
        _ => fourth,
    }
}

/// The auction id of item `index`: ten digits, in seven of ten cases behind a letter. No two items share one.
pub(super) fn item_id(seed: u64, index: u32) -> String {
    let word = mix(seed, ID, u64::from(index));
    // Steps of seven leave room for a digit of chance, so that ids are not neighbours.
    let number = 1_100_000_000 + u64::from(index) * 7 + below(word, 7);
    // `z` belongs to the flea market.
    let letter = one_of(word >> 16, b"bcdefghjklmnopqrstuvwx", b'b');
    if below(word >> 40, 10) < 3 {
        number.to_string()
    } else {
        format!("{}{number}", char::from(letter))
    }
}

/// The title of item `index`.
pub(super) fn title(seed: u64, index: u32) -> String {
    let word = mix(seed, TITLE, u64::from(index));
    let kind = genre(index);
    format!(
        "{} {} No.{} {}",
        one_of(word, kind.makers, kind.brand),
        one_of(word >> 12, kind.models, ""),
        index + 1,
        one_of(word >> 24, kind.remarks, ""),
    )
}

/// A seller as the page names one.
pub(super) struct Seller {
    /// The account.
    pub id: String,
    /// Number of ratings.
    pub ratings: u32,
    /// Share of good ones, in tenths of a percent.
    pub good_permille: u32,
}

/// The seller of item `index`; a seller offers about forty things.
pub(super) fn seller(seed: u64, index: u32, store: bool) -> Seller {
    let number = index / 40 + 1;
    let word = mix(seed, SELLER, u64::from(number));
    let kind = if store { "mise" } else { "zk" };
    Seller {
        id: format!("{kind}_seller_{number:05}"),
        ratings: 10 + below_u32(word, 5_000),
        good_permille: 950 + below_u32(word >> 32, 51),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_have_both_shapes_and_never_the_flea_markets() {
        let ids: HashSet<String> = (0..20_000).map(|i| item_id(5, i)).collect();
        assert_eq!(ids.len(), 20_000);
        let bare = ids
            .iter()
            .filter(|id| id.bytes().all(|b| b.is_ascii_digit()))
            .count();
        assert!((5_000..7_000).contains(&bare), "{bare}");
        assert!(ids.iter().all(|id| !id.starts_with('z')));
    }

    #[test]
    fn names_are_the_same_for_one_seed_and_differ_for_two() {
        assert_eq!(title(1, 7), title(1, 7));
        assert!((0..50).any(|i| title(1, i) != title(2, i)));
        assert!((0..400).any(|i| title(1, i).contains('&')));
    }
}
