//! What the public listener serves, on a store that is open: the routes, and what has to run behind them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::issuers::Issuers;
use super::office::Desks;
use super::open::{Opened, StartError};
use super::router;
use crate::config::{PublicUrl, Settings};
use crate::directory::Directory;
use crate::http::edge::EdgeSettings;
use crate::http::guard::ChooseBounds;
use crate::http::headers::SecurityHeaders;
use crate::http::hosts::Hosts;
use crate::http::limits::Limits;
use crate::http::scim::Teller;
use crate::http::service::{Installation, Service, ServiceSettings};
use crate::http::streams::Streams;
use crate::jobs::mail::Mailer;
use crate::jobs::scribe::{self, Scribe};
use crate::jobs::ticker::Ticker;
use crate::metrics::Metrics;

/// The faces of an open installation.
pub(super) struct Faces {
    pub router: Router,
    pub scribe: Scribe,
    pub limits: Arc<Limits>,
    pub ticker: Arc<Ticker>,
}

impl Faces {
    /// Tasks that a request leaves behind go to `tracker`, and end with `stop`.
    ///
    /// # Errors
    /// [`StartError::IssuerAuthority`].
    pub fn new(
        settings: &Settings,
        public_url: &PublicUrl,
        edge: EdgeSettings,
        (directory, mailer): (&Arc<Directory>, &Arc<Mailer>),
        metrics: &Arc<Metrics>,
        (tracker, stop): (TaskTracker, CancellationToken),
    ) -> Result<Self, StartError> {
        let issuers = Issuers::new(settings)?;
        let ticker = Arc::new(super::ticker(settings, directory, metrics));
        let (teller, heard) = mpsc::channel(scribe::WAITING);
        let limits = Arc::new(Limits::new(settings.limit_settings(), Arc::clone(metrics)));
        let service = Service {
            directory: Arc::clone(directory),
            limits: Arc::clone(&limits),
            streams: Arc::new(Streams::new(Arc::clone(metrics))),
            metrics: Arc::clone(metrics),
            story: Teller::new(teller, Arc::clone(metrics)),
            office: Arc::new(Desks::new(settings, directory, mailer, &ticker, tracker, stop)),
            words: Arc::new(mailer.templates().words().clone()),
            settings: Arc::new(ServiceSettings {
                scim: settings.scim_limits(),
                request_deadline: settings.http.request_deadline,
                after_accept_url: settings.http.after_accept_url.as_ref().map(ToString::to_string),
                secure_cookies: public_url.is_https(),
                photo_hosts: settings.console.photo_hosts.clone(),
                installation: Installation {
                    version: env!("CARGO_PKG_VERSION"),
                    store: if settings.store.url.is_some() { "Redis" } else { "embedded" },
                    mail: mails_go_to(settings),
                },
                basic: settings.scim.basic,
                private_webhooks: settings.webhooks.allow_private,
                hook_secret: settings.mail.hook_secret.clone(),
            }),
            access_tokens: Arc::new(issuers.access_tokens()),
            openid: issuers.relying_party().map(Arc::new),
        };
        Ok(Faces {
            router: router::public(service, edge, Arc::clone(metrics)),
            scribe: Scribe::new(Arc::clone(directory), Arc::clone(metrics), heard),
            limits,
            ticker,
        })
    }
}

/// The routes of the public listener for whoever has no listener: a test that moves the clock of the store between two
/// requests. Requests are to name the host of the configuration.
///
/// # Errors
/// [`StartError`] when a host of the configuration cannot be one, or an issuer cannot be one.
pub fn routes(settings: &Settings, opened: &Opened) -> Result<Router, StartError> {
    let public_url = settings.http.public_url_at(settings.http.listen);
    let edge = edge_settings(settings, &public_url, settings.http.listen)?;
    let behind = (TaskTracker::new(), CancellationToken::new());
    let tools = (&opened.directory, &opened.mailer);
    Ok(Faces::new(settings, &public_url, edge, tools, &Arc::new(Metrics::new()), behind)?.router)
}

pub(super) fn edge_settings(
    settings: &Settings,
    public_url: &PublicUrl,
    bound: SocketAddr,
) -> Result<EdgeSettings, StartError> {
    let https = public_url.is_https();
    let hosts = Hosts::new(&public_url.authority(), https, &settings.http.extra_hosts, bound)
        .map_err(|error| StartError::Other(error.to_string()))?;
    let table = settings.bounds_table();
    let bounds: ChooseBounds = Arc::new(move |method: &Method, uri| table.choose(method, uri));
    Ok(EdgeSettings {
        hosts: Arc::new(hosts),
        trusted_proxies: settings.http.trusted_proxies.clone().into(),
        security_headers: SecurityHeaders::new(https, &settings.console.photo_hosts),
        bounds,
        render: router::refuse,
    })
}

pub(super) fn mails_go_to(settings: &Settings) -> String {
    match settings.mail_settings("localhost").url {
        Some(relay) => format!("sent through {relay}"),
        None => format!("files in {}", settings.store.path.join("mail").display()),
    }
}
