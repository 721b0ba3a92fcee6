//! What makes two groups the same, and the hash to find them by.

use std::hash::{BuildHasherDefault, Hasher};

use super::{NONE, PATH_LINKS_MAX};

/// Path, slice, cap and floor of a group; or of a bundle, with its contended links only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Ascending; `NONE` after the last.
    pub(super) links: [u32; PATH_LINKS_MAX],
    pub(super) slice: u32,
    /// Bits of an `f64` [bit/s].
    pub(super) cap: u64,
    /// Bits of an `f64`, a share of the cap.
    pub(super) floor: u64,
}

impl Key {
    pub(super) fn links(self) -> impl Iterator<Item = u32> {
        self.links.into_iter().take_while(|&link| link != NONE)
    }

    pub(super) fn cap(&self) -> f64 {
        f64::from_bits(self.cap)
    }

    pub(super) fn floor(&self) -> f64 {
        f64::from_bits(self.floor)
    }
}

/// Hashes as Fowler, Noll and Vo's FNV-1a does, a word at a time: quick, and without a seed of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fnv(u64);

pub(super) type KeyHasher = BuildHasherDefault<Fnv>;

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
}
