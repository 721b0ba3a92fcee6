//! The disk from which cloud-init configures a machine without a provider: its data source NoCloud, a small FAT file system
//! with the label `CIDATA` and the files `meta-data`, `user-data` and `network-config`.
//!
//! The same configuration makes the same bytes.

use std::io::{self, Cursor, Write as _};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use uuid::Uuid;

use super::spec::Configuration;

/// Bytes of a seed: 1 MiB, which FAT12 needs no more than.
const BYTES: usize = 1 << 20;
/// Bytes that the files together may have.
const CONTENT_MOST: usize = BYTES / 2;
/// What cloud-init looks for.
const LABEL: &[u8; 11] = b"CIDATA     ";

/// The seed of a machine.
///
/// # Errors
/// [`io::Error`] when the configuration does not fit.
pub fn seed(uuid: Uuid, configuration: &Configuration) -> io::Result<Vec<u8>> {
    let Configuration { user_data, network, host_name } = configuration;
    // What cloud-init tells a new machine from an old one by.
    let meta_data = format!("instance-id: {uuid}\nlocal-hostname: {host_name}\n");
    let files = [("meta-data", Some(&meta_data)), ("user-data", Some(user_data)), ("network-config", network.as_ref())];
    let bytes: usize = files.iter().filter_map(|(_, content)| content.map(|content| content.len())).sum();
    if bytes > CONTENT_MOST {
        let what = format!("{bytes} bytes of configuration; allowed: {CONTENT_MOST}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut disk = Cursor::new(vec![0; BYTES]);
    let (id, _) = uuid.as_u64_pair();
    let options = FormatVolumeOptions::new().fat_type(FatType::Fat12).volume_label(*LABEL).volume_id(id as u32);
    format_volume(&mut disk, options)?;
    let volume = FileSystem::new(&mut disk, FsOptions::new())?;
    for (name, content) in files {
        if let Some(content) = content {
            let mut file = volume.root_dir().create_file(name)?;
            file.truncate()?;
            file.write_all(content.as_bytes())?;
            file.flush()?;
        }
    }
    volume.unmount()?;
    Ok(disk.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn configuration() -> Configuration {
        Configuration {
            user_data: "#cloud-config\n".to_owned(),
            network: Some("version: 2\n".to_owned()),
            host_name: "edge-1".to_owned(),
        }
    }

    #[test]
    fn a_seed_holds_what_cloud_init_reads_and_is_always_the_same() {
        let bytes = seed(Uuid::from_u128(7), &configuration()).unwrap();
        assert_eq!(bytes, seed(Uuid::from_u128(7), &configuration()).unwrap());
        let volume = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label(), "CIDATA");
        let read = |name: &str| {
            let mut text = String::new();
            volume.root_dir().open_file(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("user-data"), "#cloud-config\n");
        assert_eq!(read("network-config"), "version: 2\n");
        let meta_data = "instance-id: 00000000-0000-0000-0000-000000000007\nlocal-hostname: edge-1\n";
        assert_eq!(read("meta-data"), meta_data);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let configuration = Configuration { network: Some("x".repeat(CONTENT_MOST)), ..configuration() };
        assert!(seed(Uuid::nil(), &configuration).unwrap_err().to_string().contains("allowed: 524288"));
    }
}
