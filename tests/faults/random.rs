//! Random choices that can be repeated: the seed is printed, and `USHERD_TEST_SEED` sets it.

pub struct Random(u64);

impl Random {
    pub fn seeded() -> Self {
        let set = std::env::var("USHERD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = set.unwrap_or_else(|| u64::from(std::process::id()));
        println!("USHERD_TEST_SEED={seed}");
        Random(seed)
    }

    /// Below `limit`, by SplitMix64.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
