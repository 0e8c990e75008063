//! What a run has found.

use std::collections::BTreeMap;
use std::fmt;

use super::invariant::Invariant;

/// Whether to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Repair,
    /// Writes nothing.
    DryRun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Repaired,
    WouldRepair,
    /// For people: nothing that usherd may do puts it right.
    Alert,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Repaired => "repaired",
            Outcome::WouldRepair => "would repair",
            Outcome::Alert => "alert",
        }
    }
}

/// One broken invariant. Its display is one line, with tabs between the invariant, what became of it, whom it is
/// about, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub invariant: Invariant,
    pub outcome: Outcome,
    /// Kind and id: `user 0199…`.
    pub subject: String,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}\t{}", self.invariant, self.outcome.as_str(), self.subject, self.what)
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The first of them.
    pub findings: Vec<Finding>,
    /// All of them.
    pub counts: BTreeMap<(Invariant, Outcome), usize>,
    /// Documents looked at.
    pub documents: usize,
    /// The run ended before its end, since it had repaired so many: somebody should look first.
    pub stopped: bool,
}

impl Report {
    /// More than these in one run are no accident that a program should put right by itself.
    pub const MAX_REPAIRS: usize = 500;
    /// So many findings are told one by one.
    const MAX_FINDINGS: usize = 2 * Self::MAX_REPAIRS;

    pub fn total(&self, outcome: Outcome) -> usize {
        self.counts.iter().filter(|((_, of), _)| *of == outcome).map(|(_, count)| count).sum()
    }

    pub(super) fn note(&mut self, finding: Finding) {
        *self.counts.entry((finding.invariant, finding.outcome)).or_default() += 1;
        if self.findings.len() < Self::MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// In one line, for people.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (outcome, words) in
            [(Outcome::Repaired, "repaired"), (Outcome::WouldRepair, "to repair"), (Outcome::Alert, "to look at")]
        {
            match self.total(outcome) {
                0 => {}
                count => parts.push(format!("{count} {words}")),
            }
        }
        let found = if parts.is_empty() { "all is well".to_owned() } else { parts.join(", ") };
        let stopped = match self.stopped {
            true => format!("; STOPPED after {} repairs: look at what happened, then run it again", Self::MAX_REPAIRS),
            false => String::new(),
        };
        format!("{} documents looked at: {found}{stopped}", self.documents)
    }
}
