//! The setup guides: `docs/IDENTITY-PROVIDERS.md`, which is compiled in, with the addresses of this installation.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd, html};

use super::super::frame::Frame;
use super::super::gate::{Away, Desk, answer};
use super::SECTION;
use crate::domain::lifecycle::Refusal;
use crate::http::pages::Page;
use crate::http::service::Service;

const SOURCE: &str = include_str!("../../../../docs/IDENTITY-PROVIDERS.md");
/// Stands in the source for the address of an installation.
const PLACEHOLDER: &str = "https://usherd.example/scim/v2";

/// One provider's section of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guide {
    pub title: &'static str,
    markdown: &'static str,
}

/// All of them, in their order.
pub fn all() -> Vec<Guide> {
    let sections = SOURCE.split("\n## ").skip(1);
    sections.filter_map(|section| section.split_once('\n')).map(|(title, markdown)| Guide { title, markdown }).collect()
}

impl Guide {
    /// The name in its address: `microsoft-entra-id`.
    pub fn slug(&self) -> String {
        self.title.to_lowercase().replace(' ', "-")
    }

    /// Below the account's console.
    pub fn path(&self) -> String {
        format!("/provisioning/setup/{}", self.slug())
    }

    /// The profile that its first line advises.
    fn profile(&self) -> &'static str {
        self.markdown.split_once("Profile `").and_then(|(_, rest)| rest.split_once('`')).map_or("lenient", |(it, _)| it)
    }

    /// The guide as HTML, one level of headings up, with `base_url` for the placeholder. The source is ours, and what it
    /// says is escaped by the renderer, so that a strange address breaks nothing.
    fn html(&self, base_url: &str) -> String {
        let markdown = self.markdown.replace(PLACEHOLDER, base_url);
        let up = |level| if level == HeadingLevel::H3 { HeadingLevel::H2 } else { level };
        let events = Parser::new(&markdown).map(|event| match event {
            Event::Start(Tag::Heading { level, id, classes, attrs }) => {
                Event::Start(Tag::Heading { level: up(level), id, classes, attrs })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(up(level))),
            other => other,
        });
        let mut html = String::new();
        html::push_html(&mut html, events);
        html
    }
}

#[derive(Template)]
#[template(path = "console/guide.html")]
struct GuideTemplate {
    frame: Frame,
    title: &'static str,
    html: String,
    base_url: String,
    add_token: String,
    others: Vec<(String, &'static str)>,
}

/// `GET …/provisioning/setup/{provider}`.
pub(super) async fn show(State(service): State<Service>, path: Path<(String, String)>, head: Parts) -> Response {
    answer(try_show(&service, path, &head).await)
}

async fn try_show(
    service: &Service,
    Path((account, slug)): Path<(String, String)>,
    head: &Parts,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let guides = all();
    let guide = guides.iter().find(|guide| guide.slug() == slug);
    let guide = guide.ok_or_else(|| desk.failed(&Refusal::NotFound.into()))?;
    let base_url = super::base_url(service);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client", &guide.slug())
        .append_pair("profile", guide.profile())
        .finish();
    let template = GuideTemplate {
        frame: desk.frame(SECTION),
        title: guide.title,
        html: guide.html(&base_url),
        base_url,
        add_token: desk.path(&format!("/provisioning/tokens/new?{query}")),
        others: guides.iter().filter(|it| *it != guide).map(|it| (desk.path(&it.path()), it.title)).collect(),
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::Profile;

    #[test]
    fn every_provider_has_steps_a_mapping_quirks_a_check_and_a_profile() {
        let titles: Vec<_> = all().iter().map(|guide| guide.title).collect();
        assert_eq!(
            titles,
            [
                "Okta",
                "Microsoft Entra ID",
                "OneLogin",
                "JumpCloud",
                "Ping Identity",
                "SailPoint",
                "authentik",
                "Keycloak",
                "Any other client"
            ]
        );
        for guide in all() {
            let headings: Vec<_> = guide.markdown.lines().filter(|line| line.starts_with("### ")).collect();
            assert_eq!(
                headings,
                ["### Connect", "### Map attributes", "### Known quirks", "### Check"],
                "{}",
                guide.title
            );
            assert!(Profile::named(guide.profile()).is_some(), "{}", guide.title);
            assert!(guide.markdown.contains("Profile `"), "{}", guide.title);
            assert!(guide.markdown.contains(PLACEHOLDER), "{}", guide.title);
        }
        assert_eq!(all()[1].profile(), "entra");
    }

    #[test]
    fn a_guide_shows_the_addresses_of_its_own_installation() {
        for guide in all() {
            let html = guide.html("https://people.hollis.example/scim/v2");
            assert!(
                !html.contains("usherd.example") && html.contains("people.hollis.example/scim/v2"),
                "{}",
                guide.title
            );
            assert!(html.contains("<h2>Connect</h2>") && !html.contains("<h3>"), "{}", guide.title);
        }
        let html = all()[0].html("https://x.example/<script>");
        assert!(!html.contains("<script>"), "{html}");
    }
}
