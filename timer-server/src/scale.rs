// SPDX-License-Identifier: MIT OR Apache-2.0
//! From ticks of the time-stamp counter to ticks of the HPET.

/// How many HPET ticks one TSC tick is, as a fraction of 2^48.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// For a TSC of `tsc_khz` and an HPET whose tick takes `period` femtoseconds. `None` for impossible values.
    pub fn new(tsc_khz: u64, period: u64) -> Option<Self> {
        // Ticks of the HPET per second over those of the TSC: (10^15 / period) / (1000 * khz).
        let divisor = u128::from(tsc_khz).checked_mul(u128::from(period)).filter(|d| *d != 0)?;
        let ratio = (1_000_000_000_000u128 << 48) / divisor;
        u64::try_from(ratio).ok().filter(|r| *r != 0).map(Self)
    }

    /// `ticks` of the TSC in ticks of the HPET, rounded up; never more than [`LONGEST`].
    pub fn to_hpet(self, ticks: u64) -> u64 {
        let scaled = (u128::from(ticks) * u128::from(self.0)) >> 48;
        if scaled >= u128::from(LONGEST) { LONGEST } else { scaled as u64 + 1 }
    }
}

/// Longest wait that is programmed, ticks of the HPET: a quarter of what a 32-bit counter holds. Whoever waits longer is
/// looked at again then.
pub const LONGEST: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ratios() {
        // 1 GHz against 100 MHz (10^7 fs).
        let scale = Scale::new(1_000_000, 10_000_000).unwrap();
        assert_eq!(scale.to_hpet(0), 1);
        assert_eq!(scale.to_hpet(1000), 100);
        assert!((1_000_000..=1_000_001).contains(&scale.to_hpet(10_000_000)));
        // 3 GHz against 14.318 MHz (69841279 fs): a second.
        let scale = Scale::new(3_000_000, 69_841_279).unwrap();
        assert!(scale.to_hpet(3_000_000_000).abs_diff(14_318_180) < 3);
    }

    #[test]
    fn extremes_are_bounded() {
        let scale = Scale::new(1_000_000, 10_000_000).unwrap();
        assert_eq!(scale.to_hpet(u64::MAX), LONGEST);
        assert_eq!(Scale::new(0, 1), None);
        assert_eq!(Scale::new(1, 0), None);
        assert_eq!(Scale::new(u64::MAX, u64::MAX), None);
    }
}
