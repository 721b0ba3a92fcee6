//! Classes of work, each with the keys that its kind needs.

use forebay_world::{BitsPerSecond, Bytes, Cpu, FlavourId, ResourceClass, Slo, Work};
use toml::Spanned;

use super::require_range;
use crate::scenario::finding::Findings;
use crate::scenario::names::Names;
use crate::scenario::spec::{ClassSpec, WorkKind};

/// A class of work.
pub(super) fn check_class(
    class: &Spanned<ClassSpec>,
    index: usize,
    flavours: &Names,
    findings: &mut Findings,
) -> ResourceClass {
    let place = class.span();
    let spec = class.get_ref();
    let name = spec.name.get_ref();
    let flavour = flavours.find(&spec.flavour, findings).unwrap_or(0);
    require_range(&spec.violation_price_per_minute, "violation_price_per_minute", 0.0, f64::MAX, findings);
    require_range(&spec.slo.rate_floor, "rate_floor", 0.0, 1.0, findings);
    require_range(&spec.slo.tolerance, "tolerance", 0.0, 1.0, findings);
    check_keys_of_kind(spec, findings);
    let mut needed = Needed { class: name, kind: *spec.kind.get_ref(), place, findings };
    let work = match *spec.kind.get_ref() {
        WorkKind::Streaming => Work::Streaming {
            bit_rate: needed.positive(&spec.bit_rate, "bit_rate", "\"5 Mbit/s\"", |rate| *rate > BitsPerSecond::ZERO),
            duration: needed.positive(&spec.duration, "duration", "\"20 min\"", |span| !span.is_zero()),
        },
        WorkKind::Download => Work::Download {
            size: needed.positive(&spec.size, "size", "\"200 MB\"", |size| *size > Bytes::ZERO),
            rate: needed.positive(&spec.rate, "rate", "\"40 Mbit/s\"", |rate| *rate > BitsPerSecond::ZERO),
        },
        WorkKind::Interactive => Work::Interactive {
            requests_per_second: needed.positive(&spec.requests_per_second, "requests_per_second", "0.5", |rate| {
                *rate > 0.0 && rate.is_finite()
            }),
            service: needed.positive(&spec.service, "service", "\"10 ms\"", |span| !span.is_zero()),
            response: needed.positive(&spec.response, "response", "\"60 kB\"", |_| true),
            duration: needed.positive(&spec.duration, "duration", "\"3 min\"", |span| !span.is_zero()),
        },
    };
    let cpu = match *spec.kind.get_ref() {
        WorkKind::Interactive => Cpu::ZERO,
        _ => needed.positive(&spec.cpu, "cpu", "\"20 mCPU\"", |_| true),
    };
    ResourceClass {
        name: name.clone(),
        work,
        cpu,
        memory: *spec.memory.get_ref(),
        flavour: FlavourId::at(flavour.min(255)),
        priority: spec.priority.unwrap_or(index.min(255) as u8),
        slo: Slo {
            latency: *spec.slo.latency.get_ref(),
            rate_floor: *spec.slo.rate_floor.get_ref(),
            tolerance: *spec.slo.tolerance.get_ref(),
        },
        violation_price_per_minute: *spec.violation_price_per_minute.get_ref(),
    }
}

/// The keys that a class of its kind must have.
struct Needed<'a> {
    class: &'a str,
    kind: WorkKind,
    place: std::ops::Range<usize>,
    findings: &'a mut Findings,
}

impl Needed<'_> {
    fn positive<T: Clone + Default + std::fmt::Debug>(
        &mut self,
        value: &Option<Spanned<T>>,
        key: &str,
        example: &str,
        sound: impl Fn(&T) -> bool,
    ) -> T {
        match value {
            Some(value) => {
                self.findings.require(
                    sound(value.get_ref()),
                    value.span(),
                    || format!("class \"{}\": `{key}` is {:?}", self.class, value.get_ref()),
                    "more than 0 is needed",
                    &format!("such as {example}"),
                );
                value.get_ref().clone()
            }
            None => {
                self.findings.add(
                    self.place.clone(),
                    format!("class \"{}\" is {} and has no `{key}`", self.class, word(self.kind)),
                    format!("`{key}` is needed here"),
                    format!("add `{key} = {example}`"),
                );
                T::default()
            }
        }
    }
}

fn word(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Streaming => "streaming",
        WorkKind::Download => "download",
        WorkKind::Interactive => "interactive",
    }
}

/// A key, where it stands if it does, and the kinds that have a use for it.
pub(in crate::scenario) type Given<'a, Kind> = (&'static str, Option<std::ops::Range<usize>>, &'a [Kind]);

/// Keys that mean nothing for a class of this kind are a mistake.
fn check_keys_of_kind(spec: &ClassSpec, findings: &mut Findings) {
    use WorkKind::{Download, Interactive, Streaming};
    let given: [Given<'_, WorkKind>; 8] = [
        ("bit_rate", spec.bit_rate.as_ref().map(Spanned::span), &[Streaming]),
        ("duration", spec.duration.as_ref().map(Spanned::span), &[Streaming, Interactive]),
        ("size", spec.size.as_ref().map(Spanned::span), &[Download]),
        ("rate", spec.rate.as_ref().map(Spanned::span), &[Download]),
        ("requests_per_second", spec.requests_per_second.as_ref().map(Spanned::span), &[Interactive]),
        ("service", spec.service.as_ref().map(Spanned::span), &[Interactive]),
        ("response", spec.response.as_ref().map(Spanned::span), &[Interactive]),
        ("cpu", spec.cpu.as_ref().map(Spanned::span), &[Streaming, Download]),
    ];
    for (key, span, kinds) in given {
        let kind = *spec.kind.get_ref();
        if let Some(span) = span
            && !kinds.contains(&kind)
        {
            let kinds: Vec<&str> = kinds.iter().map(|kind| word(*kind)).collect();
            findings.add(
                span,
                format!("class \"{}\" is {} and has no use for `{key}`", spec.name.get_ref(), word(kind)),
                format!("only for {}", kinds.join(" and ")),
                "remove it, or change `kind`",
            );
        }
    }
}
