//! Random numbers for fresh weights: the same on every machine.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug)]
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `count` numbers, uniform in `[low, high)`.
    pub(super) fn uniform(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        // The upper 24 bits: as many as a float32 holds exactly.
        let unit = |bits: u64| (bits >> 40) as f32 / (1u32 << 24) as f32;
        (0..count).map(|_| low + (high - low) * unit(self.bits())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_reference_implementation() {
        let mut random = SplitMix(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!(expected.map(|_| random.bits()), expected);
    }

    #[test]
    fn uniform_fills_the_interval() {
        let values = SplitMix(0).uniform(10_000, -0.5, 0.5);
        let mean = values.iter().sum::<f32>() / 10_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / 10_000.0;
        assert!(values.iter().all(|v| (-0.5..0.5).contains(v)));
        assert!(mean.abs() < 0.01 && (variance - 1.0 / 12.0).abs() < 0.002, "{mean} {variance}");
    }
}
