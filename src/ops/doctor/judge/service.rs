//! Marketplaces: whether they answer, let us in, and what time it is there.

use super::super::{Check, ClockSample};
use super::span;
use crate::domain::{ErrorClass, Platform};
use crate::platform::PlatformError;
use crate::platform::amazon::ACCESS_DENIED;
use crate::platform::oauth::{NEEDS_CREDENTIALS, NEEDS_REAUTH};
use crate::resilience::{GateView, GuardStatus};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// How long a question may wait for its turn; the rest of a probe's limit is for its answer.
pub const TURN_WITHIN: Duration = Duration::from_secs(4);
/// A clock that is off by more than this orders events wrongly, …
const CLOCK_OFF: TimeDelta = TimeDelta::seconds(2);
/// … and by more than this tokens and signatures are refused.
const CLOCK_TOO_FAR_OFF: TimeDelta = TimeDelta::seconds(60);

/// What is known of the account that a service is asked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The service asks for none.
    NotNeeded,
    /// It asks for one: what is lacking is what it is answered with.
    Given,
    /// There may be one; who asks does not sign in.
    NotTried,
}

/// A service and what became of the question.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Which.
    pub name: &'a str,
    /// Its endpoint is this machine.
    pub simulated: bool,
    /// What became of it.
    pub outcome: Outcome<'a>,
}

/// What became of a harmless question.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// It answered as it should.
    Reached,
    /// It answered otherwise, or not at all.
    Failed(&'a PlatformError),
    /// Not asked: the gate is shut, or a person paused it.
    Shut(Box<GuardStatus>),
    /// Not asked: no turn came.
    NoTurn(Box<GuardStatus>),
    /// No answer within the service's time limit.
    TimedOut,
    /// The question broke.
    Broke(&'a str),
}

/// The service's check, and that of its account.
#[must_use]
pub fn service(asked: &Asked<'_>, account: Account) -> Vec<Check> {
    let mut checks = vec![reached(asked)];
    checks.extend(credentials(asked, account));
    checks
}

fn reached(asked: &Asked<'_>) -> Check {
    let name = asked.name;
    let at = if asked.simulated {
        " (a SIMULATOR on this machine)"
    } else {
        ""
    };
    match &asked.outcome {
        Outcome::Reached => Check::ok(name, format!("answers{at}")),
        Outcome::Shut(status) => shut(name, status),
        Outcome::NoTurn(status) => no_turn(name, status),
        Outcome::TimedOut => Check::failed(
            name,
            format!("no answer within its time limit{at}"),
            format!(
                "see whether this machine reaches it at all; zaikoban goes on by itself (`zaikoban platforms list`, `{name}`)"
            ),
        ),
        Outcome::Broke(message) => Check::failed(
            name,
            format!("the question broke: {message}"),
            "this is a fault of zaikoban: keep the daemon's log and report it",
        ),
        Outcome::Failed(error) => failed(name, error),
    }
}

fn no_turn(name: &str, status: &GuardStatus) -> Check {
    let seldom = status.full_rate_per_second * TURN_WITHIN.as_secs_f64() < 1.0;
    if let Some(until) = status.told_to_wait_until {
        return Check::warning(
            name,
            format!("not asked: it told us to wait until {}", time(until)),
            "ask again then; zaikoban goes on by itself",
        );
    }
    if seldom {
        return in_use(name, status);
    }
    if status.rate_per_second < status.full_rate_per_second {
        return Check::warning(
            name,
            "not asked: no turn came within 4 s, because it is asked more slowly since its last 429",
            "ask again later; the rate grows back by itself",
        );
    }
    Check::warning(
        name,
        "not asked: no turn came within 4 s, because other requests wait",
        format!("ask again; if it stays so, raise `platforms.{name}.requests_per_second`"),
    )
}

/// Turns come so seldom by the settings' own word that the daemon's work has them all: what that was answered is the news.
fn in_use(name: &str, status: &GuardStatus) -> Check {
    let per_hour = (status.full_rate_per_second * 3_600.0).round();
    let said = format!("not asked: its budget of {per_hour} requests an hour is in use");
    match (works(status), &status.last_error) {
        (Some(at), _) => Check::ok(
            name,
            format!("{said}, and it works: it answered last at {}", time(at)),
        ),
        (None, Some(error)) => Check::warning(
            name,
            format!("{said}; last error, at {}: {}", time(error.at), error.message),
            "ask again in some minutes; if the error stays, `zaikoban errors list` shows what it means for products",
        ),
        (None, None) => Check::skipped(name, format!("{said}; nothing was answered yet since the start")),
    }
}

/// When it answered well last, if nothing that speaks against it came since. What it says of one product does not.
fn works(status: &GuardStatus) -> Option<DateTime<Utc>> {
    let of_a_product = |class| matches!(class, Some(ErrorClass::NotFound | ErrorClass::Rejected));
    let against = status
        .last_error
        .as_ref()
        .filter(|error| !of_a_product(error.class));
    status
        .last_ok
        .filter(|ok| against.is_none_or(|error| error.at <= *ok))
}

/// A moment of today in Japan.
fn time(at: DateTime<Utc>) -> String {
    let at = at.with_timezone(&chrono_tz::Asia::Tokyo);
    format!("{} JST", at.format("%H:%M:%S"))
}

fn shut(name: &str, status: &GuardStatus) -> Check {
    let last = status
        .last_error
        .as_ref()
        .map_or(String::new(), |e| format!("; last error: {}", e.message));
    match status.gate {
        GateView::Paused => Check::warning(
            name,
            "not asked: paused by a person",
            format!("`zaikoban platforms resume {name}` ends the pause"),
        ),
        GateView::Stopped => Check::warning(
            name,
            "not asked: the emergency stop is on",
            "`zaikoban resume-all` ends it",
        ),
        GateView::Shut { until } => Check::failed(
            name,
            format!("not asked: its breaker is open until {}{last}", time(until)),
            format!(
                "it is tried again by itself then; once the cause is mended: `zaikoban platforms reset {name}`"
            ),
        ),
        GateView::Open | GateView::Limited => Check::warning(
            name,
            format!("not asked: another request is finding out whether it is back{last}"),
            "ask again in a minute",
        ),
    }
}

fn failed(name: &str, error: &PlatformError) -> Check {
    let said = error.message.to_string();
    match error.class {
        // The line of the account says it.
        ErrorClass::Unauthorized => Check::warning(
            name,
            format!("can be reached, but does not let us in: {said}"),
            "see the line of its credentials",
        ),
        ErrorClass::RateLimited { .. } => Check::warning(
            name,
            said,
            format!(
                "it is asked less by itself; lower `platforms.{name}.requests_per_second` if it happens often"
            ),
        ),
        ErrorClass::Blocked => Check::failed(name, said, let_in_again(name)),
        ErrorClass::Transient => Check::failed(
            name,
            said,
            "see whether this machine reaches it at all (network, name server, certificates); if it is down, it is \
             tried again by itself",
        ),
        ErrorClass::Protocol | ErrorClass::NotFound | ErrorClass::Rejected => Check::failed(
            name,
            said,
            "it answers otherwise than agreed: `zaikoban errors list` shows what it means for products; a newer zaikoban \
             may be needed",
        ),
    }
}

/// What ends being turned away. Yahoo! does it to who asks too fast and names nobody to write to; Mercari to an address that
/// it does not know; elsewhere a refusal that says nothing is rarely the platform's own.
fn let_in_again(name: &str) -> String {
    match name.parse() {
        Ok(Platform::YahooAuction) => format!(
            "it turns this machine away: lower `platforms.{name}.requests_per_second`, name a `platforms.{name}.contact`, \
             wait some hours, then `zaikoban platforms reset {name}`"
        ),
        Ok(Platform::Mercari) => format!(
            "register this machine's public address with Mercari (the API's contact form; sandbox and shop apart), wait \
             for their word, then `zaikoban platforms reset {name}`; with a new address, once more"
        ),
        _ => format!(
            "somebody between, or {name} itself, refuses this machine: look at the proxy and the network; if nothing \
             there refuses it, ask the platform; then `zaikoban platforms reset {name}`"
        ),
    }
}

fn credentials(asked: &Asked<'_>, account: Account) -> Option<Check> {
    let name = format!("{} credentials", asked.name);
    let platform = asked.name;
    Some(match (account, &asked.outcome) {
        (Account::NotNeeded, _) => return None,
        (Account::Given, Outcome::Failed(error)) if *error.code == *NEEDS_CREDENTIALS => Check::failed(
            &name,
            error.message.to_string(),
            if has_consent(platform) {
                format!(
                    "`zaikoban credentials set {platform}`, then `zaikoban credentials authorize {platform}`"
                )
            } else {
                format!("`zaikoban credentials set {platform}`")
            },
        ),
        (Account::Given, Outcome::Reached) => Check::ok(&name, "signed in"),
        (Account::Given, Outcome::Failed(error)) if error.class == ErrorClass::Unauthorized => {
            let what = match &*error.code {
                NEEDS_REAUTH => "the sign-in was refused",
                ACCESS_DENIED => "signed in, but the application may not ask this",
                _ => "refused",
            };
            Check::failed(
                &name,
                format!("{what}: {}", error.message),
                be_let_in(platform, &error.code),
            )
        }
        (Account::Given, Outcome::NoTurn(status)) => match works(status) {
            Some(at) => Check::ok(&name, format!("signed in: it answered last at {}", time(at))),
            None => Check::skipped(&name, "given; not tried, because no turn came"),
        },
        (Account::NotTried, _) => Check::skipped(&name, "not tried: the daemon alone signs in"),
        (Account::Given, _) => Check::skipped(&name, "given; not tried, because the service did not answer"),
    })
}

/// What to do about a refusal.
fn be_let_in(platform: &str, code: &str) -> String {
    let what = match code {
        // The token is good: another for the same application lacks the same role.
        ACCESS_DENIED => {
            "the application lacks the role for this: add it to the application in Seller Central (Develop apps, Edit \
             app), and let the seller authorise it once more if that page asks for it"
                .to_owned()
        }
        _ if has_consent(platform) => {
            format!("let the seller consent again: `zaikoban credentials authorize {platform}`")
        }
        _ => format!(
            "make a new token at {platform}, give it with `zaikoban credentials set {platform}`"
        ),
    };
    format!("{what}, then `zaikoban platforms reset {platform}`")
}

/// Whether a seller's consent can be asked for; elsewhere a person gives the whole key.
fn has_consent(platform: &str) -> bool {
    platform.parse().is_ok_and(Platform::asks_for_consent)
}

/// Our clock by those of the services. When they disagree, the one nearest to ours is believed, and the other named.
#[must_use]
pub fn clock(samples: &[ClockSample]) -> Check {
    let name = "clock";
    let off = |sample: &ClockSample| (sample.ahead.abs() - sample.within).max(TimeDelta::zero());
    let Some(best) = samples.iter().min_by_key(|sample| off(sample)) else {
        return Check::skipped(name, "no service said what time it is");
    };
    let shown = |sample: &ClockSample| {
        let tenths = sample.ahead.num_milliseconds().unsigned_abs() / 100;
        let seconds = if tenths > 1_200 {
            span(tenths_to_s(tenths))
        } else {
            format!("{}.{} s", tenths / 10, tenths % 10)
        };
        let way = if sample.ahead < TimeDelta::zero() {
            "ahead of"
        } else {
            "behind"
        };
        format!("{seconds} {way} that of `{}`", sample.service)
    };
    let to_do = "set it, and let it be kept: `timedatectl set-ntp true` (package `systemd-timesyncd`), then `timedatectl \
                 timesync-status`";
    let said = format!("this machine's clock is {}", shown(best));
    if off(best) > CLOCK_TOO_FAR_OFF {
        return Check::failed(name, said, to_do);
    }
    if off(best) > CLOCK_OFF {
        return Check::warning(name, said, to_do);
    }
    let liar = samples.iter().find(|sample| off(sample) > CLOCK_OFF);
    if let Some(liar) = liar {
        return Check::warning(
            name,
            format!(
                "this machine's clock agrees with `{}`, and is {}",
                best.service,
                shown(liar)
            ),
            "nothing here: it is the other clock that is wrong, or a cache that stands between; look again tomorrow",
        );
    }
    Check::ok(name, format!("agrees with {}", names(samples)))
}

fn tenths_to_s(tenths: u64) -> f64 {
    let whole = u32::try_from(tenths / 10).unwrap_or(u32::MAX);
    f64::from(whole)
}

fn names(samples: &[ClockSample]) -> String {
    let names: Vec<String> = samples.iter().map(|s| format!("`{}`", s.service)).collect();
    format!("{}, to the second", names.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState::{Failed, Ok as Well, Skipped, Warning};
    use crate::resilience::{Counts, LastError};
    use chrono::DateTime;

    fn error(class: ErrorClass, code: &str) -> PlatformError {
        PlatformError {
            class,
            code: code.into(),
            message: "what was said".into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        }
    }

    fn status(gate: GateView) -> GuardStatus {
        GuardStatus {
            service: "ebay".into(),
            gate,
            told_to_wait_until: None,
            rate_per_second: 5.0,
            full_rate_per_second: 5.0,
            in_flight: 0,
            waiting: 0,
            trips: 1,
            counts: Counts::default(),
            last_ok: None,
            last_error: Some(LastError {
                at: DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
                class: Some(ErrorClass::Transient),
                message: "connection refused".into(),
            }),
        }
    }

    fn told(outcome: Outcome<'_>, account: Account) -> Vec<Check> {
        service(
            &Asked {
                name: "ebay",
                simulated: false,
                outcome,
            },
            account,
        )
    }

    #[test]
    fn each_class_of_failure_has_its_state_and_its_advice() {
        let table = [
            (ErrorClass::Transient, Failed, "network"),
            (
                ErrorClass::RateLimited { retry_after: None },
                Warning,
                "requests_per_second",
            ),
            (ErrorClass::Blocked, Failed, "platforms reset ebay"),
            (ErrorClass::Unauthorized, Warning, "credentials"),
            (ErrorClass::Protocol, Failed, "errors list"),
            (ErrorClass::Rejected, Failed, "errors list"),
        ];
        for (class, state, to_do) in table {
            let error = error(class, "code");
            let checks = told(Outcome::Failed(&error), Account::NotNeeded);
            assert_eq!(checks.len(), 1);
            let check = checks.first().unwrap();
            assert_eq!(check.state, state, "{class:?}");
            assert!(check.to_do.as_ref().unwrap().contains(to_do), "{check:?}");
        }
    }

    #[test]
    fn a_refused_sign_in_is_told_on_the_line_of_the_credentials() {
        let refused = error(ErrorClass::Unauthorized, NEEDS_REAUTH);
        let states = |outcome, account| told(outcome, account).iter().map(|c| c.state).collect::<Vec<_>>();
        assert_eq!(states(Outcome::Reached, Account::Given), [Well, Well]);
        assert_eq!(
            states(Outcome::Failed(&refused), Account::Given),
            [Warning, Failed]
        );
        assert_eq!(states(Outcome::TimedOut, Account::Given), [Failed, Skipped]);
        let lacking = error(ErrorClass::Unauthorized, NEEDS_CREDENTIALS);
        assert_eq!(
            states(Outcome::Failed(&lacking), Account::Given),
            [Warning, Failed]
        );
        let line = told(Outcome::Failed(&lacking), Account::Given).pop().unwrap();
        assert!(line.to_do.unwrap().contains("`zaikoban credentials set ebay`"));
        let line = told(Outcome::Failed(&refused), Account::Given).pop().unwrap();
        assert!(
            line.to_do
                .unwrap()
                .contains("`zaikoban credentials authorize ebay`")
        );
    }

    /// What is to be done about `error` at a platform: on its line, and on that of its credentials.
    fn advised(platform: Platform, error: &PlatformError) -> (String, String) {
        let asked = Asked {
            name: platform.as_str(),
            simulated: false,
            outcome: Outcome::Failed(error),
        };
        let mut all = service(&asked, Account::Given).into_iter();
        let mut next = || all.next().unwrap().to_do.unwrap_or_default();
        (next(), next())
    }

    #[test]
    fn a_consent_is_advised_only_where_the_daemon_can_ask_for_one() {
        for platform in Platform::ALL.iter().copied() {
            for code in [NEEDS_CREDENTIALS, NEEDS_REAUTH, "some_token_refused"] {
                let (_, to_do) = advised(platform, &error(ErrorClass::Unauthorized, code));
                assert!(
                    to_do.contains(&format!("`{}`", platform.sign_in_command())),
                    "{to_do}"
                );
                assert_eq!(to_do.contains("authorize"), platform == Platform::Ebay, "{to_do}");
            }
        }
    }

    #[test]
    fn an_application_that_lacks_a_role_is_not_sent_to_sign_in_again() {
        for platform in [Platform::Amazon, Platform::AmazonSeller] {
            let (_, to_do) = advised(platform, &error(ErrorClass::Unauthorized, ACCESS_DENIED));
            assert!(to_do.contains("lacks the role"), "{to_do}");
            assert!(to_do.contains(&format!("platforms reset {platform}`")), "{to_do}");
            assert!(!to_do.contains("zaikoban credentials"), "{to_do}");
        }
    }

    #[test]
    fn who_is_turned_away_is_told_what_that_means_at_that_platform() {
        for platform in Platform::ALL.iter().copied() {
            for code in ["http_403", crate::platform::mercari::ADDRESS_NOT_REGISTERED] {
                let (to_do, _) = advised(platform, &error(ErrorClass::Blocked, code));
                let words = match platform {
                    Platform::YahooAuction => "`platforms.yahoo_auction.contact`",
                    Platform::Mercari => "register this machine's public address",
                    _ => "the proxy and the network",
                };
                assert!(to_do.contains(words), "{to_do}");
                // No other platform has that key, and a start with one that is not there is refused.
                let of_yahoo = platform == Platform::YahooAuction;
                assert_eq!(to_do.contains(".contact"), of_yahoo, "{to_do}");
                assert_eq!(to_do.contains("requests_per_second"), of_yahoo, "{to_do}");
                assert!(to_do.contains(&format!("platforms reset {platform}`")), "{to_do}");
            }
        }
    }

    #[test]
    fn an_open_breaker_says_until_when_and_why() {
        let until = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let checks = told(
            Outcome::Shut(Box::new(status(GateView::Shut { until }))),
            Account::NotNeeded,
        );
        let check = checks.first().unwrap();
        assert_eq!(check.state, Failed);
        assert_eq!(
            check.said,
            "not asked: its breaker is open until 20:06:40 JST; last error: connection refused"
        );
        for (gate, to_do) in [
            (GateView::Paused, "platforms resume ebay"),
            (GateView::Stopped, "resume-all"),
            (GateView::Limited, "ask again"),
        ] {
            let checks = told(Outcome::Shut(Box::new(status(gate))), Account::NotNeeded);
            let check = checks.first().unwrap();
            assert_eq!(check.state, Warning);
            assert!(check.to_do.as_ref().unwrap().contains(to_do), "{check:?}");
        }
    }

    #[test]
    fn a_budget_in_use_is_told_with_what_the_daemons_own_calls_were_answered() {
        let at = |s: i64| DateTime::from_timestamp(1_795_000_000 + s, 0).unwrap();
        let amazon = |last_ok, class, told_to_wait_until| GuardStatus {
            full_rate_per_second: 100.0 / 3_600.0,
            rate_per_second: 100.0 / 3_600.0,
            told_to_wait_until,
            last_ok,
            last_error: Some(LastError {
                at: at(0),
                class,
                message: "connection refused".into(),
            }),
            ..status(GateView::Open)
        };
        let transient = Some(ErrorClass::Transient);
        for (status, states, words) in [
            (amazon(Some(at(1)), transient, None), [Well, Well], "20:06:41 JST"),
            (
                amazon(Some(at(-1)), Some(ErrorClass::NotFound), None),
                [Well, Well],
                "20:06:39 JST",
            ),
            (
                amazon(Some(at(-1)), transient, None),
                [Warning, Skipped],
                "connection refused",
            ),
            (
                amazon(Some(at(-1)), Some(ErrorClass::Unauthorized), None),
                [Warning, Skipped],
                "last error",
            ),
            (
                amazon(None, transient, None),
                [Warning, Skipped],
                "100 requests an hour",
            ),
            (
                amazon(Some(at(1)), transient, Some(at(60))),
                [Warning, Well],
                "wait until 20:07:40 JST",
            ),
            (
                GuardStatus {
                    last_error: None,
                    ..amazon(None, None, None)
                },
                [Skipped, Skipped],
                "nothing was answered yet",
            ),
        ] {
            let checks = told(Outcome::NoTurn(Box::new(status)), Account::Given);
            let seen: Vec<_> = checks.iter().map(|check| check.state).collect();
            assert_eq!(seen, states, "{checks:?}");
            let said = &checks.first().unwrap().said;
            assert!(said.contains(words), "{said}");
            let advised = checks.iter().filter_map(|check| check.to_do.as_deref());
            assert!(
                !advised.into_iter().any(|to_do| to_do.contains("raise")),
                "{checks:?}"
            );
        }
    }

    #[test]
    fn a_rate_is_to_be_raised_only_where_others_wait_for_it() {
        let to_do = |rate_per_second| {
            let status = GuardStatus {
                rate_per_second,
                ..status(GateView::Open)
            };
            let checks = told(Outcome::NoTurn(Box::new(status)), Account::NotNeeded);
            checks.first().unwrap().to_do.clone().unwrap()
        };
        assert!(to_do(5.0).contains("raise `platforms.ebay.requests_per_second`"));
        assert!(to_do(0.1).contains("grows back by itself"));
    }

    fn sample(service: &str, ahead_ms: i64, within_ms: i64) -> ClockSample {
        ClockSample {
            service: service.into(),
            ahead: TimeDelta::milliseconds(ahead_ms),
            within: TimeDelta::milliseconds(within_ms),
        }
    }

    #[test]
    fn f7_a_clock_warns_above_two_seconds_and_fails_above_a_minute_in_either_way() {
        let state = |ahead_ms| clock(&[sample("ebay", ahead_ms, 500)]).state;
        let table = [
            (0, Well),
            (2_500, Well),
            (-2_500, Well),
            (2_501, Warning),
            (-2_501, Warning),
            (60_500, Warning),
            (60_501, Failed),
            (-60_501, Failed),
            (86_400_000, Failed),
        ];
        for (ahead_ms, expected) in table {
            assert_eq!(state(ahead_ms), expected, "{ahead_ms}");
        }
        assert_eq!(clock(&[]).state, Skipped);
        assert_eq!(
            clock(&[sample("ebay", 5_000, 500)]).said,
            "this machine's clock is 5.0 s behind that of `ebay`"
        );
        assert_eq!(
            clock(&[sample("ebay", -300_000, 500)]).said,
            "this machine's clock is 5 min ahead of that of `ebay`"
        );
    }

    #[test]
    fn one_wrong_clock_among_two_is_theirs() {
        let told = clock(&[sample("ebay", 200, 500), sample("yahoo_auction", 90_000, 500)]);
        assert_eq!(told.state, Warning);
        assert!(
            told.said.contains("agrees with `ebay`") && told.said.contains("`yahoo_auction`"),
            "{told:?}"
        );
        let both = clock(&[sample("ebay", 90_000, 500), sample("yahoo_auction", 91_000, 500)]);
        assert_eq!(both.state, Failed);
    }
}
