//! From a study to its charts: what is compared with what, and over which axis.
//!
//! A chart of which nothing was measured is left out.

use crate::Study;
use crate::plot::{Body, Chart, Panel, Scale, Unit};
use crate::primitives::cipher::CANDIDATES;
use crate::primitives::envelope::FORMS;
use crate::rows::{Backend, Fleet, Form, Operation, Primitive};

/// Of an envelope: what stands for signature, tag and IV, and ephemeral key.
const STAMP_BYTES: f64 = 64.0;
const SEALED_BYTES: f64 = 28.0;
const TAG_BYTES: f64 = 16.0;
const EPHEMERAL_BYTES: f64 = 32.0;

/// All charts.
pub(crate) fn charts(study: &Study) -> Vec<Chart> {
    let charts = [
        cipher_time(study),
        cipher_per_byte(study),
        stamps(study),
        batches(study),
        envelopes(study),
        sizes(study),
        rate(study),
        cpu(study),
        latency(study),
    ];
    let has_something = |chart: &Chart| {
        chart.panels.iter().any(|panel| {
            panel.points.iter().any(|points| !points.is_empty())
                || panel.groups.iter().any(|(_, values)| values.iter().any(Option::is_some))
        })
    };
    charts.into_iter().filter(has_something).collect()
}

fn number(value: usize) -> f64 {
    u32::try_from(value).map_or(f64::NAN, f64::from)
}

/// A panel for each build, with a line for each cipher.
fn cipher_panels(study: &Study, figure: impl Fn(&Primitive) -> Option<f64>) -> Vec<Panel> {
    let panel = |backend: Backend| {
        let points = CANDIDATES.iter().map(|candidate| {
            let rows = study.sizes().into_iter();
            let rows = rows.filter_map(|size| study.row(backend, candidate.name, Operation::Open, size));
            rows.filter_map(|row| Some((number(row.size_bytes), figure(row)?))).collect()
        });
        Panel { title: backend.name().to_owned(), points: points.collect(), groups: Vec::new() }
    };
    study.backends().into_iter().map(panel).collect()
}

fn message_size(study: &Study) -> Scale {
    Scale::logarithmic("size of the message", Unit::Bytes).marked_at(study.sizes().into_iter().map(number))
}

fn cipher_names() -> Vec<String> {
    CANDIDATES.iter().map(|candidate| candidate.name.to_owned()).collect()
}

fn cipher_time(study: &Study) -> Chart {
    Chart {
        name: "cipher-time",
        title: "Opening one message, by cipher".to_owned(),
        note: "Processor time on one core. Lower is better; both axes are logarithmic.".to_owned(),
        series: cipher_names(),
        panels: cipher_panels(study, |row| Some(row.ns)),
        value: Scale::logarithmic("time for one message", Unit::Time),
        body: Body::Lines(message_size(study)),
    }
}

fn cipher_per_byte(study: &Study) -> Chart {
    let counter = study.primitives.iter().find_map(|row| row.counter.as_deref());
    let (title, label, note) = match counter {
        Some("time-stamp-counter") => (
            "Cycles for each byte opened, by cipher",
            "cycles for each byte",
            "Cycles of the nominal frequency, by the time stamp counter. Lower is better.",
        ),
        Some(_) => ("Cycles for each byte opened, by cipher", "cycles for each byte", "Lower is better."),
        None => ("Time for each byte opened, by cipher", "ns for each byte", "Lower is better."),
    };
    let per_byte = |row: &Primitive| match counter {
        Some(_) => row.cycles_per_byte,
        None => Some(row.ns / number(row.size_bytes)),
    };
    Chart {
        name: "cipher-per-byte",
        title: title.to_owned(),
        note: note.to_owned(),
        series: cipher_names(),
        panels: cipher_panels(study, per_byte),
        value: Scale::logarithmic(label, Unit::Number),
        body: Body::Lines(message_size(study)),
    }
}

fn stamps(study: &Study) -> Chart {
    let (size, backends) = (study.reading(), study.backends());
    let row = |label: String, ns: &dyn Fn(Backend) -> Option<f64>| {
        (label, backends.iter().map(|backend| ns(*backend)).collect::<Vec<_>>())
    };
    let mut groups = Vec::new();
    for name in ["Ed25519", "ECDSA P-256", "HMAC-SHA-256"] {
        for (operation, verb) in [(Operation::Sign, "make"), (Operation::Verify, "check")] {
            groups.push(row(format!("{name}, {verb}"), &|backend| study.ns(backend, name, operation, size)));
        }
        if name == "Ed25519" {
            let in_batch = |backend| study.batches(backend).into_iter().find(|(batch, _)| *batch == 64);
            let label = "check, 64 at once".to_owned();
            groups.push(row(label, &|backend| in_batch(backend).map(|(_, ns)| ns)));
        }
    }
    Chart {
        name: "stamps",
        title: format!("One stamp on a message of {size} B"),
        note: "Processor time on one core. Lower is better; the axis is logarithmic.".to_owned(),
        series: backends.iter().map(|backend| backend.name().to_owned()).collect(),
        panels: vec![Panel { groups, ..Panel::default() }],
        value: Scale::logarithmic("time for one stamp", Unit::Time),
        body: Body::Bars,
    }
}

fn batches(study: &Study) -> Chart {
    let (size, mut panels, mut marks) = (study.reading(), Vec::new(), Vec::new());
    for backend in study.backends() {
        let batches: Vec<_> = study.batches(backend).into_iter().map(|(n, ns)| (number(n), ns)).collect();
        let alone = study.ns(backend, "Ed25519", Operation::Verify, size);
        let level = alone.map(|ns| batches.iter().map(|(n, _)| (*n, ns)).collect());
        marks = batches.iter().map(|(n, _)| *n).collect();
        let points = vec![batches, level.unwrap_or_default()];
        panels.push(Panel { title: backend.name().to_owned(), points, groups: Vec::new() });
    }
    Chart {
        name: "batches",
        title: "Ed25519: what one stamp costs when many are checked at once".to_owned(),
        note: "Each stamp of another sender. Lower is better; both axes are logarithmic.".to_owned(),
        series: ["in batches", "one by one"].map(str::to_owned).to_vec(),
        panels,
        value: Scale::logarithmic("time for one stamp", Unit::Time),
        body: Body::Lines(Scale::logarithmic("stamps checked at once", Unit::Number).marked_at(marks)),
    }
}

fn envelopes(study: &Study) -> Chart {
    let size = study.reading();
    let panel = |backend: Backend| {
        let parts = |operation| {
            let mut parts: Vec<Option<f64>> = Vec::new();
            FORMS.map(|form| {
                let whole = study.ns(backend, form.name(), operation, size);
                let before: f64 = parts.iter().flatten().sum();
                parts.push(whole.map(|whole| (whole - before).max(0.0)));
                parts.clone()
            })
        };
        let sides = [(Operation::Open, "open"), (Operation::Seal, "make")];
        let groups = sides.into_iter().flat_map(|(operation, verb)| {
            let names = ["stamped", "symmetric", "asymmetric"].map(|name| format!("{verb}, {name}"));
            names.into_iter().zip(parts(operation))
        });
        Panel { title: backend.name().to_owned(), groups: groups.collect(), points: Vec::new() }
    };
    Chart {
        name: "envelope-time",
        title: format!("Where the time goes: an envelope round {size} B"),
        note: "By the envelope's own code, with AES-256-GCM: each part is what the form has over the one above it."
            .to_owned(),
        series: ["stamp and structure", "cipher", "key agreement"].map(str::to_owned).to_vec(),
        panels: study.backends().into_iter().map(panel).collect(),
        value: Scale::linear("processor time", Unit::Time),
        body: Body::Stacks,
    }
}

fn sizes(study: &Study) -> Chart {
    let (backend, size) = (study.backends().first().copied().unwrap_or(Backend::Hardware), study.reading());
    let mut groups = Vec::new();
    for form in FORMS {
        let Some(row) = study.row(backend, form.name(), Operation::Open, size) else { continue };
        let sealed = (form != Form::Stamped).then_some(SEALED_BYTES);
        let ephemeral = (form == Form::SealedAsymmetric).then_some(EPHEMERAL_BYTES);
        let known = STAMP_BYTES + sealed.unwrap_or_default() + ephemeral.unwrap_or_default();
        let rest = (number(row.added_bytes) - known).max(0.0);
        groups.push((form.name().to_owned(), vec![Some(STAMP_BYTES), sealed, ephemeral, Some(rest)]));
    }
    let wire = |form| {
        let devices = study.fleet_sizes().first().copied()?;
        study.fleet(form, devices, |row| row.wire_bytes)
    };
    if let (Some(plain), Some(tls)) = (wire(Form::Plain), wire(Form::Tls)) {
        let rest = (tls - plain - TAG_BYTES).max(0.0);
        groups.push(("TLS record".to_owned(), vec![None, Some(TAG_BYTES), None, Some(rest)]));
    }
    Chart {
        name: "bytes-added",
        title: "Bytes that protection adds to one message".to_owned(),
        note: "Envelopes with ids of 7 and 8 bytes. TLS costs a handshake before that; see the table."
            .to_owned(),
        series: ["signature", "tag and IV", "ephemeral key", "ids and headers"].map(str::to_owned).to_vec(),
        panels: vec![Panel { groups, ..Panel::default() }],
        value: Scale::linear("bytes added", Unit::Bytes),
        body: Body::Stacks,
    }
}

/// For each form a group, for each fleet a series.
fn fleet_panel(study: &Study, title: &str, figure: impl Fn(&Fleet) -> f64) -> Panel {
    let values =
        |form| study.fleet_sizes().into_iter().map(|devices| study.fleet(form, devices, &figure)).collect();
    let groups = Form::ALL.map(|form| (form.name().to_owned(), values(form)));
    Panel { title: title.to_owned(), groups: groups.to_vec(), points: Vec::new() }
}

fn fleet_names(study: &Study) -> Vec<String> {
    study.fleet_sizes().iter().map(|devices| format!("{devices} devices")).collect()
}

fn rate(study: &Study) -> Chart {
    Chart {
        name: "fleet-rate",
        title: "Messages through the broker each second".to_owned(),
        note: "QoS 1, every device sends what it may, one subscriber on TLS. Higher is better; logarithmic."
            .to_owned(),
        series: fleet_names(study),
        panels: vec![fleet_panel(study, "", |row| row.rate_per_s)],
        value: Scale::logarithmic("messages each second", Unit::Number),
        body: Body::Bars,
    }
}

fn cpu(study: &Study) -> Chart {
    Chart {
        name: "fleet-cpu",
        title: "What a message costs the broker".to_owned(),
        note: "In the same runs: processor seconds of the broker for a million messages. Lower is better; \
               logarithmic."
            .to_owned(),
        series: fleet_names(study),
        panels: vec![fleet_panel(study, "", |row| row.cpu_s_per_million)],
        value: Scale::logarithmic("processor seconds for a million messages", Unit::Seconds),
        body: Body::Bars,
    }
}

fn latency(study: &Study) -> Chart {
    let pace = study.fleets.first().map_or(0.0, |row| row.pace_per_s);
    Chart {
        name: "fleet-latency",
        title: "From the reading on the device to the subscriber".to_owned(),
        note: format!(
            "The whole fleet sends {pace} messages a second. The device's own work is included. Lower is better."
        ),
        series: fleet_names(study),
        panels: vec![
            fleet_panel(study, "half took no longer (p50)", |row| row.latency_p50_us * 1e3),
            fleet_panel(study, "99 of 100 took no longer (p99)", |row| row.latency_p99_us * 1e3),
        ],
        value: Scale::logarithmic("time", Unit::Time),
        body: Body::Bars,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::made_up;

    #[test]
    fn a_whole_study_gives_every_chart() {
        let folder = tempfile::tempdir().unwrap();
        let charts = charts(&made_up());
        assert_eq!(charts.len(), 9);
        for chart in &charts {
            chart.draw(folder.path()).unwrap();
            assert!(
                chart.panels.iter().all(|panel| panel.points.len() <= chart.series.len()),
                "{}",
                chart.name
            );
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 18);
    }

    #[test]
    fn parts_of_an_envelope_are_differences() {
        let chart = envelopes(&made_up());
        let (name, parts) = &chart.panels[0].groups[2];
        assert_eq!((name.as_str(), parts.len()), ("open, asymmetric", 3));
        let sum: f64 = parts.iter().flatten().sum();
        assert!((sum - 85_000.0).abs() < 1e-6, "{parts:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let study = Study { fleets: Vec::new(), ..made_up() };
        assert!(charts(&study).iter().all(|chart| !chart.name.starts_with("fleet")));
    }
}
