//! `[image.FLAVOUR]`, checked: what a machine of a flavour boots, and what it is told.

use std::path::Path;

use forebay_adapters::machines::{DiskFormat, Image};
use toml::Spanned;

use super::spec::{DiskFormatSpec, ImageSpec, MEBIBYTE, ProductionSpec};
use super::template::{Filling, Template, WORDS};
use crate::scenario::finding::Findings;
use crate::scenario::nearest;
use crate::scenario::site::Site;

/// What machines of a flavour boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineImage {
    /// On hosts of ours: its command line, where it has one, is in `command_line`.
    local: Option<Image>,
    command_line: Option<Template>,
    provider: Option<Image>,
    /// What cloud-init is told.
    user_data: Option<Template>,
}

impl MachineImage {
    /// What a machine boots, on a provider's hypervisor or on one of ours; `None` where there is no image for it.
    pub fn image(&self, of_provider: bool, filling: &Filling<'_>) -> Option<Image> {
        let mut image = if of_provider { self.provider.clone() } else { self.local.clone() }?;
        if let (Image::Kernel { command_line, .. }, Some(template)) = (&mut image, &self.command_line) {
            *command_line = template.fill(filling);
        }
        Some(image)
    }

    /// Its user data for cloud-init.
    pub fn user_data(&self, filling: &Filling<'_>) -> Option<String> {
        self.user_data.as_ref().map(|template| template.fill(filling))
    }

    /// Files that must be on every host.
    pub fn files(&self) -> Vec<String> {
        self.local.as_ref().map(Image::names).unwrap_or_default()
    }

    /// Whether there is an image for a provider's hypervisors, or for ours.
    pub fn is_for(&self, provider: bool) -> bool {
        if provider { self.provider.is_some() } else { self.local.is_some() }
    }

    /// Whether a fact of the machine is filled in somewhere, on a provider's hypervisors or on ours.
    pub fn uses(&self, word: &str, of_provider: bool) -> bool {
        // Images of providers bring command lines of their own.
        let command_line = self.command_line.iter().filter(|_| !of_provider);
        self.user_data.iter().chain(command_line).any(|template| template.uses(word))
    }
}

/// Longest user data (EC2: 16 KiB), less what is filled in.
const USER_DATA_MOST: usize = 15 * 1024;

/// The image of each flavour, where it is given.
pub(super) fn check(
    spec: &ProductionSpec,
    site: &Site,
    folder: &Path,
    findings: &mut Findings,
) -> Vec<Option<MachineImage>> {
    let mut images = vec![None; site.topology.flavours.len()];
    for (name, image) in &spec.image {
        let found = site.flavours.find(name, findings);
        let checked = check_image(name.get_ref(), image, folder, findings);
        if let Some(place) = found.and_then(|flavour| images.get_mut(flavour)) {
            *place = Some(checked);
        }
        if let Some(flavour) = found.and_then(|flavour| site.topology.flavours.get(flavour)) {
            let given = spec.flavour.iter().find(|given| given.get_ref().name.get_ref() == &flavour.name);
            let (memory, cpu) = (flavour.memory, flavour.cpu);
            if let Some(given) = given.map(Spanned::get_ref) {
                // Hypervisors count in these, and would round silently.
                findings.require(
                    memory.0.is_multiple_of(MEBIBYTE.0),
                    given.memory.span(),
                    || format!("flavour \"{}\": `memory` is {memory}", flavour.name),
                    "whole mebibytes",
                    "such as \"16 GiB\": a GB is no whole number of MiB",
                );
                findings.require(
                    cpu.0.is_multiple_of(1000),
                    given.cpu.span(),
                    || format!("flavour \"{}\": `cpu` is {cpu}", flavour.name),
                    "whole processors",
                    "such as \"4 vCPU\"",
                );
            }
        }
    }
    images
}

fn check_image(flavour: &str, spec: &Spanned<ImageSpec>, folder: &Path, findings: &mut Findings) -> MachineImage {
    let place = spec.span();
    let spec = spec.get_ref();
    let without = |key: &str, other: &str, span: std::ops::Range<usize>, findings: &mut Findings| {
        findings.add(
            span,
            format!("image of flavour \"{flavour}\": `{key}` without `{other}`"),
            format!("`{key}` says something about `{other}`"),
            format!("add `{other} = …`, or leave `{key}` out"),
        );
    };
    if let (Some(format), None) = (&spec.format, &spec.disk) {
        without("format", "disk", format.span(), findings);
    }
    for (key, span) in [
        ("initrd", spec.initrd.as_ref().map(Spanned::span)),
        ("command_line", spec.command_line.as_ref().map(Spanned::span)),
    ] {
        if let (Some(span), None) = (span, &spec.kernel) {
            without(key, "kernel", span, findings);
        }
    }
    match (&spec.provider_image, &spec.provider_kind) {
        (Some(image), None) => without("provider_image", "provider_kind", image.span(), findings),
        (None, Some(kind)) => without("provider_kind", "provider_image", kind.span(), findings),
        _ => {}
    }
    for path in [&spec.disk, &spec.kernel, &spec.initrd].into_iter().flatten() {
        findings.require(
            path.get_ref().is_absolute(),
            path.span(),
            || format!("image {} is no absolute path", path.get_ref().display()),
            "a path on the hosts, from the root",
            "hosts have no folder beside this file",
        );
    }
    let path = |path: &Spanned<std::path::PathBuf>| path.get_ref().clone();
    let command_line = spec.command_line.as_ref().and_then(|text| {
        findings.require(
            !text.get_ref().contains(char::is_control),
            text.span(),
            || "`command_line` holds a control character".to_owned(),
            "one line",
            "put a blank between its words",
        );
        template("`command_line`", text.get_ref(), text.span(), findings)
    });
    let local = match (&spec.disk, &spec.kernel) {
        (Some(disk), Some(_)) => {
            findings.add(
                disk.span(),
                format!("image of flavour \"{flavour}\": `disk` and `kernel` are both given"),
                "one of the two",
                "a disk brings its own kernel",
            );
            None
        }
        (Some(disk), None) => {
            let format = spec.format.as_ref().map_or(DiskFormatSpec::Qcow2, |format| *format.get_ref());
            let format = match format {
                DiskFormatSpec::Raw => DiskFormat::Raw,
                DiskFormatSpec::Qcow2 => DiskFormat::Qcow2,
            };
            Some(Image::Disk { base: path(disk), format })
        }
        (None, Some(kernel)) => Some(Image::Kernel {
            kernel: path(kernel),
            initrd: spec.initrd.as_ref().map(path),
            command_line: String::new(),
        }),
        (None, None) => None,
    };
    let provider = spec.provider_image.as_ref().zip(spec.provider_kind.as_ref()).map(|(image, kind)| {
        for text in [image, kind] {
            findings.require(
                !text.get_ref().trim().is_empty(),
                text.span(),
                || format!("image of flavour \"{flavour}\": a name is empty"),
                "a provider's name, such as ami-0a1b2c3d or t3.medium",
                "the provider's console lists them",
            );
        }
        Image::Provider { image: image.get_ref().clone(), kind: kind.get_ref().clone() }
    });
    if local.is_none() && provider.is_none() && spec.disk.is_none() {
        findings.add(
            place,
            format!("image of flavour \"{flavour}\" is nothing that boots"),
            "`disk`, `kernel`, or `provider_image` and `provider_kind`",
            "add `disk = \"/var/lib/forebay/images/edge.qcow2\"`",
        );
    }
    let user_data = spec.user_data.as_ref().and_then(|file| {
        let path = folder.join(file.get_ref());
        match std::fs::read_to_string(&path) {
            Ok(text) if text.len() > USER_DATA_MOST => {
                findings.add(
                    file.span(),
                    format!("`user_data`: {} has {} bytes", path.display(), text.len()),
                    format!("allowed: {USER_DATA_MOST}"),
                    "let the machine fetch what is larger",
                );
                None
            }
            Ok(text) => template(&format!("`user_data`: {}", path.display()), &text, file.span(), findings),
            Err(error) => {
                findings.add(
                    file.span(),
                    format!("`user_data`: {} cannot be read: {error}", path.display()),
                    "a file, taken from this file's folder unless absolute",
                    "it begins with #cloud-config, or is a script",
                );
                None
            }
        }
    });
    MachineImage { local, command_line, provider, user_data }
}

fn template(what: &str, text: &str, span: std::ops::Range<usize>, findings: &mut Findings) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(unknown) => {
            let line = text[..unknown.span.start].lines().count().max(1);
            let near = nearest(&unknown.word, WORDS);
            let place = if text.contains('\n') { format!(", line {line}") } else { String::new() };
            let word = &unknown.word;
            findings.add(
                span,
                format!("{what}{place}: {{{word}}} stands for nothing"),
                format!("filled in: {}", WORDS.map(|word| format!("{{{word}}}")).join(" ")),
                match near {
                    Some(near) => format!("did you mean {{{near}}}? To write {{{word}}} itself, double its braces"),
                    None => format!("to write {{{word}}} itself, double its braces: {{{{{word}}}}}"),
                },
            );
            None
        }
    }
}
