//! Item pages made for the tests: our own markup around the documented objects.

use serde_json::{Value, json};

/// One item page, part by part; what a test leaves alone agrees with the rest.
#[derive(Clone)]
pub struct Page {
    pub item: Value,
    /// `pageData.items`; `Null` leaves the block out.
    pub data: Value,
    /// What a reader is shown: label and amount, in order.
    pub prices: Vec<(&'static str, String)>,
}

impl Page {
    /// An open auction of a private seller, without a buy-now price.
    pub fn open() -> Self {
        Self {
            item: json!({
                "seller": { "rating": { "goodRating": "99.2%" }, "aucUserId": "seller1", "isStore": false,
                            "listUrl": "https://auctions.yahoo.co.jp/seller/seller1?user_type=c",
                            "isBestStore": false, "displayName": "売り手", "location": { "prefCode": "13" } },
                "auctionId": "m1122334455",
                "title": "動作確認済み \u{a0}テスト用カメラ <A&B> \"C\" 2台",
                "img": [{ "image": "https://example.invalid/1.jpg", "width": 600, "height": 450 }],
                "initPrice": 1, "price": 3200, "quantity": 2, "bids": 4, "biddersNum": 3, "watchListNum": 7,
                "startTime": "2026-07-27T00:58:02+09:00", "endTime": "2026-08-02T22:58:02+09:00",
                "leftTime": 82616.293, "timeFromStart": 514_983.707, "endStatus": "today",
                "timeForUlt": { "startTime": 1_785_081_482, "endTime": 1_785_679_082 },
                "isFleaMarket": false, "isOffer": false, "isExtendedAuction": false,
                "status": "open", "chargeForShipping": "winner",
                "description": ["price: 1円", "即決 5円"],
                "descriptionHtml": "<b>現在</b> 1円<script id=\"__NEXT_DATA__\">{}</script>"
            }),
            data: json!({
                "productID": "m1122334455", "productName": "テスト用カメラ", "price": "3200",
                "starttime": "2026-07-27 00:58:02", "endtime": "2026-08-02 22:58:02", "winPrice": "0",
                "quantity": "2", "bids": "4", "isStore": "0", "isClosed": "0", "hasWinner": "0"
            }),
            prices: vec![("現在", "3,200円（税0円）".into())],
        }
    }

    /// The same with a buy-now price.
    pub fn buy_now() -> Self {
        let mut page = Self::open();
        page.item["bidorbuy"] = json!(12_800);
        page.data["winPrice"] = json!("12800");
        page.prices.push(("即決", "12,800円（税0円）".into()));
        page
    }

    /// The same, ended.
    pub fn ended(bids: u32) -> Self {
        let mut page = Self::open();
        page.item["status"] = json!("closed");
        page.item["leftTime"] = json!(-83.9);
        page.item["bids"] = json!(bids);
        page.data["isClosed"] = json!("1");
        page.data["bids"] = json!(bids.to_string());
        page
    }

    /// A store's item: 8,100 yen and 318,182 yen without tax.
    pub fn store() -> Self {
        let mut page = Self::buy_now();
        page.item["seller"]["isStore"] = json!(true);
        page.data["isStore"] = json!("1");
        for (key, value) in [
            ("price", 8100),
            ("taxinPrice", 8910),
            ("bidorbuy", 318_182),
            ("taxinBidorbuy", 350_000),
            ("taxRate", 10),
        ] {
            page.item[key] = json!(value);
        }
        page.data["price"] = json!("8100");
        page.data["winPrice"] = json!("318182");
        page.prices = vec![
            ("現在", "8,100円（税込 8,910 円）".into()),
            ("即決", "318,182円（税込 350,000 円）".into()),
        ];
        page
    }

    /// The page as Yahoo! would send it.
    pub fn html(&self) -> String {
        let state = json!({ "item": { "detail": { "isFetching": false, "item": self.item } },
                            "search": { "items": { "listing": { "isFetching": false } } } });
        // Written by hand, because on real pages `pageProps` stands before its copy.
        let next = format!(
            "{{\"props\":{{\"pageProps\":{{\"initialProps\":{{}},\"initialState\":{state}}},\"initialState\":{state}}},\
             \"page\":\"/jp/auction/[aid]\",\"query\":{{\"aid\":{}}},\"buildId\":\"webfe_1.999.1\"}}",
            self.item["auctionId"]
        );
        let data = match &self.data {
            Value::Null => String::new(),
            items => format!(
                "<script>var pageData = {};</script>",
                in_script(&json!({ "navigation": { "pageName": "PRODUCT" }, "items": items }).to_string())
            ),
        };
        let title = in_text(self.item["title"].as_str().unwrap_or("-"));
        let ended = if self.item["status"] == "closed" {
            "<p>このオークションは終了しています</p>"
        } else {
            ""
        };
        let prices: String = self
            .prices
            .iter()
            .map(|(label, amount)| {
                let (number, rest) = amount.split_once('円').unwrap();
                format!("<dt class=\"x1\">{label}</dt><dd class=\"y2\"><span>{number}<!-- -->円</span><span>{rest}</span></dd>")
            })
            .collect();
        let quantity = &self.item["quantity"];
        let seller = self.item["seller"]["aucUserId"].as_str().unwrap_or("-");
        format!(
            "<!DOCTYPE html><html lang=\"ja\"><head><meta charset=\"utf-8\"/><title>Yahoo!オークション - {title}</title>\
             {data}</head><body><div id=\"__next\"><ul><li>おすすめ<dl><dt>現在</dt><dd>999円</dd><dt>即決</dt>\
             <dd>1,999円</dd></dl></li></ul>{ended}<h1>{title}</h1><dl>{prices}</dl>\
             <a href=\"https://auctions.yahoo.co.jp/seller/{seller}\">出品者</a><h2>商品情報</h2>\
             <dl><dt>個数</dt><dd>{quantity}個</dd></dl><h2>この商品も</h2><dl><dt>即決</dt><dd>777円</dd></dl></div>\
             <script id=\"__NEXT_DATA__\" type=\"application/json\">{}</script></body></html>",
            in_script(&next)
        )
    }
}

/// JSON as it may stand inside a script: no `<` of its own.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn in_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
