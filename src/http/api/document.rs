//! The OpenAPI 3.1 document, made of the table of operations.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::BASE;
use super::failure::FailureBody;
use super::operation::{Describe, Operation};

/// What any operation may answer instead of success: status, description, and whether `Retry-After` says when to come
/// back.
const FAILURES: &[(&str, &str, bool)] = &[
    ("400", "The request is not understood; nothing was changed", false),
    ("401", "No token, or one that is unknown, revoked or expired", false),
    ("403", "The token lacks a scope, or a rule forbids it", false),
    ("404", "There is no such thing in this account", false),
    ("408", "The body did not arrive in time", false),
    ("409", "The state of things forbids it; the code says which rule", false),
    ("413", "The body is too large", false),
    ("429", "Too many requests or invitations", true),
    ("503", "Not at the moment; repeating is safe", true),
];

/// The document of these operations.
pub fn of(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut paths = Map::new();
    for operation in operations {
        let described = describe(operation, &mut generator);
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_lowercase()] = described;
    }
    let failure: Value = generator.subschema_for::<FailureBody>().into();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "usherd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Who may enter, who is invited, and who is in which organization, project and license. \
                            Errors carry a code for programs and a sentence for people.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": BASE }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": failures(&failure),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the account, made by `usherd token create` or `POST /tokens`. Its \
                                    scopes are named at each operation.",
                },
            },
        },
    })
}

fn failures(schema: &Value) -> Value {
    let retry_after = json!({ "Retry-After": { "description": "Seconds", "schema": { "type": "integer" } } });
    let one = |(status, description, waits): &(&str, &str, bool)| {
        let mut response = json!({ "description": description, "content": content(JSON, schema) });
        if *waits {
            response["headers"] = retry_after.clone();
        }
        (format!("Failure{status}"), response)
    };
    FAILURES.iter().map(one).collect::<Map<_, _>>().into()
}

const JSON: &str = "application/json";

fn content(media_type: &str, schema: &Value) -> Value {
    json!({ media_type: { "schema": schema } })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let schema = |describe: Describe, generator: &mut SchemaGenerator| -> Value { describe(generator).into() };
    let mut parameters: Vec<Value> = operation.path_parameters().map(path_parameter).collect();
    if let Some(query) = operation.query {
        parameters.extend(query_parameters(&schema(query, generator)));
    }
    if operation.conditional {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false,
            "description": "The ETag that the change is meant for; 412 when it is another one by now.",
            "schema": { "type": "string" },
        }));
    }
    if operation.resumable {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The id of the event that was heard last; what came behind it is told first.",
            "schema": { "type": "string", "maxLength": 64 },
        }));
    }
    let mut responses = Map::new();
    let mut success = json!({ "description": "Done" });
    if let Some(reply) = operation.reply {
        success["content"] = content(operation.media_type, &schema(reply, generator));
    }
    responses.insert(operation.status.as_str().to_owned(), success);
    let or_else = |status: &str| json!({ "$ref": format!("#/components/responses/Failure{status}") });
    responses.extend(FAILURES.iter().map(|(status, ..)| ((*status).to_owned(), or_else(status))));
    let failure = |description: &str, generator: &mut SchemaGenerator| {
        let schema: Value = generator.subschema_for::<FailureBody>().into();
        json!({ "description": description, "content": content(JSON, &schema) })
    };
    if operation.conditional {
        let changed = failure("Somebody changed it meanwhile; read it again", generator);
        responses.insert("412".to_owned(), changed);
    }
    let scopes: Vec<&str> = operation.scopes.iter().map(|scope| scope.as_str()).collect();
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": format!("Needs the scope {}.", scopes.join(" and ")),
        "tags": [operation.tag()],
        "security": [{ "token": scopes }],
        "parameters": parameters,
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({ "required": true, "content": content(JSON, &schema(body, generator)) });
        responses.insert("415".to_owned(), failure("The body is not sent as JSON", generator));
    }
    described["responses"] = responses.into();
    described
}

fn path_parameter(name: &str) -> Value {
    // Ids are UUIDs, but whatever else stands there is only not found.
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
}

/// Each property of the query's type.
fn query_parameters(schema: &Value) -> impl Iterator<Item = Value> {
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    properties.into_iter().map(|(name, mut property)| {
        let description = property.as_object_mut().and_then(|property| property.shift_remove("description"));
        let mut parameter = json!({ "name": name, "in": "query", "required": false, "schema": present(property) });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    })
}

/// A query has no `null`: what is absent is left out.
fn present(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type")
        && let Some(kind) = kinds.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned()
    {
        *kinds = kind;
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array)
        && let Some(choice) = choices.iter().find(|choice| choice["type"] != "null").cloned()
    {
        return choice;
    }
    schema
}
