//! Chance for what learns: draws that are a function of a seed and a purpose, and of nothing else.
//!
//! What is drawn is the output of the hash function BLAKE3 in its extendable mode, keyed by the purpose, over the
//! seed: the same on every machine, for ever. `sim` has streams of its own; what decides does not know `sim`.

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Chance {
    source: blake3::OutputReader,
    block: [u8; 64],
    used: usize,
}

impl Chance {
    /// The draws for `purpose` under `seed`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(&format!("forebay forecast {purpose}"));
        hasher.update(&seed.to_le_bytes());
        Chance { source: hasher.finalize_xof(), block: [0; 64], used: 64 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.source.fill(&mut self.block);
            self.used = 0;
        }
        let bytes = self.block[self.used..].first_chunk().expect("a block holds whole draws");
        self.used += bytes.len();
        u64::from_le_bytes(*bytes)
    }

    /// Uniform on [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform on 0, …, `n` − 1, with a bias below n/2⁶⁴ (D. Lemire, 2019).
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Mean 0 and variance 1, nearly normal, from one draw: the sum of four uniforms (Irwin and Hall), for noise of which
    /// much is needed.
    pub fn nearly_normal(&mut self) -> f32 {
        let bits = self.bits();
        let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xFFFF).sum();
        // Four uniforms on [0, 65535] have mean 2 · 65535 and variance 4 · 65536² / 12.
        (sum as f32 - 131_070.0) / 37_837.22
    }

    /// Standard normal (G. Box, M. Muller, 1958): two draws each.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_a_function_of_seed_and_purpose() {
        let draws = |seed, purpose| {
            let mut chance = Chance::new(seed, purpose);
            (0..20).map(|_| chance.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1, "a"), draws(1, "a"));
        assert_ne!(draws(1, "a"), draws(2, "a"));
        assert_ne!(draws(1, "a"), draws(1, "b"));
    }

    /// Means and variances of 20,000 draws lie within 4.5 standard errors: a sound source fails one seed in 70,000.
    #[test]
    fn draws_have_the_moments_they_should() {
        let mut chance = Chance::new(3, "moments");
        let n = 20_000_f64;
        let mut check = |mean: f64, variance: f64, fourth: f64, draw: &mut dyn FnMut(&mut Chance) -> f64| {
            let draws: Vec<f64> = (0..n as usize).map(|_| draw(&mut chance) - mean).collect();
            let first = draws.iter().sum::<f64>() / n;
            let second = draws.iter().map(|x| x * x).sum::<f64>() / n;
            assert!(first.abs() < 4.5 * (variance / n).sqrt(), "{first}");
            assert!((second - variance).abs() < 4.5 * ((fourth - variance * variance) / n).sqrt(), "{second}");
        };
        check(0.5, 1.0 / 12.0, 1.0 / 80.0, &mut Chance::uniform);
        check(0.0, 1.0, 3.0, &mut Chance::normal);
        // Ten equal steps: fourth central moment (n² − 1)(3n² − 7)/240.
        check(4.5, 8.25, 99.0 * 293.0 / 240.0, &mut |chance| chance.below(10) as f64);
    }
}
