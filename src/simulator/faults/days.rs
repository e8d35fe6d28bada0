//! Days that demos and rehearsals have.

use super::{AmazonFault, CallFault, FaultPlan, MercariFault, PageFault, Storm};

impl FaultPlan {
    /// A bad day: single pages that are slow, cut, turned away or drifted, and a storm at one marketplace.
    #[must_use]
    pub fn bad_day() -> Self {
        let mut plan = Self::default();
        plan.yahoo.p_503 = 0.004;
        plan.yahoo.p_429 = 0.0003;
        plan.yahoo.p_truncated = 0.004;
        plan.yahoo.p_reset = 0.002;
        plan.yahoo.p_drift = 0.004;
        plan.yahoo.p_delay = 0.01;
        plan.yahoo.p_other_item = 0.001;
        plan.ebay.p_503 = 0.01;
        plan.ebay.p_cut = 0.01;
        plan.ebay.p_delay = 0.02;
        plan.ebay.p_entry_fails = 0.01;
        plan.mercari.p_503 = 0.01;
        plan.mercari.p_cut = 0.01;
        plan.mercari.p_delay = 0.02;
        plan.mercari.p_deadline_after = 0.01;
        plan.mercari.p_complaint = 0.01;
        plan.mercari.p_entry_fails = 0.01;
        plan.mercari.p_entry_missing = 0.01;
        plan.mercari.odd_fields = true;
        plan.amazon.p_500 = 0.01;
        plan.amazon.p_503 = 0.01;
        plan.amazon.p_429 = 0.005;
        plan.amazon.p_cut = 0.01;
        plan.amazon.p_delay = 0.02;
        plan.amazon.p_entry_500 = 0.01;
        plan.amazon.p_invalid = 0.01;
        plan.amazon.unknown_fields = true;
        plan.ebay.storm = vec![Storm {
            fault: CallFault::Http503,
            every_s: 40.0,
            lasts_s: 3.0,
        }];
        plan
    }

    /// Every kind of fault that there is, at every marketplace, each now and then.
    #[must_use]
    pub fn every() -> Self {
        let mut plan = Self::bad_day();
        plan.yahoo_every();
        plan.ebay_every();
        plan.mercari_every();
        plan.amazon_every();
        plan
    }

    fn yahoo_every(&mut self) {
        let plan = &mut self.yahoo;
        for share in [
            &mut plan.p_500,
            &mut plan.p_login,
            &mut plan.p_login_redirect,
            &mut plan.p_captcha,
            &mut plan.p_busy,
            &mut plan.p_maintenance,
            &mut plan.p_soft_404,
            &mut plan.p_removed,
            &mut plan.p_drip,
            &mut plan.p_stale,
            &mut plan.p_empty,
            &mut plan.p_bomb,
        ] {
            *share = 0.000_5;
        }
        plan.storm = vec![
            storm(PageFault::Maintenance, 70.0, 3.0),
            storm(PageFault::Reset, 50.0, 2.0),
        ];
    }

    fn ebay_every(&mut self) {
        let plan = &mut self.ebay;
        plan.p_500 = 0.01;
        plan.p_429 = 0.002;
        plan.p_concurrent = 0.01;
        plan.p_401 = 0.005;
        plan.p_entry_warns = 0.02;
        plan.p_entry_ignored = 0.005;
        plan.p_entry_late = 0.01;
        plan.p_token_500 = 0.1;
        plan.failures_as_200 = true;
    }

    fn mercari_every(&mut self) {
        let plan = &mut self.mercari;
        plan.p_500 = 0.01;
        plan.p_429 = 0.002;
        plan.p_401 = 0.001;
        plan.p_deadline = 0.01;
        plan.p_odd_code = 0.005;
        plan.p_refused = 0.005;
        plan.p_nothing = 0.01;
        plan.p_hang = 0.005;
        plan.storm = vec![storm(MercariFault::DeadlineAfter, 45.0, 2.0)];
    }

    fn amazon_every(&mut self) {
        let plan = &mut self.amazon;
        plan.p_withdrawn = 0.005;
        plan.p_hang_before = 0.002;
        plan.p_hang_after = 0.002;
        plan.hang_ms = 12_000;
        plan.p_entry_429 = 0.01;
        plan.p_never = 0.01;
        plan.p_token_500 = 0.1;
        plan.storm = vec![storm(AmazonFault::Http503, 60.0, 3.0)];
    }
}

fn storm<K>(fault: K, every_s: f64, lasts_s: f64) -> Storm<K> {
    Storm {
        fault,
        every_s,
        lasts_s,
    }
}
