//! How long a look waits for somebody to be free who sends what it has claimed.

use std::time::Duration;

use tokio::time::Instant;

/// Of one look.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For the senders of all letters together, and for the lane of each webhook.
    pub in_all: Duration,
    /// For the sender of one letter.
    each: Duration,
}

impl Patience {
    /// Of a look that others follow: as long as the relay takes mails at all, its senders stay busy, and a relay that
    /// takes none holds nobody up.
    pub const SHORT: Self = Patience { in_all: Duration::from_secs(2), each: Duration::from_millis(500) };

    /// Of a look after which nobody may look any more: while its claims last, nobody else sends what it has claimed.
    pub const fn while_claimed(lease: Duration) -> Self {
        Patience { in_all: lease, each: lease }
    }

    /// From now on.
    pub fn begin(self) -> Waiting {
        Waiting { until: Instant::now() + self.in_all, each: self.each }
    }
}

/// What is left of the patience of one look.
pub(super) struct Waiting {
    until: Instant,
    each: Duration,
}

impl Waiting {
    /// Until when the next letter waits.
    pub fn until(&self) -> Instant {
        self.until.min(Instant::now() + self.each)
    }

    /// The letters that come after one that found no sender do not wait.
    pub fn give_up(&mut self) {
        self.until = Instant::now();
    }
}
