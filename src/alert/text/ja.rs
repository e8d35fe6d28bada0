//! 日本語。

use super::{Headings, Said, Told, Words, new_end, renew, sign_in};
use crate::domain::{AlertEvent, AlertKind, AlertLevel};
use crate::store::alerts::Alert;

pub(super) const HEADINGS: Headings = Headings {
    next: "このあと",
    to_do: "していただくこと",
    products: "商品",
    more: |n| format!("… ほか {n} 件"),
    footer: |host| {
        format!(
            "{host} の在庫番（zaikoban）からのお知らせです。`zaikoban alerts list` で未解決の一覧、`zaikoban alerts ack 番号` で確認済みにできます。"
        )
    },
};

fn level(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Info => "情報",
        AlertLevel::Warning => "注意",
        AlertLevel::Error => "エラー",
        AlertLevel::Critical => "緊急",
    }
}

pub(super) fn mark(told: &Told) -> String {
    match told.event {
        AlertEvent::Recovered => "復旧".to_owned(),
        AlertEvent::Grew => format!("{}・増加", level(told.level)),
        AlertEvent::Reminder => format!("{}・継続中", level(told.level)),
        AlertEvent::Opened => level(told.level).to_owned(),
    }
}

pub(super) fn many(count: usize, worst: AlertLevel, host: &str) -> String {
    format!("[{}] {host}: お知らせが {count} 件あります", level(worst))
}

fn to_do(steps: &[(&str, &str)]) -> Vec<(String, String)> {
    steps
        .iter()
        .map(|(c, d)| ((*c).to_owned(), (*d).to_owned()))
        .collect()
}

pub(super) fn said(alert: &Alert, w: &Words, event: AlertEvent) -> Said {
    let mut said = about(alert, w);
    // Its text has both already.
    if alert.kind != AlertKind::Database {
        said.lines.insert(0, format!("発生: {}", w.since));
        if let Some(message) = &w.message {
            said.lines.push(message.clone());
        }
    }
    said.products.clone_from(&w.products);
    said.more = w.more;
    if event == AlertEvent::Recovered {
        said.headline = format!("復旧しました: {}", said.headline);
        said.next = format!("何もする必要はありません（発生は {}）。", w.since);
        said.to_do = to_do(&[("zaikoban status", "正常に動いていることを確認できます")]);
    }
    said
}

fn about(alert: &Alert, w: &Words) -> Said {
    let id = alert.id;
    let ack = (format!("zaikoban alerts ack {id}"), "確認済みにします".to_owned());
    let mut said = match alert.kind {
        AlertKind::Hold => hold(alert, w),
        AlertKind::Error => Said {
            headline: format!("{} で問題（{}）が {} 件あります", w.platform, w.code, alert.count),
            next: "ほかの商品の処理は続いています。記録は、解決済みにするまで残ります。".to_owned(),
            to_do: to_do(&[
                ("zaikoban errors list", "内容と、何をしていたときかを表示します"),
                ("zaikoban errors resolve 番号 --note メモ", "対処済みにします"),
            ]),
            ..empty()
        },
        AlertKind::DeadLetter => Said {
            headline: format!("{} の処理を {} 件、あきらめました", w.code, alert.count),
            next: "そのまま保管されます。それまで、該当する出品は古い内容のままかもしれません。".to_owned(),
            to_do: to_do(&[
                ("zaikoban queue list --status dead", "一覧と理由を表示します"),
                ("zaikoban queue retry 番号", "原因を直したあとで、もう一度試します"),
                ("zaikoban queue discard 番号", "破棄します"),
            ]),
            ..empty()
        },
        AlertKind::Outage if alert.platform.is_none() => Said {
            headline: format!("{} つのサービスに同時につながりません: {}", alert.count, w.services),
            next: "それぞれ自動で再試行します。処理は待機し、失われるものはありません。同時の場合は、こちらの回線が原因のことがよくあります。".to_owned(),
            to_do: to_do(&[
                ("zaikoban doctor", "回線・名前解決・各サービスを調べます"),
                ("zaikoban platforms list", "それぞれの状態を表示します"),
            ]),
            ..empty()
        },
        AlertKind::Outage => Said {
            headline: format!("{} につながりません", w.platform),
            next: match &w.at {
                Some(at) => format!("自動で再試行します（次は {at}）。処理は待機し、失われるものはありません。"),
                None => "再試行しています。処理は待機し、失われるものはありません。".to_owned(),
            },
            to_do: to_do(&[
                ("zaikoban platforms list", "状態と最後の応答を表示します"),
                (&format!("zaikoban platforms reset {}", w.name), "復旧がわかっているときに、すぐ試します"),
            ]),
            ..empty()
        },
        AlertKind::Credentials if w.code == "ends_soon" => Said {
            headline: format!("{} の認証情報の期限が近づいています", w.platform),
            next: format!("{} を過ぎると、この出品先には何も送れなくなります。", w.at.as_deref().unwrap_or("期限")),
            to_do: renewal(w),
            ..empty()
        },
        AlertKind::Credentials if w.code == "ended" => Said {
            headline: format!("{} の認証情報の期限が切れました", w.platform),
            next: format!(
                "{} 以降は、新しい認証情報を登録するまで、この出品先には何も送れません。変更は待機します。",
                w.at.as_deref().unwrap_or("期限")
            ),
            to_do: renewal(w),
            ..empty()
        },
        AlertKind::Credentials => Said {
            headline: format!("{} に認証を拒否されています（{}）", w.platform, w.code),
            next: "もう一度認証するまで、この出品先には何も送りません。変更は待機します。".to_owned(),
            to_do: to_do(&[
                ("zaikoban credentials list", "登録されている認証情報と期限を表示します"),
                (&format!("zaikoban credentials set {}", w.name), "鍵が足りないときに登録します"),
                (&sign_in(&w.name), "認証をやり直します"),
                (&format!("zaikoban platforms reset {}", w.name), "今の認証情報ですぐ試します"),
            ]),
            ..empty()
        },
        AlertKind::PartDown => part_down(alert, w),
        AlertKind::Database => database(&w.since, w.message.as_deref().unwrap_or_default(), false),
        AlertKind::Redis => Said {
            headline: "Redis が使えません".to_owned(),
            next: "処理は PostgreSQL だけで続き、失われるものはありません。複数ノードの場合は、それぞれが割り当て分の速度を守ります。\
                   復旧すると自動で使い始めます。"
                .to_owned(),
            to_do: to_do(&[("zaikoban doctor", "原因と対処を確認できます")]),
            ..empty()
        },
        AlertKind::MassOutOfStock => Said {
            headline: format!("{} の商品 {} 件が 1 時間以内に在庫切れになりました", w.platform, alert.count),
            next: "該当する出品は、正しく在庫 0 にしました。".to_owned(),
            to_do: to_do(&[
                ("zaikoban status", "仕入れ先を読めているかを確認できます"),
                ("zaikoban stop-all", "ありえない場合に、すべての送信を止めます"),
            ]),
            ..empty()
        },
        AlertKind::NodeDown => Said {
            headline: format!("ノード {} の応答がなくなりました", w.code),
            next: "ほかのノードが担当を引き継いでいます。動き出せば、自動で戻ります。".to_owned(),
            to_do: to_do(&[
                ("zaikoban nodes", "動いているノードと、それぞれの担当を表示します"),
                ("systemctl start zaikoban", "そのマシンで起動し直します"),
            ]),
            ..empty()
        },
        AlertKind::EmergencyStop => Said {
            headline: "緊急停止が入ったままです".to_owned(),
            next: "解除するまで、どの出品先にも何も送りません。その間に売り切れた商品も出品されたままになります。".to_owned(),
            to_do: to_do(&[("zaikoban resume-all", "送信を再開します")]),
            ..empty()
        },
        AlertKind::Channel => Said {
            headline: format!("{} でのお知らせが届いていません", w.code),
            next: "保管して自動で再試行します。ほかの方法でのお知らせは続きます。".to_owned(),
            to_do: to_do(&[("zaikoban alerts test", "それぞれの方法で試し、結果を表示します")]),
            ..empty()
        },
        AlertKind::Change => Said {
            headline: match w.products.first() {
                Some(product) => format!("変動がありました: {}", super::inert::line(product).chars().take(90).collect::<String>()),
                None => "商品に変動がありました".to_owned(),
            },
            next: "出品は自動で追従します。".to_owned(),
            ..empty()
        },
    };
    if alert.kind != AlertKind::Change && alert.kind != AlertKind::Hold {
        said.to_do.push(ack);
    }
    said
}

fn hold(alert: &Alert, w: &Words) -> Said {
    let n = alert.count;
    let what = match w.code.as_str() {
        "price_step" => "価格の変動が大きすぎます",
        "price_zero" => "価格が 0 円です",
        "currency_changed" => "通貨が変わりました",
        "title_changed" => "別の商品らしいタイトルです",
        "seller_changed" => "出品者が変わりました",
        "other_item" => "別の商品のページに変わりました",
        "mass_change" => "一度に多くの商品が在庫切れになろうとしています",
        "remote_sale" => "出品先の在庫が確認済みの数より少なく、売れたようです",
        "remote_end" => "出品先で、ほかの人が出品を終了しました",
        "not_applied" => "送った値と、出品先に表示されている値が違います",
        "refused" => "出品先に値を拒否されました",
        "radius" | "radius_price" => "一度に多くの出品が終了または値上げ・値下げされようとしています",
        other => other,
    };
    let default = match w.then.as_deref() {
        Some("accept") => "そのまま反映されます",
        Some("reject") => "取り消されます",
        _ => "もう一度読み取り、同じなら反映されます",
    };
    Said {
        headline: format!("{} で {n} 件の変動が確認待ちです: {what}", w.platform),
        next: match &w.at {
            Some(at) => format!("ご指示がなければ、最初のものは {at} に{default}。"),
            None => "ご指示を待っています。".to_owned(),
        },
        to_do: to_do(&[
            ("zaikoban holds list", "何が読み取られたかを表示します"),
            ("zaikoban holds accept 番号", "反映します"),
            ("zaikoban holds reject 番号", "これまでのままにします"),
        ]),
        ..empty()
    }
}

/// 期限のある認証情報を新しくする方法。
fn renewal(w: &Words) -> Vec<(String, String)> {
    to_do(&[
        (
            "zaikoban credentials list",
            "登録されている認証情報と期限を表示します",
        ),
        (&renew(&w.name), "新しい認証情報とその期限を登録します"),
        (
            &new_end(&w.name),
            "すでに新しくしてある場合に、その期限だけを登録します",
        ),
    ])
}

fn part_down(alert: &Alert, w: &Words) -> Said {
    if w.code == "quarantined" {
        return Said {
            headline: format!(
                "{} 件の商品の監視が、異常終了をくり返したため止まっています",
                alert.count
            ),
            next: "再開するまで今のままです。ほかの商品の監視は続いています。".to_owned(),
            to_do: to_do(&[
                ("zaikoban errors list", "どの商品か、なぜかを表示します"),
                ("zaikoban products resume 番号", "監視を再開します"),
            ]),
            ..empty()
        };
    }
    let parked = w.then.as_deref() == Some("parked");
    Said {
        headline: if parked {
            format!(
                "在庫番の一部（{}）が、異常終了をくり返したため止まっています",
                w.code
            )
        } else {
            format!("在庫番の一部（{}）が異常終了し、自動で再起動しました", w.code)
        },
        next: match (&w.at, parked) {
            (Some(at), true) => format!("自動で再試行します（次は {at}）。ほかの部分は動いています。"),
            _ => "新しい状態で動いています。受け付けたものは失われていません。".to_owned(),
        },
        to_do: to_do(&[
            ("zaikoban tree", "どの部分がどう終わったかを表示します"),
            (
                "journalctl -u zaikoban -p warning --since -1h",
                "前後の記録を表示します。開発元へお送りください",
            ),
        ]),
        ..empty()
    }
}

pub(super) fn database(since: &str, reason: &str, over: bool) -> Said {
    let headline = if over {
        "復旧しました: データベースにつながりました"
    } else {
        "データベースにつながりません"
    };
    Said {
        headline: headline.to_owned(),
        lines: vec![format!("発生: {since}"), reason.to_owned()],
        next: if over {
            "止まったところから自動で再開します。".to_owned()
        } else {
            "つながるまで監視も送信も止まりますが、失われるものはありません。つながれば自動で再開します。"
                .to_owned()
        },
        to_do: to_do(&[
            ("zaikoban doctor", "原因を調べます"),
            ("df -h", "ディスクの空きを確認できます"),
        ]),
        ..empty()
    }
}

pub(super) fn test() -> Said {
    Said {
        headline: "テストです。この方法でお知らせが届きます".to_owned(),
        next: "何もする必要はありません。".to_owned(),
        ..empty()
    }
}

fn empty() -> Said {
    Said {
        headline: String::new(),
        lines: Vec::new(),
        next: String::new(),
        to_do: Vec::new(),
        products: Vec::new(),
        more: 0,
    }
}
