//! The draws all engines share: SplitMix64 and exponentials by inversion, so that all follow one path.

use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub struct Draws(pub u64);

impl Draws {
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let uniform = (((z ^ z >> 31) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln()
    }
}

/// Rounded to the nearest nanosecond. By way of `i64`, for which processors have an instruction.
#[inline]
pub fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9 + 0.5) as i64 as u64
}
