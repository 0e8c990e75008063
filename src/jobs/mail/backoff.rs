//! When a mail that could not be sent is tried again.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The delays after the first, second … failed attempt (design: "Jobs").
const DELAYS: [Duration; 6] = [
    Duration::from_secs(MINUTE),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(15 * MINUTE),
    Duration::from_secs(HOUR),
    Duration::from_secs(3 * HOUR),
    Duration::from_secs(6 * HOUR),
];

/// How long to wait after `attempts` failed attempts (1 or more), give or take 20 %, so that what failed together does
/// not come back together. `jitter` is a random number in `0.0..=1.0`. `None`: the retries are exhausted.
pub fn delay(attempts: u32, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let delay = DELAYS.get(index)?;
    Some(delay.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_six_hours_and_then_end() {
        let middle = |attempts| delay(attempts, 0.5).map(|d| d.as_secs_f64().round() as u64);
        assert_eq!((1..=6).map_while(middle).collect::<Vec<_>>(), [60, 300, 900, 3_600, 10_800, 21_600]);
        assert_eq!(delay(7, 0.5), None);
        assert_eq!(delay(u32::MAX, 0.5), None);
    }

    #[test]
    fn jitter_is_a_fifth_either_way() {
        assert_eq!(delay(1, 0.0), Some(Duration::from_secs(48)));
        assert_eq!(delay(1, 1.0), Some(Duration::from_secs(72)));
        assert_eq!(delay(1, 7.5), Some(Duration::from_secs(72)), "a wild number changes nothing");
    }
}
