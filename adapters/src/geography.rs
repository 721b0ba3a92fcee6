//! Where addresses are: an address → the region its clients count for.
//!
//! In this order: the operator's own prefix table (longest match), the country and continent tables over an MMDB
//! database, the region nearest to the location that the database gives, and a fallback for the rest. Country
//! databases are coarse and partly frozen: an operator who knows his clients' networks should say so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use forebay_world::{Region, RegionId};

use crate::error::ReadError;
use crate::input::Input;
use crate::prefix::Prefix;

mod atlas;
mod database;
mod kept_atlas;
mod longest_match;
mod prefix_table;

pub use atlas::{Atlas, OTHER};
pub use database::{Database, Location, Record, STALE_AFTER};
pub use kept_atlas::KeptAtlas;
use longest_match::LongestMatch;

/// A map from addresses to regions.
pub struct Geography {
    sites: Vec<Site>,
    prefixes: LongestMatch,
    countries: BTreeMap<String, RegionId>,
    continents: BTreeMap<String, RegionId>,
    database: Option<Database>,
    fallback: Fallback,
}

/// What becomes of addresses that nothing is known of, such as private ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fallback {
    /// They have no region, and their queries do not count.
    #[default]
    Drop,
    /// They count for this region.
    Region(RegionId),
    /// They are spread over all regions, each prefix (/24 or /56) always in the same.
    Spread,
}

/// What an address was located by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocatedBy {
    /// The operator's prefix table.
    Prefix,
    /// The country of the database and the country table.
    Country,
    /// The continent of the database and the continent table.
    Continent,
    /// The location of the database: the nearest region.
    Nearest,
    /// Nothing: the fallback.
    Fallback,
}

/// A region's place.
struct Site {
    name: String,
    /// Point on the unit sphere.
    point: [f64; 3],
}

impl Geography {
    /// A map that knows only the regions: by itself it locates nothing.
    pub fn new(regions: &[Region]) -> Geography {
        let sites = regions
            .iter()
            .map(|region| Site { name: region.name.clone(), point: on_sphere(region.lat, region.lon) })
            .collect();
        Geography {
            sites,
            prefixes: LongestMatch::default(),
            countries: BTreeMap::new(),
            continents: BTreeMap::new(),
            database: None,
            fallback: Fallback::Drop,
        }
    }

    /// Takes the operator's prefix table from a file: CSV with the columns `prefix` and `region`, in any order.
    ///
    /// # Errors
    /// [`ReadError`], with the line for a prefix that is none, a region that is unknown, or a prefix given twice with
    /// different regions.
    pub fn with_prefix_table(self, path: &Path) -> Result<Geography, ReadError> {
        self.with_prefix_table_from(Input::open(path)?)
    }

    /// As [`Geography::with_prefix_table`], from an opened input.
    ///
    /// # Errors
    /// As [`Geography::with_prefix_table`].
    pub fn with_prefix_table_from(mut self, mut input: Input) -> Result<Geography, ReadError> {
        let mut table = BTreeMap::new();
        let sites = &self.sites;
        prefix_table::read(&mut input, &mut table, &mut |name| {
            sites.iter().position(|site| site.name == name).map(RegionId::at).ok_or_else(|| {
                let known: Vec<_> = sites.iter().map(|site| site.name.as_str()).collect();
                (format!("one of {}", known.join(", ")), "regions are those of the scenario")
            })
        })?;
        self.prefixes = LongestMatch::new(table);
        Ok(self)
    }

    /// Takes a prefix table.
    ///
    /// # Panics
    /// When a region is not one of those given to [`Geography::new`].
    pub fn with_prefixes(mut self, table: impl IntoIterator<Item = (Prefix, RegionId)>) -> Geography {
        let table: BTreeMap<Prefix, RegionId> = table.into_iter().collect();
        table.values().for_each(|&region| self.check(region));
        self.prefixes = LongestMatch::new(table);
        self
    }

    /// Takes a database in MMDB format, nested as MaxMind's and DB-IP's or flat with `country_code`.
    ///
    /// # Errors
    /// [`ReadError::Database`], or why the file cannot be read.
    pub fn with_database(mut self, path: &Path) -> Result<Geography, ReadError> {
        self.database = Some(Database::open(path)?);
        Ok(self)
    }

    /// Counts a country, by its ISO 3166-1 code, for a region.
    ///
    /// # Panics
    /// When the region is not one of those given to [`Geography::new`].
    pub fn with_country(mut self, code: &str, region: RegionId) -> Geography {
        self.check(region);
        self.countries.insert(code.to_ascii_uppercase(), region);
        self
    }

    /// Counts a continent (AF, AN, AS, EU, NA, OC or SA) for a region, but for countries that have their own entry.
    ///
    /// # Panics
    /// When the region is not one of those given to [`Geography::new`].
    pub fn with_continent(mut self, code: &str, region: RegionId) -> Geography {
        self.check(region);
        self.continents.insert(code.to_ascii_uppercase(), region);
        self
    }

    /// Says what becomes of addresses that cannot be located.
    ///
    /// # Panics
    /// When the region is not one of those given to [`Geography::new`].
    pub fn with_fallback(mut self, fallback: Fallback) -> Geography {
        if let Fallback::Region(region) = fallback {
            self.check(region);
        }
        self.fallback = fallback;
        self
    }

    /// The region an address counts for; `None` when it cannot be located and there is no fallback.
    pub fn region_of(&self, address: IpAddr) -> Option<RegionId> {
        self.locate(address, None).map(|(region, _)| region)
    }

    /// The region a query counts for: that of the client's network (`ecs`) when there is one and it can be located,
    /// else that of the address that asked.
    pub fn locate(&self, address: IpAddr, ecs: Option<Prefix>) -> Option<(RegionId, LocatedBy)> {
        ecs.and_then(|ecs| self.known(ecs.address())).or_else(|| self.known(address)).or_else(|| {
            let prefix = ecs.map_or_else(|| Prefix::of_client(address), Prefix::truncated);
            let region = match self.fallback {
                Fallback::Drop => None,
                Fallback::Region(region) => Some(region),
                Fallback::Spread if self.sites.is_empty() => None,
                Fallback::Spread => Some(RegionId::at((spread(prefix) % self.sites.len() as u64) as usize)),
            };
            region.map(|region| (region, LocatedBy::Fallback))
        })
    }

    /// The database, for its kind and age.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// What tables and database know.
    fn known(&self, address: IpAddr) -> Option<(RegionId, LocatedBy)> {
        let address = address.to_canonical();
        if let Some(region) = self.prefixes.find(address) {
            return Some((region, LocatedBy::Prefix));
        }
        let record = self.database.as_ref()?.find(address)?;
        let listed = |table: &BTreeMap<String, RegionId>, code: Option<&str>| table.get(code?).copied();
        if let Some(region) = listed(&self.countries, record.country) {
            return Some((region, LocatedBy::Country));
        }
        if let Some(region) = listed(&self.continents, record.continent) {
            return Some((region, LocatedBy::Continent));
        }
        let Location { lat, lon } = record.location?;
        let here = on_sphere(lat, lon);
        // On a sphere the nearest is the one with the largest scalar product; the first of those equally near.
        let near = |site: &Site| site.point.iter().zip(here).map(|(a, b)| a * b).sum::<f64>();
        let nearest =
            (0..self.sites.len()).rev().max_by(|&a, &b| near(&self.sites[a]).total_cmp(&near(&self.sites[b])));
        nearest.map(|index| (RegionId::at(index), LocatedBy::Nearest))
    }

    fn check(&self, region: RegionId) {
        assert!(region.index() < self.sites.len(), "region {region} is not one of {} regions", self.sites.len());
    }
}

fn on_sphere(lat: f64, lon: f64) -> [f64; 3] {
    let ((sin_lat, cos_lat), (sin_lon, cos_lon)) = (lat.to_radians().sin_cos(), lon.to_radians().sin_cos());
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

/// A number that looks random and is always the same for a prefix: the finaliser of SplitMix64 (Steele, Lea & Flood
/// 2014) over its bits.
fn spread(prefix: Prefix) -> u64 {
    let bits = match prefix.address() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix((bits as u64).wrapping_add(mix((bits >> 64) as u64).wrapping_add(u64::from(prefix.length()))))
}

#[cfg(test)]
mod tests;
