//! A file of demand: counts by window, region and class, as other programs and Forebay's own commands read them.
//!
//! ```text
//!   CSV      timestamp,region,class,value   what `forebay run --replay` and `forebay forecast` read
//!   long     unique_id,ds,y                 Nixtla's long format; unique_id is region/class, ds is UTC
//!   Parquet  unique_id,ds,y,region,class    the same, with both names for themselves
//! ```
//!
//! The kind is told by the ending of the name. A file gets its name when it is whole.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use forebay_adapters::demand::Demand;
use forebay_world::Timestamp;

/// Which columns a CSV file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `timestamp,region,class,value`.
    Own,
    /// `unique_id,ds,y`.
    Long,
}

/// A place for demand, and how it is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemandFile {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Csv,
    CsvGz,
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Why demand cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DemandFileError {
    /// The name has another ending.
    #[error("{} ends neither in {ALLOWED}", path.display())]
    Ending {
        /// The name.
        path: PathBuf,
    },
    /// The medium refused. Nothing of this name was written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The name.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Endings that are known.
#[cfg(feature = "parquet")]
const ALLOWED: &str = ".csv nor .csv.gz nor .parquet";
#[cfg(not(feature = "parquet"))]
const ALLOWED: &str = ".csv nor .csv.gz (this build has no Parquet)";

impl DemandFile {
    /// A file of this name, in a folder that is there.
    ///
    /// # Errors
    /// [`DemandFileError`].
    pub fn new(path: &Path) -> Result<DemandFile, DemandFileError> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let kind = match name.as_str() {
            name if name.ends_with(".csv") => Kind::Csv,
            name if name.ends_with(".csv.gz") => Kind::CsvGz,
            #[cfg(feature = "parquet")]
            name if name.ends_with(".parquet") => Kind::Parquet,
            _ => return Err(DemandFileError::Ending { path: path.to_owned() }),
        };
        let file = DemandFile { path: path.to_owned(), kind };
        // Told before the logs are read, not after.
        match fs::metadata(folder_of(path)) {
            Ok(folder) if folder.is_dir() && !path.is_dir() => Ok(file),
            Ok(_) => Err(file.refused(io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(file.refused(error)),
        }
    }

    /// Writes demand; a file that is there is replaced when the new one is whole.
    ///
    /// # Errors
    /// [`DemandFileError::Write`].
    pub fn write(&self, demand: &Demand, layout: Layout) -> Result<(), DemandFileError> {
        write_whole(&self.path, |out| match self.kind {
            Kind::Csv => write_csv(demand, layout, out),
            Kind::CsvGz => {
                let mut zipped = GzEncoder::new(out, flate2::Compression::default());
                write_csv(demand, layout, &mut zipped)?;
                zipped.finish().map(drop)
            }
            #[cfg(feature = "parquet")]
            Kind::Parquet => long_table::write(demand, out),
        })
        .map_err(|error| self.refused(error))
    }

    fn refused(&self, source: io::Error) -> DemandFileError {
        DemandFileError::Write { path: self.path.clone(), source }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file beside its place, and puts it there when it is whole.
///
/// # Errors
/// What the medium says; nothing of this name was written then.
pub(crate) fn write_whole(path: &Path, fill: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> io::Result<()> {
    let mut draft = tempfile::Builder::new();
    #[cfg(unix)]
    let draft = {
        // As a file of the user's own; the mask of the process applies.
        use std::os::unix::fs::PermissionsExt;
        draft.permissions(fs::Permissions::from_mode(0o666))
    };
    let mut draft = draft.prefix(".forebay-").tempfile_in(folder_of(path))?;
    let mut out = BufWriter::with_capacity(1 << 16, draft.as_file_mut());
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    draft.as_file().sync_all()?;
    draft.persist(path).map(drop).map_err(|error| error.error)
}

/// Writes demand as CSV.
///
/// # Errors
/// What the medium says.
pub(crate) fn write_csv(demand: &Demand, layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record(match layout {
        Layout::Own => &["timestamp", "region", "class", "value"][..],
        Layout::Long => &["unique_id", "ds", "y"][..],
    })?;
    let ids: Vec<String> = demand.series.iter().map(|(region, class)| format!("{region}/{class}")).collect();
    let mut time = (None, String::new());
    for row in demand.rows() {
        if time.0 != Some(row.at) {
            time = (Some(row.at), shown(row.at, layout));
        }
        let value = row.queries.to_string();
        let (region, class) = &demand.series[row.series];
        match layout {
            Layout::Own => out.write_record([&time.1, region, class, &value])?,
            Layout::Long => out.write_record([&ids[row.series], &time.1, &value])?,
        }
    }
    out.flush()
}

fn shown(at: Timestamp, layout: Layout) -> String {
    match layout {
        Layout::Own => at.to_string(),
        // Without a zone, as frames of data expect it.
        Layout::Long => at.to_string().trim_end_matches('Z').replace('T', " "),
    }
}

#[cfg(feature = "parquet")]
mod long_table {
    use std::io::{self, Write};
    use std::sync::Arc;

    use forebay_adapters::demand::{Demand, DemandRow};
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
    use parquet::errors::ParquetError;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::parser::parse_message_type;

    /// Times are UTC without saying so, as frames of data expect them.
    const SCHEMA: &str = "message demand {
        required binary unique_id (STRING);
        required int64 ds (TIMESTAMP(MICROS, false));
        required double y;
        required binary region (STRING);
        required binary class (STRING);
    }";
    /// Rows of a group.
    const GROUP: usize = 1 << 18;

    pub(super) fn write(demand: &Demand, out: &mut (dyn Write + Send)) -> io::Result<()> {
        fill(demand, out).map_err(io::Error::other)
    }

    fn fill(demand: &Demand, out: &mut (dyn Write + Send)) -> Result<(), ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        let mut file = SerializedFileWriter::new(out, schema, properties)?;
        let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let ids: Vec<ByteArray> = demand.series.iter().map(|(r, c)| bytes(&format!("{r}/{c}"))).collect();
        let regions: Vec<ByteArray> = demand.series.iter().map(|(region, _)| bytes(region)).collect();
        let classes: Vec<ByteArray> = demand.series.iter().map(|(_, class)| bytes(class)).collect();
        let mut rows = demand.rows().peekable();
        while rows.peek().is_some() {
            let group: Vec<DemandRow> = rows.by_ref().take(GROUP).collect();
            let mut columns = file.next_row_group()?;
            let named =
                |names: &[ByteArray]| -> Vec<ByteArray> { group.iter().map(|row| names[row.series].clone()).collect() };
            column::<ByteArrayType, _>(&mut columns, &named(&ids))?;
            let times: Vec<i64> = group.iter().map(|row| (row.at.as_nanos() / 1000) as i64).collect();
            column::<Int64Type, _>(&mut columns, &times)?;
            let values: Vec<f64> = group.iter().map(|row| row.queries as f64).collect();
            column::<DoubleType, _>(&mut columns, &values)?;
            column::<ByteArrayType, _>(&mut columns, &named(&regions))?;
            column::<ByteArrayType, _>(&mut columns, &named(&classes))?;
            columns.close()?;
        }
        file.close().map(drop)
    }

    fn column<T: DataType, W: Write + Send>(
        group: &mut SerializedRowGroupWriter<'_, W>,
        values: &[T::T],
    ) -> Result<(), ParquetError> {
        let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
        column.typed::<T>().write_batch(values, None, None)?;
        column.close()
    }
}
