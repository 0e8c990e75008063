//! User Management: the directory.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded;

use super::choices::role_choices;
use super::dialog::Choice;
use super::format::{self, Badge};
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::directory::Error;
use crate::directory::kind::Kind;
use crate::directory::listing::{Filters, Listed, Listing, Order, Start, Total};
use crate::directory::record::UserRecord;
use crate::domain::ids::ResourceId;
use crate::domain::user::{Status, User};
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// Rows on a page, the usual number first.
const SIZES: [usize; 3] = [25, 50, 100];
/// More words than a person types.
const MAX_WORDS: usize = 8;

/// Which part of the directory is looked at: everything that its address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    status: Option<Status>,
    search: String,
    filters: Filters,
    order: Order,
    /// From 1.
    page: usize,
    /// Where a page begins that has no number.
    after: Option<Start>,
    size: usize,
}

impl View {
    pub(super) fn of(query: &Fields) -> Self {
        let status = Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(query.get("status")));
        let order = match query.get("sort") {
            "-name" => Order::NameReversed,
            "-added" => Order::Newest,
            "added" => Order::Oldest,
            _ => Order::Name,
        };
        let size = query.get("size").parse().ok().filter(|size| SIZES.contains(size)).unwrap_or(SIZES[0]);
        let page = query.get("page").parse().ok().filter(|page| (1..1_000_000).contains(page)).unwrap_or(1);
        let id = |name| query.get(name).parse().ok();
        let role = Some(query.get("role")).filter(|role| !role.is_empty() && !role.contains(char::is_control));
        let filters = Filters {
            account_role: role.map(|role| role.chars().take(64).collect()),
            organization: id("organization"),
            project: id("project"),
            license: id("license"),
        };
        let after = query.get("after").parse().ok().filter(|start| matches!(start, Start::Behind { .. }));
        View { status, filters, search: query.get("q").chars().take(200).collect(), order, page, after, size }
    }

    /// The query string that leads to this view; empty for the usual one.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(status) = self.status {
            query.append_pair("status", &status.as_str().to_lowercase());
        }
        if !self.search.is_empty() {
            query.append_pair("q", &self.search);
        }
        for (name, value) in self.filtered() {
            query.append_pair(name, &value);
        }
        match self.order {
            Order::Name => {}
            Order::NameReversed => drop(query.append_pair("sort", "-name")),
            Order::Newest => drop(query.append_pair("sort", "-added")),
            Order::Oldest => drop(query.append_pair("sort", "added")),
        }
        if self.size != SIZES[0] {
            query.append_pair("size", &self.size.to_string());
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        if let Some(start) = &self.after {
            query.append_pair("after", &start.to_string());
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// By what it is narrowed, for the audit.
    pub(super) fn narrowed(&self) -> Vec<String> {
        let status = self.status.map(|status| status.as_str().to_lowercase());
        let search = (!self.search.is_empty()).then(|| "search".to_owned());
        let filters = self.filtered().into_iter().map(|(name, _)| name.to_owned());
        status.into_iter().chain(search).chain(filters).collect()
    }

    /// The filters, as they stand in the address.
    fn filtered(&self) -> Vec<(&'static str, String)> {
        let Filters { account_role, organization, project, license } = &self.filters;
        let id = |id: &Option<ResourceId>| id.map(|id| id.to_string());
        let all = [
            ("role", account_role.clone()),
            ("organization", id(organization)),
            ("project", id(project)),
            ("license", id(license)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    pub(super) fn listing(&self) -> Listing {
        Listing {
            status: self.status,
            words: self.search.split_whitespace().take(MAX_WORDS).map(str::to_owned).collect(),
            filters: self.filters.clone(),
            order: self.order,
            start: self.after.clone().unwrap_or(Start::At((self.page - 1) * self.size)),
            limit: self.size,
        }
    }
}

struct Tab {
    word: &'static str,
    /// `None`: too many could be in it to count them.
    count: Option<usize>,
    href: String,
    current: bool,
}

/// The head of a column that can be sorted by.
struct Sortable {
    href: String,
    /// `aria-sort`.
    sorted: &'static str,
}

struct Row {
    id: String,
    href: String,
    name: String,
    initials: String,
    picture: Option<String>,
    address: Option<String>,
    badge: Badge,
    managed_by: Option<String>,
    role: String,
    organization: Option<String>,
    licenses: String,
    shortfall: bool,
    added: String,
    /// Whether an invitation can be sent or copied: Pending and Inactive.
    invitable: bool,
}

/// A choice that narrows the list.
struct Filter {
    name: &'static str,
    label: &'static str,
    options: Vec<Choice>,
}

struct SizeLink {
    size: usize,
    href: String,
    current: bool,
}

/// The way to other pages.
struct Turning {
    /// Which page this is, of how many, where they are counted.
    numbers: Option<(usize, usize)>,
    /// The page before, or the first one where pages have no numbers.
    back: Option<String>,
    next: Option<String>,
    /// Whether this page ends before it is full: so many people were looked through for it.
    is_partial: bool,
}

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersTemplate {
    frame: Frame,
    tabs: Vec<Tab>,
    search: String,
    /// What the search form carries along besides the words.
    kept: Vec<(&'static str, String)>,
    /// Everybody of this tab, whatever was searched or filtered.
    without_search: String,
    filters: Vec<Filter>,
    /// The beginning of this list.
    first_page: String,
    /// How many filters are set.
    filtered: usize,
    by_name: Sortable,
    by_added: Sortable,
    rows: Vec<Row>,
    total: Total,
    first: usize,
    last: usize,
    turning: Turning,
    sizes: Vec<SizeLink>,
    /// How many things wait for an admin.
    waits: usize,
    /// This view's query string, for actions that come back to it.
    back: String,
    /// Whether everybody on the page is selected, and the address of the same page where it is the other way round.
    picked: bool,
    turn_pick: String,
    /// Everybody who is listed here, as a file.
    export: String,
    /// The event that the page is made behind.
    as_of: String,
}

/// `GET /admin/{account}/users`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let as_of = desk.as_of_now().await?;
    let view = View::of(&desk.query);
    let href = |view: &View| desk.path(&format!("/users{}", view.query()));
    let first_page = View { page: 1, after: None, ..view.clone() };
    let listed = match service.directory.list_users(&desk.context, &view.listing()).await {
        Ok(listed) => listed,
        // Of a list that has grown so much since that its pages have no numbers any more.
        Err(Error::Invalid(_)) => return Ok(Redirect::to(&href(&first_page)).into_response()),
        Err(error) => return Err(desk.failed(&error)),
    };
    let waits = super::attention::items(&desk).await.map_err(|error| desk.failed(&error))?.len();
    let picked = desk.query.get("select") == "all";
    let tab = |status: Option<Status>| Tab {
        word: status.map_or("All", Status::as_str),
        count: listed.counts.map(|counts| status.map_or(counts.all(), |status| counts.of(status))),
        href: href(&View { status, ..first_page.clone() }),
        current: status == view.status,
    };
    let first = 1 + match view.listing().start {
        Start::At(offset) => offset,
        Start::Behind { shown, .. } => shown,
    };
    let template = UsersTemplate {
        frame: desk.frame("users"),
        tabs: [None].into_iter().chain(Status::ALL.map(Some)).map(tab).collect(),
        search: view.search.clone(),
        kept: kept(&view),
        without_search: href(&View { search: String::new(), filters: Filters::default(), ..first_page.clone() }),
        first_page: href(&first_page),
        filters: filters(&desk, &view).await?,
        filtered: view.filtered().len(),
        by_name: sortable(&href, &first_page, Order::Name, Order::NameReversed),
        by_added: sortable(&href, &first_page, Order::Oldest, Order::Newest),
        rows: listed.users.iter().map(|record| row(&desk, record)).collect(),
        total: listed.total,
        first,
        last: (first + listed.users.len()).saturating_sub(1),
        turning: turning(&view, &listed, |start| match start {
            Start::At(offset) => href(&View { page: offset / view.size + 1, ..first_page.clone() }),
            Start::Behind { .. } => href(&View { after: Some(start), ..first_page.clone() }),
        }),
        sizes: SIZES
            .map(|size| SizeLink { size, href: href(&View { size, ..first_page.clone() }), current: size == view.size })
            .into(),
        waits,
        export: desk.path(&format!("/users/export{}", first_page.query())),
        back: view.query(),
        picked,
        turn_pick: match (picked, view.query()) {
            (true, _) => href(&view),
            (false, query) if query.is_empty() => desk.path("/users?select=all"),
            (false, query) => desk.path(&format!("/users{query}&select=all")),
        },
        as_of,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

fn turning(view: &View, listed: &Listed, href: impl Fn(Start) -> String) -> Turning {
    let next = listed.next.clone().map(&href);
    let is_partial = next.is_some() && listed.users.len() < view.size;
    match (listed.counts, listed.total) {
        (Some(_), Total::Exactly(total)) => {
            let pages = total.div_ceil(view.size).max(1);
            let before = (view.page > 1).then(|| view.page.min(pages + 1) - 2);
            let back = before.map(|page| href(Start::At(page * view.size)));
            Turning { numbers: Some((view.page, pages)), back, next, is_partial: false }
        }
        (_, Total::Exactly(_) | Total::AtLeast(_)) => {
            let back = view.after.is_some().then(|| href(Start::At(0)));
            Turning { numbers: None, back, next, is_partial }
        }
    }
}

async fn filters(desk: &Desk, view: &View) -> Result<Vec<Filter>, Away> {
    let Filters { account_role, organization, project, license } = &view.filters;
    let roles = desk.service.directory.settings().roles.account();
    let by = async |kind, chosen: &Option<ResourceId>| desk.choices(kind, |id| *chosen == Some(id)).await;
    Ok(vec![
        Filter { name: "organization", label: "Organization", options: by(Kind::Organization, organization).await? },
        Filter {
            name: "role",
            label: "Account role",
            options: role_choices(roles, account_role.as_deref().unwrap_or_default()),
        },
        Filter { name: "project", label: "Project", options: by(Kind::Project, project).await? },
        Filter { name: "license", label: "License", options: by(Kind::License, license).await? },
    ])
}

/// What the form of search and filters keeps of the view besides them: the tab, the order and the size, not the page.
fn kept(view: &View) -> Vec<(&'static str, String)> {
    let query =
        View { search: String::new(), filters: Filters::default(), page: 1, after: None, ..view.clone() }.query();
    let pairs = form_urlencoded::parse(query.trim_start_matches('?').as_bytes()).into_owned();
    let named = |name: &str| ["status", "sort", "size"].into_iter().find(|known| *known == name);
    pairs.filter_map(|(name, value)| Some((named(&name)?, value))).collect()
}

/// The directory as its query string says it was looked at; as usual for what is none.
pub(super) fn back_to_list(desk: &Desk, query: &str) -> String {
    let is_ours = query.is_empty() || (query.starts_with('?') && query.bytes().all(|b| b.is_ascii_graphic()));
    desk.path(&format!("/users{}", if is_ours { query } else { "" }))
}

/// One click sorts, the next turns the order round.
fn sortable(href: &impl Fn(&View) -> String, view: &View, up: Order, down: Order) -> Sortable {
    let sorted = match view.order {
        order if order == up => "ascending",
        order if order == down => "descending",
        _ => "none",
    };
    let order = if view.order == up { down } else { up };
    Sortable { href: href(&View { order, ..view.clone() }), sorted }
}

fn row(desk: &Desk, record: &UserRecord) -> Row {
    let user = &record.user;
    let id = user.id.to_string();
    let name = format::name(record);
    let of = |id: &_| record.names.get(id).cloned();
    let licenses: Vec<String> = user.licenses.iter().filter_map(|assigned| of(&assigned.license)).collect();
    Row {
        href: desk.path(&format!("/users/{id}")),
        initials: format::initials(&name),
        picture: format::picture(record, &desk.service.settings.photo_hosts),
        address: address(user).filter(|address| *address != name),
        name,
        badge: format::badge(record, desk.context.now),
        managed_by: user.provisioned_by.as_ref().map(|client| client.to_string()),
        role: user.account_role.clone(),
        organization: user.organization.as_ref().and_then(of),
        licenses: licenses.join(", "),
        shortfall: user.license_shortfall(),
        added: format::day(record.created),
        invitable: matches!(user.status(), Some(Status::Pending | Status::Inactive)),
        id,
    }
}

/// The address that signs in, else the userName.
fn address(user: &User) -> Option<String> {
    let address = user.sign_in_address.as_ref().map(|address| address.as_str().to_owned());
    address.or_else(|| Some(user.user_name.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(query: &str) -> View {
        View::of(&Fields::of_query(&format!("/admin/default/users{query}").parse().unwrap()))
    }

    #[test]
    fn a_view_and_its_address_are_the_same_thing() {
        for query in
            ["", "?status=pending", "?status=inactive&q=ada+love&role=Account+Admin&sort=-added&size=50&page=3"]
        {
            assert_eq!(view(query).query(), query);
        }
    }

    #[test]
    fn what_an_address_gets_wrong_is_as_usual() {
        assert_eq!(view("?status=x&sort=y&size=7&page=0"), view(""));
        assert_eq!(view("?page=-1").page, 1);
    }

    #[test]
    fn a_new_search_keeps_tab_order_and_size() {
        let kept = kept(&view("?status=pending&q=ada&sort=-name&size=100&page=2"));
        let expected = [("status", "pending"), ("sort", "-name"), ("size", "100")];
        assert_eq!(kept, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
