//! Quantiles of the normal and of Student's t distribution, for confidence intervals.

/// The `p` quantile of the standard normal distribution, 0 < `p` < 1, to about 1 part in 10¹⁶.
///
/// M. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 1988 (PPND16).
pub fn normal_quantile(p: f64) -> f64 {
    assert!(p > 0.0 && p < 1.0, "a normal quantile needs a probability strictly between 0 and 1, not {p}");
    let centred = p - 0.5;
    if centred.abs() <= 0.425 {
        let r = 0.180625 - centred * centred;
        return centred * rational(&CENTRE, r);
    }
    let tail = (-p.min(1.0 - p).ln()).sqrt();
    let distance = if tail <= 5.0 { rational(&MIDDLE, tail - 1.6) } else { rational(&FAR, tail - 5.0) };
    distance.copysign(centred)
}

/// The `p` quantile of Student's t distribution with a whole number of `degrees` of freedom, 0 < `p` < 1.
///
/// Up to 1,000 degrees the distribution function in closed form (M. Abramowitz, I. Stegun, "Handbook of Mathematical
/// Functions", 26.7.3 and 26.7.4), inverted by bisection; above, the expansion in the normal quantile (26.7.5), whose
/// first omitted term is then below 10⁻⁹ for 10⁻⁴ < `p` < 1 − 10⁻⁴.
pub fn student_t_quantile(p: f64, degrees: u64) -> f64 {
    assert!(p > 0.0 && p < 1.0, "a t quantile needs a probability strictly between 0 and 1, not {p}");
    assert!(degrees > 0, "Student's t distribution has at least one degree of freedom");
    if degrees > 1000 {
        return far_from_small_samples(normal_quantile(p), degrees as f64);
    }
    let within = (2.0 * p - 1.0).abs();
    if within == 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    loop {
        let theta = 0.5 * (low + high);
        if theta <= low || theta >= high {
            return ((degrees as f64).sqrt() * theta.tan()).copysign(p - 0.5);
        }
        if share_within(theta, degrees) < within { low = theta } else { high = theta }
    }
}

/// P(|T| < √ν tan θ): for even ν sin θ (1 + 1/2 cos² θ + 1·3/2·4 cos⁴ θ + …), for odd ν 2/π (θ + sin θ (cos θ +
/// 2/3 cos³ θ + 2·4/3·5 cos⁵ θ + …)), each with ⌊ν/2⌋ terms.
fn share_within(theta: f64, degrees: u64) -> f64 {
    let (sin, cos) = theta.sin_cos();
    let odd = degrees % 2 == 1;
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    for k in 1..=degrees / 2 {
        sum += term;
        let k = 2.0 * k as f64;
        term *= cos * cos * if odd { k / (k + 1.0) } else { (k - 1.0) / k };
    }
    if odd { (theta + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum }
}

fn far_from_small_samples(x: f64, degrees: f64) -> f64 {
    let s = x * x;
    let g1 = x * (s + 1.0) / 4.0;
    let g2 = x * ((5.0 * s + 16.0) * s + 3.0) / 96.0;
    let g3 = x * (((3.0 * s + 19.0) * s + 17.0) * s - 15.0) / 384.0;
    let g4 = x * ((((79.0 * s + 776.0) * s + 1482.0) * s - 1920.0) * s - 945.0) / 92_160.0;
    x + (g1 + (g2 + (g3 + g4 / degrees) / degrees) / degrees) / degrees
}

/// Numerator and denominator, constant terms first.
type Rational = ([f64; 8], [f64; 8]);

fn rational((numerator, denominator): &Rational, x: f64) -> f64 {
    let at = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    at(numerator) / at(denominator)
}

#[allow(clippy::excessive_precision, reason = "as published")]
const CENTRE: Rational = (
    [
        3.387_132_872_796_366_608_0e0,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_083_0e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061_0e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_854_561_0e3,
    ],
);

#[allow(clippy::excessive_precision, reason = "as published")]
const MIDDLE: Rational = (
    [
        1.423_437_110_749_683_577_34e0,
        4.630_337_846_156_545_295_90e0,
        5.769_497_221_460_691_405_50e0,
        3.647_848_324_763_204_605_04e0,
        1.270_458_252_452_368_382_58e0,
        2.417_807_251_774_506_117_70e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_40e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87e0,
        1.676_384_830_183_803_849_40e0,
        6.897_673_349_851_000_045_50e-1,
        1.481_039_764_274_800_745_90e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946_00e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
);

#[allow(clippy::excessive_precision, reason = "as published")]
const FAR: Rational = (
    [
        6.657_904_643_501_103_777_20e0,
        5.463_784_911_164_114_369_90e0,
        1.784_826_539_917_291_335_80e0,
        2.965_605_718_285_048_912_30e-1,
        2.653_218_952_657_612_309_30e-2,
        1.242_660_947_388_078_438_60e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_90e-1,
        1.369_298_809_227_358_053_10e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591_00e-4,
        1.846_318_317_510_054_681_80e-5,
        1.421_511_758_316_445_888_70e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ by its series (G. Marsaglia, "Evaluating the Normal Distribution", J. Statistical Software 2004).
    fn normal_cdf(x: f64) -> f64 {
        let (mut sum, mut term, mut k) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn normal_quantiles_invert_the_distribution() {
        for thousandths in 1..1000 {
            let p = f64::from(thousandths) / 1000.0;
            assert!((normal_cdf(normal_quantile(p)) - p).abs() < 1e-14, "{p}");
        }
        for (p, x) in [(0.975, 1.959963984540054), (1e-9, -5.997807015007687), (1e-20, -9.262340089798408)] {
            assert!((normal_quantile(p) / x - 1.0).abs() < 1e-14, "{p}");
        }
    }

    /// Columns t₀.₉₇₅ and t₀.₉₉₉₅ of any printed table.
    #[test]
    fn t_quantiles_are_those_of_the_tables() {
        let table = [
            (1, 12.706, 636.62),
            (2, 4.303, 31.599),
            (3, 3.182, 12.924),
            (4, 2.776, 8.610),
            (5, 2.571, 6.869),
            (10, 2.228, 4.587),
            (19, 2.093, 3.883),
            (29, 2.045, 3.659),
            (30, 2.042, 3.646),
            (100, 1.984, 3.390),
            (120, 1.980, 3.373),
        ];
        for (degrees, usual, strict) in table {
            assert!((student_t_quantile(0.975, degrees) - usual).abs() <= 0.0005, "{degrees}");
            assert!((student_t_quantile(0.9995, degrees) / strict - 1.0).abs() < 2e-4, "{degrees}");
            assert_eq!(student_t_quantile(0.025, degrees), -student_t_quantile(0.975, degrees));
        }
        assert_eq!(student_t_quantile(0.5, 7), 0.0);
    }

    /// For one and two degrees the quantile has a closed form.
    #[test]
    fn t_quantiles_of_one_and_two_degrees_are_exact() {
        for p in [0.6, 0.9, 0.975, 0.9995] {
            let cauchy = (std::f64::consts::PI * (p - 0.5)).tan();
            assert!((student_t_quantile(p, 1) / cauchy - 1.0).abs() < 1e-12);
            let two = (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
            assert!((student_t_quantile(p, 2) / two - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_expansion_meets_the_closed_form() {
        for p in [0.55, 0.9, 0.975, 0.995, 0.9995, 0.9999] {
            let expansion = far_from_small_samples(normal_quantile(p), 1000.0);
            assert!((student_t_quantile(p, 1000) - expansion).abs() < 1e-9, "{p}");
        }
    }
}
