//! Tails of distributions in closed form: what chance does to a machine near its limit.

/// P(N ≥ k) for N Poisson with `mean`, by the normal approximation with continuity correction.
#[inline]
pub(super) fn poisson_reaches(mean: f64, k: f64) -> f64 {
    // Five standard deviations away it is as good as never.
    let away = k - 0.5 - mean;
    if mean <= 0.0 || (away > 0.0 && away * away > 25.0 * mean) {
        return 0.0;
    }
    normal_share_below((mean - k + 0.5) / mean.sqrt())
}

/// P(T > `allowed`) for a response time T taken as exponential with that mean.
#[inline]
pub(super) fn exceeds(mean: f64, allowed: f64) -> f64 {
    if mean.is_infinite() || allowed <= 0.0 { 1.0 } else { (-allowed / mean).exp() }
}

/// Φ(z), by the rational approximation 26.2.17 of M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 1964:
/// off by less than 7.5·10⁻⁸.
fn normal_share_below(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let above = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if z >= 0.0 { 1.0 - above } else { above }
}
