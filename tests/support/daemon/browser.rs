//! What an invited person does in a browser, with JavaScript off.

use std::collections::BTreeMap;

use super::Daemon;
use super::client::{Reply, Request};

/// Keeps cookies, follows redirects, and fills in forms.
pub struct Browser<'a> {
    daemon: &'a Daemon,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(daemon: &'a Daemon) -> Self {
        Browser { daemon, cookies: BTreeMap::new() }
    }

    /// Opens a link (whole or only its path) and follows where it leads.
    pub fn open(&mut self, link: &str) -> Reply {
        let mut path = path_of(link);
        for _ in 0..5 {
            let reply = self.send(self.daemon.request("GET", &path));
            if !(300..400).contains(&reply.status) {
                return reply;
            }
            path = path_of(reply.header("location"));
        }
        panic!("{link} redirects for ever");
    }

    /// Types an address into the form of a page, and sends it.
    pub fn accept(&mut self, page: &Reply, address: &str) -> Reply {
        self.submit("/accept", &[("address", address), ("csrf", &form_token(page))])
    }

    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send(self.daemon.request("POST", path).header("sec-fetch-site", "same-origin").form(fields))
    }

    /// Opens the link and accepts with the address; the page that says how it went.
    pub fn open_and_accept(&mut self, link: &str, address: &str) -> Reply {
        let page = self.open(link);
        assert_eq!(page.status, 200, "{}", page.text());
        self.accept(&page, address)
    }

    pub fn send(&mut self, mut request: Request) -> Reply {
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", &pairs.join("; "));
        }
        let reply = request.header("accept", "text/html").send();
        for cookie in reply.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match value {
                "" => drop(self.cookies.remove(name)),
                _ => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        reply
    }

    /// The `Cookie` header that it would send.
    pub fn cookies(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// The hidden form token of a page.
pub fn form_token(page: &Reply) -> String {
    let text = page.text();
    let field = text.split("<input").find(|input| input.contains("name=\"csrf\""));
    let field = field.unwrap_or_else(|| panic!("no form: {text}"));
    field.split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
}

fn path_of(link: &str) -> String {
    match link.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned(),
        None => link.to_owned(),
    }
}
