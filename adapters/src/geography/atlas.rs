//! Where addresses are when there is no scenario: regions are what the operator's prefix tables call them, and the
//! countries of MMDB databases for the rest.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::net::IpAddr;
use std::path::PathBuf;

use forebay_world::RegionId;

use super::database::Database;
use super::longest_match::LongestMatch;
use super::prefix_table;
use crate::error::ReadError;
use crate::input::Input;
use crate::prefix::Prefix;

/// Prefix tables and databases, and the regions they have named so far.
#[derive(Default)]
pub struct Atlas {
    names: Vec<String>,
    numbers: HashMap<String, RegionId>,
    prefixes: LongestMatch,
    /// Networks that the tables name.
    listed: usize,
    databases: Vec<(PathBuf, Database)>,
    /// What the databases said of networks, none longer than may be kept.
    found: HashMap<Prefix, Option<RegionId>>,
}

/// The region of clients that have none of their own.
pub const OTHER: &str = "other";

/// Networks that are remembered; then it is begun again.
const REMEMBERED: usize = 1 << 18;
/// What a database ends with: this, then its metadata, within so many bytes (MaxMind DB specification 2.0).
const DATABASE_MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";
const DATABASE_TAIL: usize = 128 * 1024;

impl Atlas {
    /// Opens prefix tables and databases, told by their content. Of two databases that know an address, the first
    /// given is believed.
    ///
    /// # Errors
    /// [`ReadError`], with the line of a prefix table: for a prefix that is none, or that was given before with another
    /// region, and for a region without a name.
    pub fn open(files: &[PathBuf]) -> Result<Atlas, ReadError> {
        let mut atlas = Atlas::default();
        let _ = atlas.number(OTHER);
        atlas.read(files)?;
        Ok(atlas)
    }

    /// Opens the files anew. Regions that are known here keep their numbers.
    ///
    /// # Errors
    /// As [`Atlas::open`].
    pub fn opened_anew(&self, files: &[PathBuf]) -> Result<Atlas, ReadError> {
        let mut atlas = Atlas { names: self.names.clone(), numbers: self.numbers.clone(), ..Atlas::default() };
        atlas.read(files)?;
        Ok(atlas)
    }

    fn read(&mut self, files: &[PathBuf]) -> Result<(), ReadError> {
        let mut table = BTreeMap::new();
        for path in files {
            let content = Input::open(path)?.read_all()?;
            let tail = &content[content.len().saturating_sub(DATABASE_TAIL)..];
            if memchr::memmem::rfind(tail, DATABASE_MARK).is_some() {
                self.databases.push((path.clone(), Database::from_content(path, content)?));
            } else {
                let mut input = Input::from_reader(path, Cursor::new(content))?;
                prefix_table::read(&mut input, &mut table, &mut |name| self.number(name))?;
            }
        }
        self.listed = table.len();
        self.prefixes = LongestMatch::new(table);
        Ok(())
    }

    /// Names of regions by number, first [`OTHER`], which no address is in unless a table says so; databases add to them while addresses are located.
    pub fn regions(&self) -> &[String] {
        &self.names
    }

    /// Networks in the prefix tables.
    pub fn listed(&self) -> usize {
        self.listed
    }

    /// The databases with their files.
    pub fn databases(&self) -> &[(PathBuf, Database)] {
        &self.databases
    }

    /// The region of a query: that of the client's network (`ecs`) when it can be located, else that of the address
    /// that asked.
    pub fn locate(&mut self, address: IpAddr, ecs: Option<Prefix>) -> Option<RegionId> {
        if let Some(ecs) = ecs
            && let Some(region) = self.known(ecs.address())
        {
            return Some(region);
        }
        self.known(address)
    }

    fn known(&mut self, address: IpAddr) -> Option<RegionId> {
        let address = address.to_canonical();
        if let Some(region) = self.prefixes.find(address) {
            return Some(region);
        }
        if self.databases.is_empty() {
            return None;
        }
        let kept = Prefix::of_client(address);
        if let Some(&found) = self.found.get(&kept) {
            return found;
        }
        let mut name = None;
        let mut uniform = true;
        for (_, database) in &self.databases {
            uniform &= database.is_uniform(address, kept.length());
            if let Some(record) = database.find(address)
                && let Some(code) = record.country.or(record.continent)
            {
                name = Some(code.to_owned());
                break;
            }
        }
        let found = name.and_then(|name| self.number(&name).ok());
        // What a database tells apart within a network that may be kept is looked up each time.
        if uniform {
            if self.found.len() >= REMEMBERED {
                self.found.clear();
            }
            self.found.insert(kept, found);
        }
        found
    }

    fn number(&mut self, name: &str) -> Result<RegionId, (String, &'static str)> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        if name.is_empty() || name.contains(|c: char| c.is_control() || c == '"') {
            return Err(("a name without quotes and control characters".to_owned(), "name the region in every row"));
        }
        if self.names.len() >= usize::from(u16::MAX) {
            return Err(("at most 65,535 regions".to_owned(), "is the column that of regions?"));
        }
        let number = RegionId::at(self.names.len());
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geography::database::tests::{mmdb, records};

    fn open(files: &[(&str, &[u8])]) -> Result<Atlas, ReadError> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| folder.path().join(name)).collect();
        paths.iter().zip(files).for_each(|(path, (_, content))| std::fs::write(path, content).unwrap());
        Atlas::open(&paths)
    }

    #[test]
    fn tables_come_before_databases_and_the_longest_match_first() {
        let database = mmdb(1_700_000_000, &records());
        let mut atlas = open(&[
            ("a.csv", b"prefix,region\n1.0.0.0/16,ams\n1.0.7.0/28,nyc\n"),
            ("b.mmdb", &database),
            ("c.csv", b"region,prefix\nother,9.0.0.0/8\n"),
        ])
        .unwrap();
        for _ in 0..2 {
            for (address, ecs, want) in [
                ("1.0.0.1", None, Some("ams")),
                ("1.0.7.1", None, Some("nyc")),
                ("1.0.7.99", None, Some("ams")),
                ("1.1.0.1", None, Some("DE")),
                ("9.1.1.1", None, Some(OTHER)),
                ("250.0.0.1", None, None),
                ("250.0.0.1", Some("1.0.7.0/24"), Some("nyc")),
                ("1.0.0.1", Some("250.0.0.0/24"), Some("ams")),
            ] {
                let ecs = ecs.map(|ecs: &str| ecs.parse().unwrap());
                let region = atlas.locate(address.parse().unwrap(), ecs);
                let name = region.map(|region| atlas.regions()[region.index()].clone());
                assert_eq!(name.as_deref(), want, "{address} {ecs:?}");
            }
        }
        assert_eq!((atlas.listed(), atlas.databases().len()), (3, 1));
    }

    #[test]
    fn tables_must_agree() {
        let error = open(&[("a.csv", b"prefix,region\n1.0.0.0/16,a\n"), ("b.csv", b"prefix,region\n1.0.0.0/16,b\n")]);
        assert!(error.err().unwrap().to_string().contains("b.csv:2: prefix 1.0.0.0/16 has another region"));
        let error = open(&[("a.csv", b"prefix,region\n1.0.0.0/16,\n")]).err().unwrap();
        assert!(error.to_string().contains("a name"), "{error}");
    }
}
