//! `forebay train`: a forecasting model, trained on recorded series, into a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow};
use forebay_world::Duration;

use super::arguments::TrainOptions;
use super::forecast::{last_days, steps_a_day};
use super::{Answer, Failure, print};
use crate::forecast::artefact::{ArtefactError, BYTES_MOST};
use crate::forecast::model::{Past, Unfit};
use crate::forecast::trained::{self, Trained};
use crate::report::write_whole;

pub(super) fn run(options: TrainOptions) -> Result<Answer, Failure> {
    let zone = super::time_zone(&options.time_zone)?;
    writable(&options.out)?;
    let before = options.from.as_deref().map(read).transpose()?;
    let step = options.resample.or(before.as_ref().map(|before| before.origin().step));
    let step = step.unwrap_or(Duration::from_mins(15));
    let day = steps_a_day(step)?;
    let horizon = horizon(&options, before.as_ref(), step)?;
    if let (Some(before), Some(path)) = (&before, &options.from) {
        agrees(&options, before, path, step, horizon)?;
    }
    let steps = options.train_days.map(|days| usize::from(days) * day);
    let set = last_days(&options.series, step, steps, options.aggregate, &zone)?;
    let pasts: Vec<Past<'_>> = set.iter().map(|series| Past::new(&series.grid, 0, &series.values)).collect();
    let name = options.model.as_deref().unwrap_or(before.as_ref().map_or(trained::ENSEMBLE, Trained::name));
    let model = match &before {
        Some(before) => before.go_on(&pasts, options.seed),
        None => trained::train(name, &pasts, horizon, options.seed).expect("the name was checked"),
    };
    let model = model.map_err(|why| {
        let hint = match &why {
            Unfit::Mismatch { .. } => "leave --from out to train anew, or give series that go on",
            _ => "give longer series, more --train-days, or a shorter --horizon",
        };
        Failure::Other(anyhow!("model {name}: {why}"), hint.to_owned())
    })?;
    let bytes = model.to_bytes();
    let write = |out: &mut (dyn std::io::Write + Send)| out.write_all(&bytes);
    write_whole(&options.out, write)
        .with_context(|| format!("{} cannot be written", options.out.display()))
        .map_err(|error| Failure::Other(error, "name a file in a folder with room that can be written".to_owned()))?;
    eprintln!(
        "{}: {name}, up to {horizon} steps of {step} ahead, trained on {} series until {}",
        options.out.display(),
        set.len(),
        model.origin().data_end,
    );
    print(format!("{}  {}\n", model.id(), options.out.display()).as_bytes())
}

/// Reads a model file.
pub(super) fn read(path: &Path) -> Result<Trained, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MOST + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("{} cannot be read", path.display()))
        .map_err(|error| Failure::Other(error, "name a file that forebay train wrote".to_owned()))?;
    Trained::from_bytes(&bytes).map_err(|error| {
        let hint = match &error {
            ArtefactError::Format { .. } => "train it again with this version, or use the version that wrote it",
            ArtefactError::Checksum { .. } => "copy it again, or train it again",
            _ => "name a file that forebay train wrote",
        };
        Failure::Other(anyhow::Error::new(error).context(path.display().to_string()), hint.to_owned())
    })
}

/// Steps ahead: what was asked for, else what the model before has.
fn horizon(options: &TrainOptions, before: Option<&Trained>, step: Duration) -> Result<usize, Failure> {
    let Some(span) = options.horizon else {
        // Without a model before, the arguments asked for one.
        return Ok(before.map_or(1, |before| before.origin().horizon));
    };
    let day = Duration::from_hours(24);
    if span < step || !(span % step).is_zero() || span > day {
        return Err(Failure::Other(
            anyhow!("--horizon {span} is no number of whole steps of {step} within a day"),
            format!("allowed is a multiple of {step}, up to {day}"),
        ));
    }
    Ok((span / step) as usize)
}

/// Refuses what a model that goes on cannot become.
fn agrees(
    options: &TrainOptions,
    before: &Trained,
    path: &Path,
    step: Duration,
    horizon: usize,
) -> Result<(), Failure> {
    let refused = |what: String| {
        let text = anyhow!("--from {}: {what}", path.display());
        Failure::Other(
            text,
            "leave --model, --resample and --horizon out, or leave --from out to train anew".to_owned(),
        )
    };
    let origin = before.origin();
    if let Some(model) = options.model.as_deref().filter(|model| *model != before.name()) {
        return Err(refused(format!("it holds a model of kind {}, not {model}", before.name())));
    }
    if step != origin.step {
        return Err(refused(format!("it was trained on steps of {}, not {step}", origin.step)));
    }
    if horizon != origin.horizon {
        return Err(refused(format!("it was trained for {} steps ahead, not {horizon}", origin.horizon)));
    }
    Ok(())
}

/// Says before hours of training that their fruit could not be kept.
fn writable(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = match (path.is_dir(), path.file_name().is_none(), folder.is_dir()) {
        (true, _, _) => "it is a folder",
        (_, true, _) => "it names no file",
        (_, _, false) => "its folder is not there",
        _ => return Ok(()),
    };
    Err(Failure::Other(
        anyhow!("--out {}: {why}", path.display()),
        "name a file in a folder that is there and can be written".to_owned(),
    ))
}
