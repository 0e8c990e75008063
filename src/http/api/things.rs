//! Organizations, projects, licenses and groups: one way for all four, through the same use cases as SCIM.

use axum::Json;
use axum::extract::Query;
use axum::http::Method;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::bounded::{Text, Within};
use super::operation::{Answer, Call, Operation};
use super::views::{LicenseKindView, ThingView};
use crate::directory::editing::Edited;
use crate::directory::error::readable;
use crate::directory::query::Search;
use crate::directory::resources::Resource;
use crate::directory::{Context, Directory, Error, Kind};
use crate::domain::secrets::Scope;
use crate::domain::text::safe_name;
use crate::store::Document;

pub fn operations() -> Vec<Operation> {
    [Kind::Organization, Kind::Project, Kind::License, Kind::Group].into_iter().flat_map(of_kind).collect()
}

fn of_kind(kind: Kind) -> [Operation; 5] {
    let scopes: &'static [Scope] = match kind.scope() {
        Scope::Groups => &[Scope::Groups],
        _ => &[Scope::Resources],
    };
    let (noun, plural) = (kind.resource_type(), kind.endpoint());
    let (all, one) = (format!("/{kind}s"), format!("/{kind}s/{{id}}"));
    let make = (Method::POST, all.as_str());
    let change = (Method::PATCH, one.as_str());
    let (make_id, make_summary) = (format!("create{noun}"), format!("Make a {kind}"));
    let (change_id, change_summary) = (format!("update{noun}"), format!("Rename or change a {kind}"));
    let (make, change) = if kind == Kind::License {
        (
            Operation::new(make, &make_id, &make_summary, scopes, move |call| create::<LicenseBody>(call, kind)),
            Operation::new(change, &change_id, &change_summary, scopes, move |call| {
                update::<LicenseChange>(call, kind)
            }),
        )
    } else {
        (
            Operation::new(make, &make_id, &make_summary, scopes, move |call| create::<NamedBody>(call, kind)),
            Operation::new(change, &change_id, &change_summary, scopes, move |call| update::<NameChange>(call, kind)),
        )
    };
    let list_summary = format!("All {plural}, in the order they were made, a page at a time");
    let delete_summary = format!("Delete a {kind}; nobody loses access by that, but whoever had it is without it");
    [
        Operation::new((Method::GET, &all), &format!("list{plural}"), &list_summary, scopes, move |call| {
            list(call, kind)
        }),
        make.created(),
        Operation::new((Method::GET, &one), &format!("get{noun}"), &format!("One {kind}"), scopes, move |call| {
            read(call, kind)
        }),
        change.conditional(),
        Operation::new((Method::DELETE, &one), &format!("delete{noun}"), &delete_summary, scopes, move |call| {
            delete(call, kind)
        })
        .conditional(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PageQuery {
    /// How many to leave out at the beginning.
    offset: Option<Within<0, 1_000_000>>,
    /// How many at the most; 50 unless said.
    limit: Option<Within<1, 200>>,
}

impl PageQuery {
    /// Offset and limit.
    pub fn bounds(&self) -> (usize, usize) {
        (self.offset.map_or(0, Within::size), self.limit.map_or(50, Within::size))
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Things")]
pub struct ThingsView {
    total: usize,
    items: Vec<ThingView>,
}

/// What a request says of a resource, as SCIM attributes; `null` takes one away.
pub trait Says: DeserializeOwned + JsonSchema + Send + 'static {
    fn attributes(self) -> Map<String, Value>;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewThing")]
pub struct NamedBody {
    display_name: Text<256>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewLicense")]
pub struct LicenseBody {
    display_name: Text<256>,
    /// `per-user` unless said. It does not change later.
    kind: Option<LicenseKindView>,
    /// Of a license per user: how many there are; absent: as many as wanted.
    seats: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ChangedThing")]
pub struct NameChange {
    display_name: Text<256>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ChangedLicense")]
pub struct LicenseChange {
    display_name: Option<Text<256>>,
    /// `null`: as many as wanted. Nobody loses a seat when there are more in use.
    #[serde(default, deserialize_with = "named")]
    seats: Option<Option<u32>>,
}

fn named<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn name(text: &Text<256>) -> (String, Value) {
    ("displayName".to_owned(), safe_name(&text.0).into())
}

impl Says for NamedBody {
    fn attributes(self) -> Map<String, Value> {
        Map::from_iter([name(&self.display_name)])
    }
}

impl Says for NameChange {
    fn attributes(self) -> Map<String, Value> {
        Map::from_iter([name(&self.display_name)])
    }
}

impl Says for LicenseBody {
    fn attributes(self) -> Map<String, Value> {
        let mut attributes = Map::from_iter([name(&self.display_name)]);
        let kind = self.kind.map(|kind| match kind {
            LicenseKindView::PerUser => "per-user",
            LicenseKindView::Floating => "floating",
        });
        attributes.extend(kind.map(|kind| ("kind".to_owned(), kind.into())));
        attributes.extend(self.seats.map(|seats| ("seats".to_owned(), seats.into())));
        attributes
    }
}

impl Says for LicenseChange {
    fn attributes(self) -> Map<String, Value> {
        let mut attributes: Map<String, Value> = self.display_name.as_ref().map(name).into_iter().collect();
        attributes.extend(self.seats.map(|seats| ("seats".to_owned(), seats.into())));
        attributes
    }
}

async fn list(call: Call<Query<PageQuery>>, kind: Kind) -> Result<Answer<Json<ThingsView>>, Error> {
    let directory = call.directory();
    let (context, _) = directory.open(&call.caller, &[]).await?;
    context.require(kind.scope())?;
    let (offset, count) = call.query.bounds();
    let search = Search { filter: None, sort: None, start_index: offset + 1, count };
    let found = directory.search(&context, kind, &search).await?;
    let read = |(id, document): &(_, _)| readable(kind, id, Resource::decode(kind, *id, document));
    let resources: Vec<Resource> = found.documents.iter().filter_map(read).collect();
    Ok(Answer::of(Json(ThingsView { total: found.total, items: views(directory, &context, &resources).await? })))
}

async fn views(directory: &Directory, context: &Context, resources: &[Resource]) -> Result<Vec<ThingView>, Error> {
    let used = directory.seats_used(context, resources).await?;
    Ok(resources.iter().zip(used).map(|(resource, used)| ThingView::of(resource, used)).collect())
}

async fn read(call: Call, kind: Kind) -> Result<Answer<Json<ThingView>>, Error> {
    let (context, id, document) = call.directory().fetch(&call.caller, kind, call.path("id")).await?;
    answer(call.directory(), &context, &Resource::decode(kind, id, &document)?).await
}

/// A resource with the version that `If-Match` names.
async fn answer(
    directory: &Directory,
    context: &Context,
    resource: &Resource,
) -> Result<Answer<Json<ThingView>>, Error> {
    let mut views = views(directory, context, std::slice::from_ref(resource)).await?;
    let view = views.pop().ok_or_else(|| Error::Internal("a resource without its view".to_owned()))?;
    let version = view.version.clone();
    Ok(Answer::versioned(Json(view), version))
}

pub(super) async fn written(
    directory: &Directory,
    edited: Edited,
    kind: Kind,
) -> Result<Answer<Json<ThingView>>, Error> {
    let id = edited.resource.id;
    let (context, document): (Context, Document) = directory.reread(edited).await?;
    answer(directory, &context, &Resource::decode(kind, id, &document)?).await
}

async fn create<B: Says>(call: Call<(), Json<B>>, kind: Kind) -> Result<Answer<Json<ThingView>>, Error> {
    let (call, Json(body)) = call.split();
    let directory = call.directory();
    let mut attributes = body.attributes();
    attributes.insert("schemas".to_owned(), json!([directory.resource_type(kind).schema]));
    let edited = directory.create_resource(&call.caller, kind, Value::Object(attributes)).await?;
    written(directory, edited, kind).await
}

async fn update<B: Says>(call: Call<(), Json<B>>, kind: Kind) -> Result<Answer<Json<ThingView>>, Error> {
    let (call, Json(body)) = call.split();
    let operations: Vec<Value> = body
        .attributes()
        .into_iter()
        .map(|(path, value)| match value {
            Value::Null => json!({ "op": "remove", "path": path }),
            value => json!({ "op": "replace", "path": path, "value": value }),
        })
        .collect();
    let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
    let edited = call.directory().patch_resource(&call.caller, kind, call.path("id"), &call.if_match(), body).await?;
    written(call.directory(), edited, kind).await
}

async fn delete(call: Call, kind: Kind) -> Result<Answer<()>, Error> {
    call.directory().delete_resource(&call.caller, kind, call.path("id"), &call.if_match()).await?;
    Ok(Answer::of(()))
}
