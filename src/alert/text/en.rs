//! English.

use super::{Headings, Said, Told, Words, new_end, renew, sign_in};
use crate::domain::{AlertEvent, AlertKind, AlertLevel};
use crate::store::alerts::Alert;

pub(super) const HEADINGS: Headings = Headings {
    next: "What happens next",
    to_do: "What to do",
    products: "Products",
    more: |n| format!("… and {n} more"),
    footer: |host| {
        format!(
            "zaikoban on {host}. `zaikoban alerts list` shows what is open; `zaikoban alerts ack ID` says that you know."
        )
    },
};

fn level(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Info => "info",
        AlertLevel::Warning => "warning",
        AlertLevel::Error => "ERROR",
        AlertLevel::Critical => "CRITICAL",
    }
}

pub(super) fn mark(told: &Told) -> String {
    match (told.event, told.over_untold) {
        (AlertEvent::Recovered, _) => "over".to_owned(),
        (AlertEvent::Grew, _) => format!("{}, more", level(told.level)),
        (AlertEvent::Reminder, _) => format!("{}, still", level(told.level)),
        (AlertEvent::Opened, _) => level(told.level).to_owned(),
    }
}

pub(super) fn many(count: usize, worst: AlertLevel, host: &str) -> String {
    format!("[{}] {host}: {count} things to tell", level(worst))
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
        said.lines.insert(0, format!("Since {}", w.since));
        if let Some(message) = &w.message {
            said.lines.push(message.clone());
        }
    }
    said.products.clone_from(&w.products);
    said.more = w.more;
    if event == AlertEvent::Recovered {
        said.headline = format!("over: {}", said.headline);
        said.next = format!("Nothing: it is over. It had begun on {}.", w.since);
        said.to_do = to_do(&[("zaikoban status", "shows that all is well")]);
    }
    said
}

fn about(alert: &Alert, w: &Words) -> Said {
    let id = alert.id;
    let ack = (
        format!("zaikoban alerts ack {id}"),
        "says that you know".to_owned(),
    );
    let mut said = match alert.kind {
        AlertKind::Hold => hold(alert, w),
        AlertKind::Error => Said {
            headline: format!("{} trouble(s) of kind {} at {}", alert.count, w.code, w.platform),
            next: "Other products go on. What is recorded stays until somebody resolves it.".to_owned(),
            to_do: to_do(&[
                ("zaikoban errors list", "shows them with what was being done"),
                ("zaikoban errors resolve ID --note TEXT", "says that one is dealt with"),
            ]),
            ..empty()
        },
        AlertKind::DeadLetter => Said {
            headline: format!("{} job(s) of {} were given up", alert.count, w.code),
            next: "They stay where they are; their listings may be out of date until then.".to_owned(),
            to_do: to_do(&[
                ("zaikoban queue list --status dead", "shows them and why"),
                ("zaikoban queue retry ID", "tries again once the cause is mended"),
                ("zaikoban queue discard ID", "gives one up for good"),
            ]),
            ..empty()
        },
        AlertKind::Outage if alert.platform.is_none() => Said {
            headline: format!("{} services are away at once: {}", alert.count, w.services),
            next: "Each is tried again by itself; work waits and nothing is lost. Several at once is often our own line.".to_owned(),
            to_do: to_do(&[
                ("zaikoban doctor", "tests the line, the names and each service"),
                ("zaikoban platforms list", "shows how each stands"),
            ]),
            ..empty()
        },
        AlertKind::Outage => Said {
            headline: format!("{} is away", w.platform),
            next: match &w.at {
                Some(at) => format!("It is tried again by itself, next on {at}. Work waits; nothing is lost."),
                None => "It is being tried. Work waits; nothing is lost.".to_owned(),
            },
            to_do: to_do(&[
                ("zaikoban platforms list", "shows how it stands and its last answer"),
                (&format!("zaikoban platforms reset {}", w.name), "tries at once, when you know that it is back"),
            ]),
            ..empty()
        },
        AlertKind::Credentials if w.code == "ends_soon" => Said {
            headline: format!("the credentials of {} end soon", w.platform),
            next: format!("From {} on nothing can be pushed there.", w.at.as_deref().unwrap_or("then")),
            to_do: renewal(w),
            ..empty()
        },
        AlertKind::Credentials if w.code == "ended" => Said {
            headline: format!("the credentials of {} have ended", w.platform),
            next: format!(
                "Nothing can be pushed there since {}, until there are new ones; changes wait.",
                w.at.as_deref().unwrap_or("then")
            ),
            to_do: renewal(w),
            ..empty()
        },
        AlertKind::Credentials => Said {
            headline: format!("{} does not let us in: {}", w.platform, w.code),
            next: "Nothing is pushed there until a person signs in again; changes wait.".to_owned(),
            to_do: to_do(&[
                ("zaikoban credentials list", "shows what is there and until when it holds"),
                (&format!("zaikoban credentials set {}", w.name), "keeps the keys, if they are lacking"),
                (&sign_in(&w.name), "signs in again"),
                (&format!("zaikoban platforms reset {}", w.name), "tries at once with what is there"),
            ]),
            ..empty()
        },
        AlertKind::PartDown => part_down(alert, w),
        AlertKind::Database => database(&w.since, w.message.as_deref().unwrap_or_default(), false),
        AlertKind::Redis => Said {
            headline: "Redis is away".to_owned(),
            next: "Everything goes on from PostgreSQL and nothing is lost; several nodes keep to their share of each rate. \
                   It is used again by itself."
                .to_owned(),
            to_do: to_do(&[("zaikoban doctor", "says what is the matter with it and what to do")]),
            ..empty()
        },
        AlertKind::MassOutOfStock => Said {
            headline: format!("{} products at {} went out of stock within an hour", alert.count, w.platform),
            next: "Their listings were set to 0, as they should be.".to_owned(),
            to_do: to_do(&[
                ("zaikoban status", "shows whether the source can be read"),
                ("zaikoban stop-all", "stops all pushes, if this cannot be true"),
            ]),
            ..empty()
        },
        AlertKind::NodeDown => Said {
            headline: format!("node {} is not heard of any more", w.code),
            next: "The other nodes do its part of the work; it joins again by itself when it runs.".to_owned(),
            to_do: to_do(&[
                ("zaikoban nodes", "shows who is there and what each does"),
                ("systemctl start zaikoban", "starts it, on its own machine"),
            ]),
            ..empty()
        },
        AlertKind::EmergencyStop => Said {
            headline: "the emergency stop is still on".to_owned(),
            next: "Nothing is pushed anywhere until it is taken off; what sells out meanwhile stays listed.".to_owned(),
            to_do: to_do(&[("zaikoban resume-all", "lets the pushes go on")]),
            ..empty()
        },
        AlertKind::Channel => Said {
            headline: format!("messages over {} do not arrive", w.code),
            next: "They wait and are tried again by themselves; other channels go on.".to_owned(),
            to_do: to_do(&[("zaikoban alerts test", "sends a test over each channel and says what came back")]),
            ..empty()
        },
        AlertKind::Change => Said {
            headline: match w.products.first() {
                Some(product) => format!("changed: {}", super::inert::line(product).chars().take(90).collect::<String>()),
                None => "a product has changed".to_owned(),
            },
            next: "Its listings follow by themselves.".to_owned(),
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
        "price_step" => "prices moved further than is believed",
        "price_zero" => "pages ask nothing",
        "currency_changed" => "pages ask in another currency",
        "title_changed" => "titles are those of other items",
        "seller_changed" => "another seller offers under the same address",
        "other_item" => "addresses lead to other items",
        "mass_change" => "too many would go out of stock at once",
        "remote_sale" => "less is left there than was confirmed: something was sold",
        "radius" | "radius_price" => "too many listings would be ended or repriced",
        "remote_end" => "listings were ended over there by somebody else",
        "not_applied" => "values were taken over there and others are shown",
        "refused" => "values were refused over there",
        other => other,
    };
    let default = match w.then.as_deref() {
        Some("accept") => "takes effect",
        Some("reject") => "is dropped",
        _ => "is read again, and takes effect if it is still so",
    };
    Said {
        headline: format!("{n} change(s) wait for you at {}: {what}", w.platform),
        next: match &w.at {
            Some(at) => format!("Without your word the first of them {default} on {at}."),
            None => "They wait for your word.".to_owned(),
        },
        to_do: to_do(&[
            ("zaikoban holds list", "shows each with what was seen"),
            ("zaikoban holds accept ID", "lets it take effect"),
            ("zaikoban holds reject ID", "keeps what was"),
        ]),
        ..empty()
    }
}

/// What replaces credentials that end.
fn renewal(w: &Words) -> Vec<(String, String)> {
    to_do(&[
        (
            "zaikoban credentials list",
            "shows what is there and until when it holds",
        ),
        (&renew(&w.name), "keeps new ones, and until when they hold"),
        (
            &new_end(&w.name),
            "if they were replaced already: says until when the new ones hold",
        ),
    ])
}

fn part_down(alert: &Alert, w: &Words) -> Said {
    if w.code == "quarantined" {
        return Said {
            headline: format!(
                "{} products are not watched any more: their watchers kept crashing",
                alert.count
            ),
            next: "They stay as they are until somebody resumes them; all others go on.".to_owned(),
            to_do: to_do(&[
                ("zaikoban errors list", "shows which and why"),
                ("zaikoban products resume ID", "watches one again"),
            ]),
            ..empty()
        };
    }
    let parked = w.then.as_deref() == Some("parked");
    Said {
        headline: if parked {
            format!(
                "part `{}` of the daemon is down after crashing again and again",
                w.code
            )
        } else {
            format!("part `{}` of the daemon crashed and was restarted", w.code)
        },
        next: match (&w.at, parked) {
            (Some(at), true) => format!("It is tried again by itself, next on {at}; the others go on."),
            _ => "It goes on with fresh state; nothing that was accepted is lost.".to_owned(),
        },
        to_do: to_do(&[
            ("zaikoban tree", "shows which part and how it ended"),
            (
                "journalctl -u zaikoban -p warning --since -1h",
                "shows the log around it: send it to us",
            ),
        ]),
        ..empty()
    }
}

pub(super) fn database(since: &str, reason: &str, over: bool) -> Said {
    let headline = if over {
        "over: the database is back"
    } else {
        "the database is away"
    };
    Said {
        headline: headline.to_owned(),
        lines: vec![format!("Since {since}"), reason.to_owned()],
        next: if over {
            "Everything goes on where it stood.".to_owned()
        } else {
            "Nothing is watched, pushed or forgotten until it is back; then all goes on by itself.".to_owned()
        },
        to_do: to_do(&[
            ("zaikoban doctor", "says what is wrong with it"),
            ("df -h", "shows whether a disk is full"),
        ]),
        ..empty()
    }
}

pub(super) fn test() -> Said {
    Said {
        headline: "this is a test: messages over this channel arrive".to_owned(),
        next: "Nothing.".to_owned(),
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
