//! From a study to tables in Markdown, and to a few sentences that say what matters.
//!
//! Figures that are missing stand as a dash.

use crate::Study;
use crate::plot::{Unit, digits};
use crate::primitives::cipher::CANDIDATES;
use crate::primitives::envelope::FORMS;
use crate::rows::{Backend, Durability, Fleet, Form, Operation, Primitive};
use std::fmt::Display;

const STAMPS: [&str; 3] = ["Ed25519", "ECDSA P-256", "HMAC-SHA-256"];
/// Of the machine, what is too long for a table.
const LONG: [&str; 1] = ["all flags"];

/// All tables, by the name that a document marks them with.
pub(crate) fn all(study: &Study) -> Vec<(&'static str, String)> {
    vec![
        ("findings", findings(study)),
        ("machine", machine(study)),
        ("ciphers", ciphers(study)),
        ("stamps", stamps(study)),
        ("batches", batches(study)),
        ("envelopes", envelopes(study)),
        ("fleets", fleets(study)),
        ("connections", connections(study)),
        ("disk", disk(study)),
    ]
}

/// What is printed at the end.
pub(crate) fn summary(study: &Study) -> String {
    findings(study).replace('*', "")
}

struct Table(String);

impl Table {
    fn new(names: &[String]) -> Self {
        let mut table = Self(String::new());
        table.row(names);
        table.row(&vec!["---"; names.len()]);
        table
    }

    fn row(&mut self, cells: &[impl Display]) {
        let cells: Vec<String> = cells.iter().map(|cell| format!("| {cell} ")).collect();
        self.0.push_str(&cells.concat());
        self.0.push_str("|\n");
    }
}

fn time(ns: Option<f64>) -> String {
    ns.map_or_else(dash, |ns| Unit::Time.write(ns))
}

fn plain(value: Option<f64>) -> String {
    value.map_or_else(dash, digits)
}

fn dash() -> String {
    "–".to_owned()
}

/// How many times as long, with words for it.
fn times(more: Option<f64>, less: Option<f64>) -> String {
    more.zip(less).map_or_else(dash, |(more, less)| format!("{} times", digits(more / less)))
}

/// Whether a build has special instructions, in a word.
const fn short(backend: Backend) -> &'static str {
    match backend {
        Backend::Hardware => "with",
        Backend::Software => "without",
    }
}

fn machine(study: &Study) -> String {
    let mut table = Table::new(&["what".to_owned(), "found".to_owned()]);
    for fact in study.machine.iter().filter(|fact| !LONG.contains(&fact.name.as_str())) {
        table.row(&[&fact.name, &fact.value]);
    }
    table.0
}

fn ciphers(study: &Study) -> String {
    let sizes = [study.reading(), study.size_near(1_024), study.size_near(65_536)];
    let mut names = vec!["cipher".to_owned(), "adds".to_owned()];
    for backend in study.backends() {
        names.extend(sizes.map(|size| format!("{}: {}", short(backend), Unit::Bytes.write(float(size)))));
    }
    let mut table = Table::new(&names);
    for candidate in &CANDIDATES {
        let added = study.primitives.iter().find(|row| row.name == candidate.name).map(|row| row.added_bytes);
        let mut cells =
            vec![candidate.name.to_owned(), added.map_or_else(dash, |added| format!("{added} B"))];
        for backend in study.backends() {
            cells.extend(sizes.map(|size| time(study.ns(backend, candidate.name, Operation::Open, size))));
        }
        table.row(&cells);
    }
    table.0
}

fn stamps(study: &Study) -> String {
    let size = study.reading();
    let mut names = vec!["stamp".to_owned(), "adds".to_owned()];
    for backend in study.backends() {
        names.extend(["make", "check"].map(|verb| format!("{}: {verb}", short(backend))));
    }
    let mut table = Table::new(&names);
    for name in STAMPS {
        let added = study.primitives.iter().find(|row| row.name == name).map(|row| row.added_bytes);
        let mut cells = vec![name.to_owned(), added.map_or_else(dash, |added| format!("{added} B"))];
        for backend in study.backends() {
            let both = [Operation::Sign, Operation::Verify];
            cells.extend(both.map(|operation| time(study.ns(backend, name, operation, size))));
        }
        table.row(&cells);
    }
    table.0
}

fn batches(study: &Study) -> String {
    let mut names = vec!["at once".to_owned()];
    names.extend(study.backends().into_iter().map(|backend| format!("{}: each", short(backend))));
    let mut table = Table::new(&names);
    let mut first = vec!["one by one".to_owned()];
    let alone = |backend| study.ns(backend, "Ed25519", Operation::Verify, study.reading());
    first.extend(study.backends().into_iter().map(|backend| time(alone(backend))));
    table.row(&first);
    let sizes = study.backends().first().map(|backend| study.batches(*backend)).unwrap_or_default();
    for (batch, _) in sizes {
        let mut cells = vec![batch.to_string()];
        for backend in study.backends() {
            let found = study.batches(backend).into_iter().find(|(other, _)| *other == batch);
            cells.push(time(found.map(|(_, ns)| ns)));
        }
        table.row(&cells);
    }
    table.0
}

fn envelopes(study: &Study) -> String {
    let size = study.reading();
    let mut names = vec!["envelope".to_owned(), "adds".to_owned()];
    for backend in study.backends() {
        names.extend(["make", "open"].map(|verb| format!("{}: {verb}", short(backend))));
    }
    let mut table = Table::new(&names);
    for form in FORMS {
        let of_form = |row: &&Primitive| row.name == form.name() && row.size_bytes == size;
        let added = study.primitives.iter().find(of_form).map(|row| row.added_bytes);
        let mut cells = vec![form.name().to_owned(), added.map_or_else(dash, |added| format!("{added} B"))];
        for backend in study.backends() {
            let both = [Operation::Seal, Operation::Open];
            cells.extend(both.map(|operation| time(study.ns(backend, form.name(), operation, size))));
        }
        table.row(&cells);
    }
    table.0
}

/// Names of the columns of `fleet_row`.
const FLEET: [&str; 9] = [
    "devices",
    "form",
    "messages/s",
    "CPU s per million",
    "latency p50",
    "latency p99",
    "transit p50",
    "transit p99",
    "bytes sent",
];

fn fleet_row(study: &Study, durability: Durability, form: Form, devices: usize) -> [String; 9] {
    let median = |figure: &dyn Fn(&Fleet) -> f64| study.fleet_on(durability, form, devices, figure);
    let us = |figure: &dyn Fn(&Fleet) -> f64| time(median(figure).map(|us| us * 1e3));
    [
        devices.to_string(),
        form.name().to_owned(),
        plain(median(&|row| row.rate_per_s)),
        plain(median(&|row| row.cpu_s_per_million)),
        us(&|row| row.latency_p50_us),
        us(&|row| row.latency_p99_us),
        us(&|row| row.transit_p50_us),
        us(&|row| row.transit_p99_us),
        plain(median(&|row| row.wire_bytes)),
    ]
}

fn fleets(study: &Study) -> String {
    let mut table = Table::new(&FLEET.map(str::to_owned));
    for devices in study.fleet_sizes() {
        for form in Form::ALL {
            table.row(&fleet_row(study, Durability::Memory, form, devices));
        }
    }
    table.0
}

fn disk(study: &Study) -> String {
    let mut table = Table::new(&FLEET.map(str::to_owned));
    if let Some(devices) = study.fleet_on_disk() {
        for form in Form::ALL {
            table.row(&fleet_row(study, Durability::Sync, form, devices));
        }
    }
    table.0
}

fn connections(study: &Study) -> String {
    let names = ["form", "bytes to connect", "CPU ms to connect", "broker's memory for one more device"];
    let mut table = Table::new(&names.map(str::to_owned));
    let (fewest, most) = (study.fleet_sizes().first().copied(), study.fleet_sizes().last().copied());
    let (Some(fewest), Some(most)) = (fewest, most) else { return table.0 };
    for form in [Form::Plain, Form::Stamped, Form::Tls] {
        #[allow(clippy::cast_precision_loss, reason = "memory is far below 2^53")]
        let resident = |devices| study.fleet(form, devices, |row| row.resident_kib as f64);
        let each = resident(most).zip(resident(fewest));
        let each = each.filter(|_| most > fewest).map(|(many, few)| (many - few) / float(most - fewest));
        table.row(&[
            form.name().to_owned(),
            plain(study.fleet(form, most, |row| row.connect_bytes)),
            plain(study.fleet(form, most, |row| row.connect_cpu_ms)),
            each.map_or_else(dash, |kib| format!("{} KiB", digits(kib))),
        ]);
    }
    table.0
}

/// Sentences with the figures in them.
fn findings(study: &Study) -> String {
    let (size, mut sentences) = (study.reading(), Vec::new());
    let mut say = |sentence: String| sentences.push(format!("- {sentence}\n"));
    for backend in study.backends() {
        let open =
            |name: &str| study.ns(backend, name, Operation::Open, size).map(|ns| (ns, name.to_owned()));
        let mut order: Vec<_> = CANDIDATES.iter().filter_map(|candidate| open(candidate.name)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let order: Vec<_> =
            order.iter().map(|(ns, name)| format!("{name} {}", Unit::Time.write(*ns))).collect();
        say(format!(
            "**Ciphers, {}**, opening {size} B, fastest first: {}.",
            backend.name(),
            order.join(", ")
        ));
    }
    for backend in study.backends() {
        let check = |name| study.ns(backend, name, Operation::Verify, size);
        let batch = study.batches(backend).into_iter().max_by_key(|(batch, _)| *batch);
        let (count, each) = batch.map_or((0, None), |(count, ns)| (count, Some(ns)));
        say(format!(
            "**Stamps, {}**: checking one takes {} for Ed25519 ({} each, {count} at once), {} for ECDSA P-256, \
             {} for HMAC-SHA-256.",
            backend.name(),
            time(check("Ed25519")),
            time(each),
            time(check("ECDSA P-256")),
            time(check("HMAC-SHA-256")),
        ));
    }
    let backend = study.backends().first().copied().unwrap_or(Backend::Hardware);
    let open = |form: Form| study.ns(backend, form.name(), Operation::Open, size);
    if let (Some(stamped), Some(symmetric)) = (open(Form::Stamped), open(Form::SealedSymmetric)) {
        let share = digits((stamped / symmetric * 100.0).min(100.0));
        say(format!(
            "**An envelope** round {size} B, {}: {} to open symmetric, of which {share} % are stamp and structure; \
             {} asymmetric.",
            backend.name(),
            Unit::Time.write(symmetric),
            time(open(Form::SealedAsymmetric)),
        ));
    }
    if let Some(devices) = study.fleet_sizes().last().copied() {
        let rate = |form| study.fleet(form, devices, |row| row.rate_per_s);
        let forms = Form::ALL.map(|form| format!("{} {}/s", form.name(), plain(rate(form))));
        let costs = times(rate(Form::Plain), rate(Form::SealedSymmetric));
        say(format!(
            "**A fleet of {devices}** through the broker: {}. Plain is {costs} as fast as sealed.",
            forms.join("; ")
        ));
    }
    sentences.extend(price(study, size).map(|sentence| format!("- {sentence}\n")));
    sentences.concat()
}

/// What the broker pays for a sealed message, beside what the check of its stamp costs alone.
fn price(study: &Study, size: usize) -> Option<String> {
    let backend = study.backends().first().copied()?;
    let check_us = study.ns(backend, "Ed25519", Operation::Verify, size)? / 1e3;
    let paid = study.fleet_sizes().into_iter().filter_map(|devices| {
        let us = study.fleet(Form::SealedSymmetric, devices, |row| row.cpu_s_per_million)?;
        Some(format!("{} µs with {devices} devices ({:.2} of one check)", digits(us), us / check_us))
    });
    let paid: Vec<_> = paid.collect();
    let list = paid.join(", ");
    (!paid.is_empty()).then(|| format!("**A sealed message**, symmetric, costs the broker, all in, {list}."))
}

fn float(value: usize) -> f64 {
    u32::try_from(value).map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Fact;
    use crate::view::made_up;

    fn study() -> Study {
        let fact = |name: &str, value: &str| Fact { name: name.to_owned(), value: value.to_owned() };
        Study { machine: vec![fact("cores", "2"), fact("all flags", "aes")], ..made_up() }
    }

    #[test]
    fn every_table_is_whole() {
        for (name, table) in all(&study()) {
            if name == "findings" {
                continue;
            }
            let cells: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(cells.len() > 2 && cells.iter().all(|count| *count == cells[0]), "{name}:\n{table}");
            assert!(!table.contains("NaN"), "{name}:\n{table}");
        }
    }

    #[test]
    fn tables_say_what_was_measured() {
        let tables = all(&study());
        let table = |wanted: &str| &tables.iter().find(|(name, _)| *name == wanted).unwrap().1;
        assert!(table("ciphers").contains("| AES-128-GCM | 28 B | 64 ns | 1 µs |"), "{}", table("ciphers"));
        assert!(table("machine").contains("| cores | 2 |") && !table("machine").contains("all flags"));
        assert!(
            table("fleets").contains("| 100 | sealed, asymmetric | 11,113 | 90 |"),
            "{}",
            table("fleets")
        );
        assert!(table("disk").lines().skip(2).all(|line| line.starts_with("| 100 |")));
        assert!(table("findings").contains("97 % are stamp"), "{}", table("findings"));
        let price = "costs the broker, all in, 32 µs with 10 devices (1.07 of one check), 32 µs with 100";
        assert!(table("findings").contains(price), "{}", table("findings"));
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut study = study();
        study.primitives.retain(|row| row.name != "ECDSA P-256");
        assert!(stamps(&study).contains("| ECDSA P-256 | – | – | – | – | – |"), "{}", stamps(&study));
        assert!(!summary(&study).contains('*'));
    }
}
