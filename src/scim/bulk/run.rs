//! A bulk request on its way: the order, what is due next, and the answer in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use super::BULK_RESPONSE_URN;
use super::references::{referred_to, replaced, replaced_in_path, without};
use super::request::{BulkRequest, Echo, Method, Operation};
use crate::scim::error::ScimError;
use crate::scim::patch::PATCH_OP_URN;

/// A single request that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub method: Method,
    /// Below the base URL.
    pub path: String,
    pub version: Option<String>,
    pub data: Option<Value>,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done { status: u16, location: Option<String>, version: Option<String> },
    Failed(ScimError),
}

/// One step of the order, by the number of the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Perform(usize),
    /// Adds to the new resource what was not there when it was made.
    Complete(usize),
}

/// What is known of one operation.
#[derive(Debug, Clone, Default)]
struct Progress {
    outcome: Option<Outcome>,
    /// Where the resource is, as soon as that is known.
    location: Option<String>,
    /// PATCH operations that are due when what they refer to is there.
    later: Vec<Value>,
}

/// A bulk request that is carried out.
#[derive(Debug)]
pub struct Run {
    /// The SCIM base URL without a slash at its end.
    base: String,
    operations: Vec<Result<Operation, ScimError>>,
    echoes: Vec<Echo>,
    progress: Vec<Progress>,
    steps: VecDeque<Step>,
    /// The step whose outcome is awaited.
    current: Option<Step>,
    errors_left: Option<usize>,
    /// The POST behind each bulkId.
    makers: BTreeMap<String, usize>,
    /// The ids of what was made, by bulkId.
    made: BTreeMap<String, String>,
}

impl Run {
    pub fn of(request: BulkRequest, base: &str) -> Self {
        let BulkRequest { fail_on_errors, operations, echoes } = request;
        let maker = |(number, operation): (usize, &Result<Operation, ScimError>)| {
            let made = operation.as_ref().ok()?.makes()?;
            Some((made.to_owned(), number))
        };
        let makers: BTreeMap<String, usize> = operations.iter().enumerate().filter_map(maker).collect();
        let references: Vec<Vec<usize>> = operations
            .iter()
            .map(|operation| {
                let referred_to =
                    operation.as_ref().map(|it| referred_to(&it.path, it.data.as_ref())).unwrap_or_default();
                referred_to.iter().filter_map(|id| makers.get(id).copied()).collect()
            })
            .collect();
        Run {
            base: base.to_owned(),
            progress: vec![Progress::default(); operations.len()],
            steps: order(&references),
            operations,
            echoes,
            current: None,
            errors_left: fail_on_errors,
            makers,
            made: BTreeMap::new(),
        }
    }

    /// The next request that is due; `None` at the end. What became of it is to be reported before the next one is
    /// asked for.
    pub fn next_task(&mut self) -> Option<Task> {
        loop {
            if self.errors_left == Some(0) {
                self.steps.clear();
            }
            let step = self.steps.pop_front()?;
            self.current = Some(step);
            let task = match step {
                Step::Perform(number) => self.perform(number).map(Some),
                Step::Complete(number) => self.complete(number),
            };
            match task {
                Ok(Some(task)) => return Some(task),
                Ok(None) => {}
                Err(error) => self.report(Outcome::Failed(error)),
            }
        }
    }

    /// What became of the last task.
    pub fn report(&mut self, outcome: Outcome) {
        let Some(step) = self.current.take() else { return };
        let (Step::Perform(number) | Step::Complete(number)) = step;
        let outcome = match (step, outcome) {
            (Step::Perform(_), Outcome::Done { status, location, version }) => {
                if location.is_some() {
                    self.progress[number].location.clone_from(&location);
                }
                self.note_made(number);
                Outcome::Done { status, location, version }
            }
            // The resource was made, whatever the status of the PATCH; its version is a new one.
            (Step::Complete(_), Outcome::Done { version, .. }) => match self.progress[number].outcome.take() {
                Some(Outcome::Done { status, location, version: before }) => {
                    Outcome::Done { status, location, version: version.or(before) }
                }
                Some(failed @ Outcome::Failed(_)) => failed,
                None => return,
            },
            (Step::Complete(_), Outcome::Failed(error)) => {
                let detail = format!("the resource was made, but without all that it refers to: {}", error.detail);
                // RFC 7644 §3.7.1: what a circle cannot be is a conflict. What may come right is repeated.
                match error.status {
                    400 | 404 | 409 => Outcome::Failed(ScimError::plain(409, detail)),
                    _ => Outcome::Failed(ScimError { detail, ..error }),
                }
            }
            (Step::Perform(_), failed @ Outcome::Failed(_)) => failed,
        };
        if matches!(outcome, Outcome::Failed(_)) {
            self.errors_left = self.errors_left.map(|left| left.saturating_sub(1));
        }
        self.progress[number].outcome = Some(outcome);
    }

    /// Fails whatever is still due.
    pub fn abandon(&mut self, error: &ScimError) {
        while let Some(step) = self.steps.pop_front() {
            self.current = Some(step);
            let is_due = match step {
                Step::Perform(_) => true,
                Step::Complete(number) => self.is_incomplete(number),
            };
            if is_due {
                self.report(Outcome::Failed(error.clone()));
            }
        }
    }

    /// The BulkResponse: the operations that were processed, in the order in which they came.
    pub fn response(&self) -> Value {
        let processed = self.echoes.iter().zip(&self.progress);
        let processed: Vec<Value> = processed.filter_map(|(echo, progress)| row(echo, progress)).collect();
        json!({ "schemas": [BULK_RESPONSE_URN], "Operations": processed })
    }

    fn perform(&mut self, number: usize) -> Result<Task, ScimError> {
        let operation = self.operations[number].clone()?;
        let made = |id: &str| self.made.get(id).cloned();
        let path = replaced_in_path(&operation.path, &mut { made });
        if operation.method != Method::Post {
            let (path, _) = path.split_once('?').unwrap_or((&path, ""));
            self.progress[number].location = Some(format!("{}{path}", self.base));
        }
        let absent = self.absent(&referred_to(&operation.path, operation.data.as_ref()))?;
        let (data, later) = match &operation.data {
            Some(data) if !absent.is_empty() => {
                let (data, later) = without(data, &absent);
                (Some(data), later)
            }
            data => (data.clone(), Vec::new()),
        };
        self.progress[number].later = later;
        let data = data.map(|data| replaced(&data, &mut { made }));
        Ok(Task { method: operation.method, path, version: operation.version, data })
    }

    /// `None` when nothing is missing.
    fn complete(&mut self, number: usize) -> Result<Option<Task>, ScimError> {
        if !self.is_incomplete(number) {
            return Ok(None);
        }
        let progress = &self.progress[number];
        let later = Value::Array(progress.later.clone());
        let referred_to = referred_to("", Some(&later));
        if let Some(failed) = referred_to.iter().find(|id| !self.made.contains_key(*id)) {
            return Err(was_not_made(failed));
        }
        let operations = replaced(&later, &mut |id: &str| self.made.get(id).cloned());
        let location = progress.location.as_deref().unwrap_or_default();
        Ok(Some(Task {
            method: Method::Patch,
            path: location.strip_prefix(&self.base).unwrap_or_default().to_owned(),
            version: None,
            data: Some(json!({ "schemas": [PATCH_OP_URN], "Operations": operations })),
        }))
    }

    /// Whether the resource was made and still lacks something.
    fn is_incomplete(&self, number: usize) -> bool {
        let progress = &self.progress[number];
        matches!(progress.outcome, Some(Outcome::Done { .. })) && !progress.later.is_empty()
    }

    /// Those of these bulkIds whose resources are still to be made.
    fn absent(&self, referred_to: &BTreeSet<String>) -> Result<BTreeSet<String>, ScimError> {
        let mut absent = BTreeSet::new();
        for id in referred_to.iter().filter(|id| !self.made.contains_key(*id)) {
            let Some(maker) = self.makers.get(id) else { return Err(self.makes_nothing(id)) };
            if self.progress[*maker].outcome.is_some() {
                return Err(was_not_made(id));
            }
            absent.insert(id.clone());
        }
        Ok(absent)
    }

    fn makes_nothing(&self, id: &str) -> ScimError {
        // Of a POST that could not be read, only the bulkId may be known.
        if self.echoes.iter().any(|echo| echo.bulk_id.as_deref() == Some(id)) {
            return was_not_made(id);
        }
        ScimError::invalid_value(format!("bulkId:{id} refers to nothing: no operation of this request makes \"{id}\""))
    }

    fn note_made(&mut self, number: usize) {
        let Some(bulk_id) = self.operations[number].as_ref().ok().and_then(Operation::makes) else { return };
        let id = self.progress[number].location.as_deref().and_then(|location| location.rsplit('/').next());
        self.made.extend(id.map(|id| (bulk_id.to_owned(), id.to_owned())));
    }
}

/// References first, else as they came. A reference back to what is on its way closes a circle and is completed
/// afterwards. Iterative, since a chain may be as long as a request.
fn order(references: &[Vec<usize>]) -> VecDeque<Step> {
    let mut placed: Vec<Option<usize>> = vec![None; references.len()];
    let mut on_its_way = vec![false; references.len()];
    let mut sequence = Vec::with_capacity(references.len());
    for first in 0..references.len() {
        let mut stack = vec![(first, 0)];
        while let Some((number, next)) = stack.pop() {
            if placed[number].is_some() {
                continue;
            }
            on_its_way[number] = true;
            match references[number].get(next) {
                Some(reference) => {
                    stack.push((number, next + 1));
                    if placed[*reference].is_none() && !on_its_way[*reference] {
                        stack.push((*reference, 0));
                    }
                }
                None => {
                    placed[number] = Some(sequence.len());
                    sequence.push(number);
                }
            }
        }
    }
    // Each is completed as soon as the last one that it lacks is there.
    let mut completed_behind: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, references) in references.iter().enumerate() {
        let last = references.iter().map(|reference| placed[*reference]).max().flatten();
        if let Some(last) = last.filter(|last| Some(*last) >= placed[number]) {
            completed_behind.entry(last).or_default().push(number);
        }
    }
    let mut steps = VecDeque::with_capacity(sequence.len());
    for (place, number) in sequence.into_iter().enumerate() {
        steps.push_back(Step::Perform(number));
        steps.extend(completed_behind.remove(&place).unwrap_or_default().into_iter().map(Step::Complete));
    }
    steps
}

/// The row of an operation; `None` when it was not processed.
fn row(echo: &Echo, progress: &Progress) -> Option<Value> {
    let outcome = progress.outcome.as_ref()?;
    let (status, version, response) = match outcome {
        Outcome::Done { status, version, .. } => (*status, version.clone(), None),
        Outcome::Failed(error) => (error.status, None, Some(error.to_json())),
    };
    let mut row = Map::new();
    let mut tell = |name: &str, value: Option<Value>| row.extend(value.map(|value| (name.to_owned(), value)));
    tell("location", progress.location.clone().map(Value::from));
    tell("method", echo.method.clone().map(Value::from));
    tell("bulkId", echo.bulk_id.clone().map(Value::from));
    tell("version", version.map(Value::from));
    // A string, like the `status` of an error (errata 7916).
    tell("status", Some(status.to_string().into()));
    tell("response", response);
    Some(Value::Object(row))
}

fn was_not_made(id: &str) -> ScimError {
    let detail = format!("bulkId:{id} refers to a resource that could not be made; see the result of its operation");
    ScimError::plain(409, detail)
}
