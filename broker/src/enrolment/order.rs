//! What an operator asks for at run time, and whether it can be done.

use super::{Book, Effect, Entry, Kind, Name, Noted, Ready};
use std::collections::BTreeSet;

/// What an operator asks for; done whole or not at all.
#[derive(Debug)]
pub(crate) enum Order {
    /// Enrol these; where one is enrolled otherwise, put this in its place if that is asked for.
    Enrol {
        /// Names and keys.
        entries: Vec<(Name, Entry, Ready)>,
        /// Whether what is there may be replaced.
        replace: bool,
    },
    /// Do this with what is enrolled.
    Change(What, Vec<Name>),
}

/// What is done with those who are enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// They may do nothing, until they are enabled.
    Disable,
    /// They may again.
    Enable,
    /// They are not enrolled any more.
    Remove,
    /// What was taken of them is forgotten, so that they can count from the start.
    Reset,
}

/// What has happened to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It was enrolled.
    Enrolled,
    /// Its key, topics or validity are others.
    Replaced,
    /// It was disabled.
    Disabled,
    /// It was enabled.
    Enabled,
    /// It was removed.
    Removed,
    /// It counts anew.
    Reset,
}

impl Event {
    /// Its name, in logs and elsewhere.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Replaced => "replaced",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Removed => "removed",
            Self::Reset => "reset",
        }
    }
}

/// Why an order is not done; nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The order contradicts itself.
    #[error("{0} stands in the request twice")]
    Twice(Name),
    /// Only the file can say something else.
    #[error("{0} stands in the configuration: change it there and send SIGHUP, or disable it")]
    Configured(Name),
    /// It would be lost.
    #[error("{0} is enrolled already, with another key, other topics or another validity: see --replace")]
    Different(Name),
    /// There is nothing to change.
    #[error("{0} is not enrolled")]
    Unknown(Name),
    /// A topic key takes no numbers.
    #[error("{0} does not count: only senders do")]
    NoSender(Name),
    /// The bound.
    #[error("there would be {there} of {max} {what} that are enrolled or disabled at run time: see {key}")]
    Full {
        /// How many there would be.
        there: usize,
        /// How many there may be.
        max: usize,
        /// Of what.
        what: &'static str,
        /// Which key says so.
        key: &'static str,
    },
    /// Too many topics, or too long ones.
    #[error(
        "{name} has {bytes} bytes, each topic counted with 32 more, of {max}: see limits.enrolled_entry_bytes_max"
    )]
    TooLarge {
        /// What.
        name: Name,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
}

/// What one name comes to.
struct Step {
    noted: Noted,
    event: Event,
    forget: bool,
}

impl Book {
    /// Does what is asked for.
    pub(crate) fn take(&mut self, order: &Order, now_ms: u64) -> Result<Effect, Refused> {
        let mut steps = Vec::new();
        let mut effect = Effect::default();
        let mut names = BTreeSet::new();
        let mut once = |name: &Name| {
            if names.insert(name.clone()) { Ok(()) } else { Err(Refused::Twice(name.clone())) }
        };
        match order {
            Order::Enrol { entries, replace } => {
                for (name, entry, ready) in entries {
                    once(name)?;
                    steps.push(self.enrol(name, (entry, ready), *replace)?);
                }
            }
            Order::Change(what, names) => {
                for name in names {
                    once(name)?;
                    steps.push(self.change(*what, name)?);
                }
            }
        }
        self.has_room(steps.iter().flatten())?;
        for step in steps {
            let Some(Step { mut noted, event, forget }) = step else {
                effect.unchanged += 1;
                continue;
            };
            let name = noted.record.name.clone();
            if forget {
                effect.forget(&name);
            }
            if matches!(event, Event::Replaced | Event::Enrolled) {
                self.last_number += 1;
                noted.record.number = self.last_number;
                if noted.record.is_disabled {
                    effect.warn(|| format!("{name} was disabled before, and stays so until it is enabled"));
                }
            }
            self.note(noted, now_ms, &mut effect);
            effect.events.push((name, event));
        }
        self.forget_oldest(&mut effect);
        Ok(effect)
    }

    fn enrol(
        &self,
        name: &Name,
        (entry, ready): (&Entry, &Ready),
        replace: bool,
    ) -> Result<Option<Step>, Refused> {
        if self.configured.entry(name).is_some() {
            return Err(Refused::Configured(name.clone()));
        }
        let mut noted = self.noted(name);
        let event = match &noted.record.entry {
            Some(there) if there == entry => return Ok(None),
            Some(_) if !replace => return Err(Refused::Different(name.clone())),
            Some(_) => Event::Replaced,
            None => Event::Enrolled,
        };
        let (bytes, max) = (entry.size(), self.entry_bytes_max);
        if bytes > max {
            return Err(Refused::TooLarge { name: name.clone(), bytes, max });
        }
        let was = noted.ready.as_ref().and_then(Ready::print).or(noted.record.former);
        let forget = was.is_some() && was != ready.print();
        noted.record.former = None;
        noted.record.entry = Some(entry.clone());
        ready.go_on_from(noted.ready.as_ref());
        noted.ready = Some(ready.clone());
        Ok(Some(Step { noted, event, forget }))
    }

    fn change(&self, what: What, name: &Name) -> Result<Option<Step>, Refused> {
        let mut noted = self.noted(name);
        let is_configured = self.configured.entry(name).is_some();
        let record = &mut noted.record;
        let is_there = is_configured || !record.is_of_the_past();
        let unknown = || Refused::Unknown(name.clone());
        let event = match what {
            What::Disable | What::Enable => {
                if !is_there {
                    return Err(unknown());
                }
                let is_disabled = what == What::Disable;
                if record.is_disabled == is_disabled {
                    return Ok(None);
                }
                record.is_disabled = is_disabled;
                if is_disabled { Event::Disabled } else { Event::Enabled }
            }
            What::Remove => {
                if record.entry.take().is_none() && is_configured {
                    return Err(Refused::Configured(name.clone()));
                }
                if !is_there {
                    return Err(unknown());
                }
                if !is_configured {
                    record.is_disabled = false;
                    record.former = noted.ready.as_ref().and_then(Ready::print).or(record.former);
                }
                noted.ready = None;
                Event::Removed
            }
            What::Reset => {
                if name.kind != Kind::Sender {
                    return Err(Refused::NoSender(name.clone()));
                }
                if !is_there && record.former.is_none() {
                    return Err(unknown());
                }
                record.former = None;
                return Ok(Some(Step { noted, event: Event::Reset, forget: true }));
            }
        };
        Ok(Some(Step { noted, event, forget: false }))
    }

    /// Whether what would be kept is within its bounds.
    fn has_room<'a>(&self, steps: impl Iterator<Item = &'a Step>) -> Result<(), Refused> {
        let mut more = [0_usize; 2];
        let mut less = [0_usize; 2];
        for Step { noted, .. } in steps {
            let at = usize::from(noted.record.name.kind == Kind::TopicKey);
            let before = self.records.get(&noted.record.name);
            let was = before.is_some_and(|before| !before.record.is_of_the_past());
            let side = match (was, !noted.record.is_of_the_past()) {
                (false, true) => &mut more,
                (true, false) => &mut less,
                _ => continue,
            };
            if let Some(count) = side.get_mut(at) {
                *count += 1;
            }
        }
        let bounds = [
            (Kind::Sender, self.senders_max, "senders", "limits.enrolled_senders_max"),
            (Kind::TopicKey, self.topic_keys_max, "topic keys", "limits.enrolled_topic_keys_max"),
        ];
        for ((kind, max, what, key), (more, less)) in bounds.into_iter().zip(more.into_iter().zip(less)) {
            let there = self.count(kind) + more - less;
            // Less is always possible, also where a bound has become smaller.
            if more > less && there > max {
                return Err(Refused::Full { there, max, what, key });
            }
        }
        Ok(())
    }
}
