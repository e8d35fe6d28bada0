//! Guards of several nodes that share a rate and a gate, in memory.

use super::super::super::peers::{Heard, News, Peers, Turns, TurnsAsked};
use super::*;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicI64},
};

/// What the nodes share.
#[derive(Default)]
struct Common {
    away: AtomicBool,
    turn: Mutex<Option<Instant>>,
    there: Mutex<HashMap<usize, (f64, Instant)>>,
    prober: Mutex<Option<usize>>,
    news: Mutex<Option<(News, Instant)>>,
    number: AtomicI64,
}

/// One node's end of it.
struct Node {
    common: Arc<Common>,
    me: usize,
    share: f64,
    cut_off: AtomicBool,
}

impl Peers for Node {
    fn share(&self, _service: &str) -> f64 {
        self.share
    }

    fn are_reachable(&self) -> bool {
        !self.common.away.load(Ordering::SeqCst) && !self.cut_off.load(Ordering::SeqCst)
    }

    fn turns(&self, _service: &str, asked: TurnsAsked) -> BoxFuture<'static, Option<Turns>> {
        let (common, me, reachable) = (Arc::clone(&self.common), self.me, self.are_reachable());
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if !reachable {
                return None;
            }
            let now = Instant::now();
            let mut there = common.there.lock();
            there.insert(me, (asked.share, now + secs(2)));
            there.retain(|_, (_, until)| *until > now);
            let sum: f64 = there.values().map(|(share, _)| share).sum();
            let apart = asked.interval.div_f64(sum.min(1.0));
            let mut turn = common.turn.lock();
            // as new: later than anything that was given out before
            let mut next = turn.unwrap_or(now + apart * 3).max(now);
            let mut at = Vec::new();
            while at.len() < usize::try_from(asked.wanted).unwrap() && next <= now + apart * 2 {
                at.push(next);
                next += apart;
            }
            *turn = Some(next);
            let again_at = at.is_empty().then(|| next - apart * 2);
            Some(Turns { at, apart, again_at })
        }
        .boxed()
    }

    fn may_probe(&self, _service: &str, _lasts: Duration) -> BoxFuture<'static, Option<bool>> {
        let mut prober = self.common.prober.lock();
        let ours = *prober.get_or_insert(self.me) == self.me;
        futures_util::future::ready(self.are_reachable().then_some(ours)).boxed()
    }

    fn tell(&self, _service: &str, news: News) {
        *self.common.prober.lock() = None;
        if news != News::ProbeReturned {
            *self.common.news.lock() = Some((news, Instant::now()));
            self.common.number.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Common {
    fn heard(&self) -> Option<Heard> {
        let (news, at) = (*self.news.lock())?;
        let number = self.number.load(Ordering::SeqCst);
        Some(match news {
            News::Shut { lasts, trips } => Heard {
                shut_for: Some(lasts.saturating_sub(at.elapsed())),
                trips,
                number,
            },
            _ => Heard {
                shut_for: None,
                trips: 0,
                number,
            },
        })
    }
}

fn nodes(shares: &[f64], policy: &Policy) -> (Arc<Common>, Vec<(Guard, Arc<Node>)>) {
    let common = Arc::new(Common::default());
    let nodes = shares.iter().enumerate().map(|(me, share)| {
        let node = Arc::new(Node {
            common: Arc::clone(&common),
            me,
            share: *share,
            cut_off: AtomicBool::new(false),
        });
        let guard = guard(policy.clone());
        guard.join(node.clone());
        (guard, node)
    });
    (common.clone(), nodes.collect())
}

/// Each node calls as fast as it may until the end; answers when each call was sent.
async fn hammer(nodes: &[(Guard, Arc<Node>)], end: Instant) -> Vec<Instant> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for (guard, _) in nodes {
        let (guard, sent) = (guard.clone(), Arc::clone(&sent));
        tasks.spawn(async move {
            while Instant::now() < end {
                let permit = guard.reserve(Priority::Normal).await;
                let told = Arc::clone(&sent);
                let call = guard.call_with(permit, || async move {
                    told.lock().push(Instant::now());
                    Ok::<_, Failure>(())
                });
                drop(call.await);
            }
        });
    }
    let _ended = tokio::time::timeout_at(end, async { while tasks.join_next().await.is_some() {} }).await;
    let mut sent = sent.lock().clone();
    sent.sort_unstable();
    sent
}

/// The most calls in any second.
fn busiest(sent: &[Instant]) -> usize {
    let in_a_second = |from: &Instant| {
        sent.iter()
            .filter(|at| *at >= from && **at < *from + secs(1))
            .count()
    };
    sent.iter().map(in_a_second).max().unwrap_or(0)
}

fn ten_a_second() -> Policy {
    Policy {
        rate: Rate::per_second(10.0).unwrap(),
        ..policy()
    }
}

#[tokio::test(start_paused = true)]
async fn three_nodes_together_keep_one_rate_and_use_all_of_it() {
    let third = 1.0 / 3.0;
    let (_common, nodes) = nodes(&[third; 3], &ten_a_second());
    let began = Instant::now();
    let sent = hammer(&nodes, began + secs(60)).await;
    assert!(busiest(&sent) <= 10, "{}", busiest(&sent));
    assert!(sent.len() >= 570, "{} of 600", sent.len());
}

#[tokio::test(start_paused = true)]
async fn one_that_calls_alone_among_idle_ones_gets_what_those_who_are_there_leave() {
    let (_common, nodes) = nodes(&[0.5, 0.5], &ten_a_second());
    let began = Instant::now();
    let sent = hammer(&nodes[..1], began + secs(60)).await;
    // the other never asked: it may be cut off and go by its own half
    assert!((280..=301).contains(&sent.len()), "{}", sent.len());
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_while_what_is_shared_goes_away_and_comes_back() {
    let (common, nodes) = nodes(&[0.5, 0.3, 0.2], &ten_a_second());
    let began = Instant::now();
    let trouble = async {
        for round in 0..20_u64 {
            tokio::time::sleep(Duration::from_millis(1_700 + 613 * (round % 5))).await;
            common.away.store(round % 2 == 0, Ordering::SeqCst);
            // what comes back has forgotten
            *common.turn.lock() = None;
            common.there.lock().clear();
        }
    };
    let (sent, ()) = tokio::join!(hammer(&nodes, began + secs(70)), trouble);
    // each node alone is even, so their seconds may meet at the edges: one for each node
    assert!(busiest(&sent) <= 13, "{} in a second", busiest(&sent));
    assert!(sent.len() <= 703, "{} in 70 s", sent.len());
    assert!(sent.len() >= 250, "it goes on: {}", sent.len());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_and_those_who_are_not_keep_the_limit_together() {
    let (_common, nodes) = nodes(&[0.5, 0.25, 0.25], &ten_a_second());
    let began = Instant::now();
    let trouble = async {
        for round in 0..8_u64 {
            tokio::time::sleep(Duration::from_millis(6_100)).await;
            nodes[0].1.cut_off.store(round % 2 == 0, Ordering::SeqCst);
        }
    };
    let (sent, ()) = tokio::join!(hammer(&nodes, began + secs(60)), trouble);
    assert!(busiest(&sent) <= 12, "{} in a second", busiest(&sent));
    assert!((400..=602).contains(&sent.len()), "{} in 60 s", sent.len());
}

#[tokio::test(start_paused = true)]
async fn alone_it_asks_nobody() {
    let (common, nodes) = nodes(&[1.0], &ten_a_second());
    let sent = hammer(&nodes, Instant::now() + secs(10)).await;
    assert!(sent.len() >= 99, "{}", sent.len());
    assert!(common.there.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_share_nothing_goes() {
    let (_common, nodes) = nodes(&[0.0], &ten_a_second());
    assert!(hammer(&nodes, Instant::now() + secs(10)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_gate_shut_by_one_node_is_shut_on_all_and_one_probe_opens_it_for_all() {
    let (common, nodes) = nodes(&[0.5, 0.5], &policy());
    let (first, second) = (&nodes[0].0, &nodes[1].0);
    let until = tripped(first).await;
    second.hear(common.heard().unwrap());
    let other = second.shut_for().expect("shut by what was heard");
    assert!(other <= until - Instant::now() && other + secs(1) > until - Instant::now());

    tokio::time::sleep_until(until + secs(1)).await;
    let probes = Arc::new(AtomicUsize::new(0));
    let mut calls = JoinSet::new();
    for (guard, _) in nodes.iter().cycle().take(20) {
        let (guard, probes) = (guard.clone(), Arc::clone(&probes));
        calls.spawn(async move {
            let call = guard.call(Priority::Normal, || async move {
                probes.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(secs(3)).await;
                Ok::<_, Failure>(())
            });
            drop(call.await);
        });
    }
    tokio::time::sleep(secs(2)).await;
    assert_eq!(
        probes.load(Ordering::SeqCst),
        1,
        "one of all nodes tries it again"
    );
    tokio::time::sleep(secs(2)).await;
    for (guard, _) in &nodes {
        guard.hear(common.heard().unwrap());
        assert!(is_open(guard));
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_each_node_tries_it_again_by_itself() {
    let (common, nodes) = nodes(&[0.5, 0.5], &policy());
    let until = tripped(&nodes[0].0).await;
    common.away.store(true, Ordering::SeqCst);
    tokio::time::sleep_until(until + secs(4)).await;
    ok(&nodes[0].0).await.unwrap();
    assert!(is_open(&nodes[0].0));
}

#[tokio::test(start_paused = true)]
async fn news_that_are_old_or_its_own_change_nothing() {
    let (common, nodes) = nodes(&[0.5, 0.5], &policy());
    let guard = &nodes[0].0;
    let heard = |shut_for, number| Heard {
        shut_for,
        trips: 3,
        number,
    };
    guard.hear(heard(Some(Duration::ZERO), 1));
    assert!(is_open(guard), "its time is over");
    guard.hear(heard(Some(secs(60)), 1));
    assert!(is_open(guard), "the number is known");
    let until = tripped(guard).await;
    guard.hear(common.heard().unwrap());
    guard.hear(heard(None, 7));
    let left = guard.shut_for().expect("an older word does not open it");
    assert!(left <= until - Instant::now() && left + secs(1) > until - Instant::now());
    guard.hear(heard(Some(secs(1_000_000)), 8));
    let most = policy().opening.longest * 2 + policy().slow_down.wait_max;
    assert!(guard.shut_for().unwrap() <= most, "no word counts for longer");
}
