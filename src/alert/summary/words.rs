//! The words of the day's letter, in both languages.

use super::super::settings::Language;
use super::Figures;
use chrono::NaiveDate;

/// What stands beside the figures.
pub(super) struct Words {
    language: Language,
    pub(super) products: &'static str,
    pub(super) monitored: &'static str,
    pub(super) verified: &'static str,
    pub(super) in_stock: &'static str,
    pub(super) stock_changes: &'static str,
    pub(super) sold_out: &'static str,
    pub(super) back: &'static str,
    pub(super) price_changes: &'static str,
    pub(super) listings: &'static str,
    pub(super) synced: &'static str,
    pub(super) behind: &'static str,
    pub(super) accepted: &'static str,
    pub(super) rejected: &'static str,
    pub(super) failed: &'static str,
    pub(super) held: &'static str,
    pub(super) holds_open: &'static str,
    pub(super) looked_back: &'static str,
    pub(super) drifted: &'static str,
    pub(super) delay: &'static str,
    pub(super) longest: &'static str,
    pub(super) work: &'static str,
    pub(super) jobs: &'static str,
    pub(super) dead: &'static str,
    pub(super) completed: &'static str,
    pub(super) partial: &'static str,
    pub(super) running: &'static str,
    pub(super) critical: &'static str,
    pub(super) critical_new: &'static str,
    pub(super) critical_open: &'static str,
    pub(super) errors: &'static str,
    pub(super) none: &'static str,
    pub(super) more: &'static str,
}

impl Words {
    /// The day in one line.
    pub(super) fn subject(&self, day: NaiveDate, host: &str, f: &Figures) -> String {
        let (products, changes, critical) = (
            f.products.monitored,
            f.changes.stock.saturating_add(f.changes.price),
            f.critical.open,
        );
        match self.language {
            Language::Ja => format!(
                "[日次レポート] {host}: {day} 商品 {products} 件、変動 {changes} 件、未解決の重大エラー {critical} 件"
            ),
            Language::En => format!(
                "[Daily summary] {host}: {day}, {products} products, {changes} changes, {critical} critical errors open"
            ),
        }
    }
}

pub(super) fn words(language: Language) -> Words {
    match language {
        Language::Ja => JA,
        Language::En => EN,
    }
}

const JA: Words = Words {
    language: Language::Ja,
    products: "商品",
    monitored: "監視中の商品",
    verified: "この期間に確認できた商品",
    in_stock: "在庫のある商品",
    stock_changes: "在庫の変動",
    sold_out: "在庫切れになったもの",
    back: "在庫が戻ったもの",
    price_changes: "価格の変動",
    listings: "出品",
    synced: "自動同期中の出品",
    behind: "反映待ちの出品",
    accepted: "受理された更新",
    rejected: "拒否された更新",
    failed: "失敗",
    held: "保留した更新",
    holds_open: "判断待ちの保留",
    looked_back: "出品先と照合した出品",
    drifted: "登録内容と違っていたもの",
    delay: "ページの読み取りから反映まで",
    longest: "最長",
    work: "処理",
    jobs: "完了したジョブ",
    dead: "打ち切ったジョブ",
    completed: "完了",
    partial: "一部失敗",
    running: "実行中",
    critical: "重大エラー",
    critical_new: "この期間に発生",
    critical_open: "未解決",
    errors: "多かったエラー（上位 5 件）",
    none: "エラーはありません",
    more: "詳細: zaikoban summary / zaikoban errors list / zaikoban executions list",
};

const EN: Words = Words {
    language: Language::En,
    products: "Products",
    monitored: "Products watched",
    verified: "Verified in this time",
    in_stock: "In stock",
    stock_changes: "Changes of stock",
    sold_out: "Gone out of stock",
    back: "Back in stock",
    price_changes: "Changes of price",
    listings: "Listings",
    synced: "Kept in line",
    behind: "Behind",
    accepted: "Updates accepted",
    rejected: "Updates rejected",
    failed: "failed",
    held: "Updates held",
    holds_open: "Waiting for a person",
    looked_back: "Listings compared with their destination",
    drifted: "Listings that showed something else",
    delay: "From the page read to the listing",
    longest: "longest",
    work: "Work",
    jobs: "Jobs completed",
    dead: "Jobs given up",
    completed: "completed",
    partial: "partial",
    running: "running",
    critical: "Critical errors",
    critical_new: "New in this time",
    critical_open: "Open",
    errors: "The five commonest errors",
    none: "None",
    more: "More: zaikoban summary / zaikoban errors list / zaikoban executions list",
};
