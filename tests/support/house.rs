//! An account in this process, on either store, with a clock that can be moved on: what takes days takes none.
//!
//! The parent module has to bring `daemon` and `redis_server`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use tempfile::TempDir;
use usherd::app::{Opened, open_now};
use usherd::config::{Configuration, Settings};
use usherd::directory::invitations::Acceptance;
use usherd::directory::mail_queue::Pace;
use usherd::directory::record::UserRecord;
use usherd::directory::tokens::NewToken;
use usherd::directory::{Directory, Door, Error, Request};
use usherd::domain::ids::AccountId;
use usherd::domain::names::{ClientName, EmailAddress};
use usherd::domain::secrets::Scopes;
use usherd::domain::time::Timestamp;
use usherd::jobs::webhook::Poster;
use usherd::jobs::worker::Worker;
use usherd::metrics::Metrics;
use usherd::store::{Dump, Space};

use crate::daemon::Store;
use crate::daemon::mails::{self, Mail};
use crate::redis_server::RedisServer;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const ADMIN: &str = "root@example.org";
pub const PUBLIC_URL: &str = "https://usherd.example.org";
pub const PUBLIC_HOST: &str = "usherd.example.org";

pub struct House {
    pub opened: Opened,
    pub settings: Settings,
    pub account: AccountId,
    /// The client `okta`.
    pub client: Request,
    pub worker: Worker,
    pub data: PathBuf,
    // Before the directory it writes to.
    redis: Option<RedisServer>,
    _directory: TempDir,
}

impl House {
    /// The account `acme` with nobody in it. `overrides` are environment variables.
    pub async fn open(store: Store, overrides: &[(&str, &str)]) -> Self {
        let house = Self::build(store, overrides).await;
        house.directory().ensure_account(&house.account, "Acme").await.unwrap();
        house.connected().await
    }

    /// The same with an Active admin.
    pub async fn with_admin(store: Store, overrides: &[(&str, &str)]) -> Self {
        Self::configured(store, overrides, "").await
    }

    /// As [`House::with_admin`], with a configuration file.
    pub async fn configured(store: Store, overrides: &[(&str, &str)], file: &str) -> Self {
        let house = Self::build_with(store, overrides, Some(file)).await;
        let link = house.directory().create_account(&house.account, "Acme", &address(ADMIN)).await.unwrap();
        let house = house.connected().await;
        house.work().await;
        house.accept(&link, ADMIN).await;
        house
    }

    async fn build(store: Store, overrides: &[(&str, &str)]) -> Self {
        Self::build_with(store, overrides, None).await
    }

    async fn build_with(store: Store, overrides: &[(&str, &str)], file: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let redis = (store == Store::Redis).then(RedisServer::start);
        let data = directory.path().join("data");
        let mut environment = vec![
            ("USHERD_STORE__PATH".to_owned(), data.display().to_string()),
            ("USHERD_HTTP__PUBLIC_URL".to_owned(), PUBLIC_URL.to_owned()),
            ("USHERD_MAIL__FROM".to_owned(), "usherd <no-reply@usherd.example.org>".to_owned()),
        ];
        // No stall of a busy machine exceeds it.
        environment.push(("USHERD_STORE__DEADLINE".to_owned(), "20s".to_owned()));
        // Timers of people ring when they are due, to the second.
        let jobs = ["EXPIRE", "RENEW", "REMIND"];
        environment.extend(jobs.map(|job| (format!("USHERD_JOBS__{job}"), "* * * * * *".to_owned())));
        environment.extend(
            redis.iter().map(|redis| ("USHERD_STORE__URL".to_owned(), format!("redis://127.0.0.1:{}", redis.port))),
        );
        environment.extend(overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let file = file.map(|text| {
            let path = directory.path().join("usherd.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let settings = Configuration::load(file.as_deref(), environment.into_iter()).unwrap().settings;
        let opened = open_now(&settings, PUBLIC_URL, PUBLIC_HOST).await.unwrap();
        let worker = worker(&opened, &settings);
        let account: AccountId = "acme".parse().unwrap();
        let client = usherd::directory::accounts::by_operator(&account);
        House { opened, settings, account, client, worker, data, redis, _directory: directory }
    }

    async fn connected(self) -> Self {
        let client = self.client("okta", Scopes::bootstrap(), None).await;
        House { client, ..self }
    }

    /// A request by a new token of this client.
    pub async fn client(&self, name: &str, scopes: Scopes, expires: Option<Duration>) -> Request {
        let new = NewToken {
            client: ClientName::parse(name).unwrap(),
            scopes,
            profile: "lenient".to_owned(),
            test: false,
            expires,
        };
        let (token, _) = self.directory().create_token(&self.account, new).await.unwrap();
        Request::by_token(self.account.clone(), token.id, Door::Scim, None)
    }

    /// One more worker, which sends no mail: what goes out stays in the outbox.
    pub fn without_mail(&self) -> Worker {
        worker(&self.opened, &self.settings).paced(Some(Pace { interval: DAY * 36_500, burst: 0 }))
    }

    pub fn directory(&self) -> &Directory {
        &self.opened.directory
    }

    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("a house on Redis")
    }

    pub fn space(&self) -> Space {
        Space::Account(self.account.clone())
    }

    pub fn now(&self) -> Timestamp {
        self.opened.store.now()
    }

    pub async fn dump(&self) -> Dump {
        self.opened.store.dump(&self.space()).await.unwrap()
    }

    /// Does everything that is due.
    pub async fn work(&self) {
        drain(&self.worker).await;
    }

    pub async fn after(&self, span: Duration) {
        self.opened.store.advance(span);
        self.work().await;
    }

    pub async fn record(&self, address: &str) -> UserRecord {
        self.directory().find_user(&self.account, address).await.unwrap().unwrap()
    }

    pub fn mails(&self) -> Vec<Mail> {
        mails::read_all(&self.data.join("mail"))
    }

    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        self.mails().into_iter().filter(|mail| mail.to == address).collect()
    }

    pub async fn accept(&self, link: &str, to: &str) {
        self.try_accept(link, to).await.unwrap();
        self.work().await;
    }

    pub async fn try_accept(&self, link: &str, to: &str) -> Result<(), Error> {
        let acceptance = Acceptance { address: address(to), given_name: None, family_name: None, request_id: None };
        self.directory().accept(link.rsplit('/').next().unwrap(), &acceptance).await.map(|_| ())
    }
}

fn worker(opened: &Opened, settings: &Settings) -> Worker {
    Worker::new(
        opened.directory.clone(),
        opened.mailer.clone(),
        Poster::new(settings.webhooks.allow_private, settings.webhooks.tls_ca_file.as_deref()).unwrap(),
        Metrics::new().into(),
        settings.mail.timeout,
        TimeZone::UTC,
        || 0.5,
    )
}

/// Looks until nothing is due.
pub async fn drain(worker: &Worker) {
    for _ in 0..100 {
        if worker.run_one().await.unwrap().claimed == 0 {
            return;
        }
    }
    panic!("there is always something due");
}

pub fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}
