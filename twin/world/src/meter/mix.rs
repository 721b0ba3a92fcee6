//! A fast, fixed hash for keys that are already numbers: `SplitMix64`'s finaliser. Fixed, so that two runs of one
//! seed do the same work.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`MixHasher`]s.
pub(super) type MixState = BuildHasherDefault<MixHasher>;

/// The hasher.
#[derive(Clone, Debug, Default)]
pub(super) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mut z = (self.0 ^ value).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
    }
}
