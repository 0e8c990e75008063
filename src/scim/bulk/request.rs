//! The BulkRequest message.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::BULK_REQUEST_URN;
use crate::scim::error::ScimError;
use crate::scim::patch::PATCH_OP_URN;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    const ALL: [Method; 4] = [Method::Post, Method::Put, Method::Patch, Method::Delete];

    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// One operation, as the client wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub method: Method,
    pub bulk_id: Option<String>,
    /// Below the base URL, with a slash in front: `/Users/bulkId:x`.
    pub path: String,
    /// What `If-Match` is to a single request.
    pub version: Option<String>,
    /// `None` of a DELETE.
    pub data: Option<Value>,
}

/// What the answer repeats of an operation, also of one that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Echo {
    pub method: Option<String>,
    pub bulk_id: Option<String>,
}

/// A bulk request. An operation that makes no sense is an error of its own, and no business of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkRequest {
    /// The answer is due after so many errors; `None`: however many there are.
    pub fail_on_errors: Option<usize>,
    pub operations: Vec<Result<Operation, ScimError>>,
    pub(super) echoes: Vec<Echo>,
}

impl BulkRequest {
    /// # Errors
    /// `invalidSyntax` for what is no bulk request, `invalidValue` for a bad `failOnErrors` or no operations, and 413,
    /// naming the limit, for more than `max_operations` (§3.7.4).
    pub fn read(body: Value, max_operations: usize) -> Result<BulkRequest, ScimError> {
        let Value::Object(mut body) = body else {
            return Err(ScimError::invalid_syntax("a bulk request is a JSON object"));
        };
        if let Some(schemas) = take(&mut body, "schemas") {
            let is_bulk = |urn: &Value| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(BULK_REQUEST_URN));
            if !schemas.as_array().is_some_and(|urns| urns.iter().any(is_bulk)) {
                return Err(ScimError::invalid_syntax(format!(
                    "`schemas` of a bulk request is [\"{BULK_REQUEST_URN}\"]"
                )));
            }
        }
        let fail_on_errors = take(&mut body, "failOnErrors").map(|value| {
            let number = value.as_u64().filter(|number| *number > 0).and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| ScimError::invalid_value("`failOnErrors` is a whole number from 1"))
        });
        let fail_on_errors = fail_on_errors.transpose()?;
        let operations = match take(&mut body, "Operations") {
            Some(Value::Array(operations)) if !operations.is_empty() => operations,
            None | Some(Value::Array(_)) => return Err(ScimError::invalid_value("`Operations` is required")),
            Some(_) => return Err(ScimError::invalid_syntax("`Operations` is a list of operations")),
        };
        if operations.len() > max_operations {
            let detail = format!(
                "the request has {} operations, and maxOperations is {max_operations}: send them in several requests",
                operations.len()
            );
            return Err(ScimError::plain(413, detail));
        }
        let (mut echoes, mut read) = (Vec::with_capacity(operations.len()), Vec::with_capacity(operations.len()));
        for operation in operations {
            let (echo, operation) = Operation::read(operation);
            echoes.push(echo);
            read.push(operation);
        }
        let mut request = BulkRequest { fail_on_errors, operations: read, echoes };
        request.refuse_repeated_ids();
        Ok(request)
    }

    /// Which of two resources of one bulkId is meant, nobody knows.
    fn refuse_repeated_ids(&mut self) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for id in self.operations.iter().filter_map(|operation| operation.as_ref().ok()?.makes()) {
            *times.entry(id.to_owned()).or_default() += 1;
        }
        for operation in &mut self.operations {
            let id = operation.as_ref().ok().and_then(|operation| operation.makes());
            if let Some(id) = id.filter(|id| times.get(*id).is_some_and(|times| *times > 1)) {
                let detail =
                    format!("several operations have the bulkId \"{id}\"; give each new resource one of its own");
                *operation = Err(ScimError::invalid_value(detail));
            }
        }
    }
}

impl Operation {
    /// The bulkId that stands for the resource that this operation makes.
    pub(super) fn makes(&self) -> Option<&str> {
        self.bulk_id.as_deref().filter(|_| self.method == Method::Post)
    }

    fn read(operation: Value) -> (Echo, Result<Operation, ScimError>) {
        let Value::Object(mut operation) = operation else {
            return (Echo::default(), Err(ScimError::invalid_syntax("an operation is a JSON object")));
        };
        let method = text(&mut operation, "method");
        let bulk_id = text(&mut operation, "bulkId");
        let echo =
            Echo { method: method.as_ref().ok().cloned().flatten(), bulk_id: bulk_id.as_ref().ok().cloned().flatten() };
        let read = || {
            let (method, bulk_id) = (method?, bulk_id?.filter(|id| !id.is_empty()));
            let method = method.ok_or_else(|| ScimError::invalid_syntax("an operation has a `method`"))?;
            let method = Method::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(&method));
            let method = method.ok_or_else(|| {
                ScimError::invalid_syntax("`method` of an operation is one of POST, PUT, PATCH and DELETE")
            })?;
            if method == Method::Post && bulk_id.is_none() {
                return Err(ScimError::invalid_syntax("an operation that makes a resource has a `bulkId`"));
            }
            let path = text(&mut operation, "path")?;
            let path = path.ok_or_else(|| ScimError::invalid_syntax("an operation has a `path`, such as /Users"))?;
            let version = text(&mut operation, "version")?.filter(|version| !version.is_empty());
            let data = match (method, take(&mut operation, "data")) {
                (Method::Delete, _) => None,
                (Method::Post | Method::Put | Method::Patch, None) => {
                    return Err(ScimError::invalid_syntax(format!("a {} has `data`", method.as_str())));
                }
                // The examples of the RFC show the operations where, by its text, a whole message is due (errata 5050).
                (Method::Patch, Some(Value::Array(operations))) => {
                    Some(json!({ "schemas": [PATCH_OP_URN], "Operations": operations }))
                }
                (Method::Post | Method::Put | Method::Patch, Some(data)) => Some(data),
            };
            let path = format!("/{}", path.trim().trim_start_matches('/'));
            Ok(Operation { method, bulk_id, path, version, data })
        };
        (echo, read())
    }
}

/// Takes a member out, whatever the case of its name; null is none.
fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    object.shift_remove(&key).filter(|value| !value.is_null())
}

fn text(object: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ScimError> {
    match take(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ScimError::invalid_syntax(format!("`{name}` of an operation is a string"))),
    }
}
