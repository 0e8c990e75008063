//! The layers together, as an operator meets them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::domain::lifecycle::Admit;
use crate::domain::roles::{LicenseKind, LicenseSpec, Roles};

fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn from_env(pairs: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    Configuration::load(None, env(pairs))
}

/// A directory with one file in it, and the path of the file.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("usherd.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn from_file(text: &str) -> Result<Loaded, Mistakes> {
    let (_directory, path) = file(text);
    Configuration::load(Some(&path), env(&[]))
}

fn keys(mistakes: &Mistakes) -> Vec<&str> {
    mistakes.list.iter().map(|mistake| mistake.key.as_str()).collect()
}

fn only(result: Result<Loaded, Mistakes>) -> Mistake {
    let mistakes = result.unwrap_err().list;
    let [mistake] = <[Mistake; 1]>::try_from(mistakes).unwrap();
    mistake
}

#[test]
fn without_any_configuration_the_settings_are_those_of_the_manual_and_nothing_is_warned_of() {
    let Loaded { settings, warnings } = from_env(&[]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(settings.http.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(settings.ops.listen, "127.0.0.1:8081".parse().unwrap());
    assert_eq!(settings.http.public_url_at(settings.http.listen).as_str(), "http://127.0.0.1:8080");
    assert!(settings.store.url.is_none() && settings.mail.relay.is_none());
    assert_eq!(settings.store.path, PathBuf::from("./data"));
    assert_eq!(settings.invitations.ttl, Duration::from_secs(7 * 86_400));
    assert_eq!((settings.invitations.max_renewals, settings.invitations.remind_after), (2, None));
    assert_eq!(settings.provisioning.admit, Admit::Invite);
    assert_eq!(settings.provisioning.hold_above, Some(50));
    let scim = settings.limits.scim.unwrap();
    assert_eq!((scim.count.get(), scim.per, scim.burst.get()), (1000, Duration::from_secs(1), 2000));
    assert_eq!(settings.jobs.expire.to_string(), "*/5 * * * * *");
    assert_eq!(settings.bootstrap.account.unwrap().as_str(), "default");
    assert_eq!((settings.roles, settings.licenses), (Roles::builtin(), LicenseSpec::builtin()));
}

#[test]
fn every_key_of_the_default_file_is_read_and_no_other() {
    let (layers, mistakes) = Layers::gather(None, env(&[]));
    let known: BTreeSet<String> = layers.keys().map(str::to_owned).collect();
    let mut reader = Reader::new(layers, mistakes);
    sections::settings(&mut reader);
    assert_eq!(reader.asked, known);
}

#[test]
fn every_key_of_the_default_file_has_a_comment_above_it() {
    let mut commented = false;
    for line in DEFAULTS.lines() {
        let key = line.split_once(" = ").map(|(key, _)| key).filter(|_| !line.starts_with('#'));
        if let Some(key) = key {
            // The fields of roles and licenses are explained above their list, `enabled` by its section; a secret's
            // two TLS files share a comment.
            let explained =
                ["name", "description", "permissions", "default", "kind", "enabled", "tls_key_file", "sign_in"];
            assert!(commented || explained.contains(&key), "{key} has no comment");
        }
        commented = line.starts_with('#');
    }
}

#[test]
fn the_manual_lists_every_key_with_its_default_and_no_other() {
    let manual = include_str!("../../docs/CONFIGURATION.md");
    // | `http.listen` | `127.0.0.1:8080` | …
    let rows: Vec<(String, String)> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row.split(" | ");
            let key = cells.next().unwrap().trim_end_matches('`').to_owned();
            (key, cells.next().unwrap_or_default().trim_matches('`').to_owned())
        })
        .collect();
    let (layers, _) = Layers::gather(None, env(&[]));
    let written: Vec<String> = rows.iter().map(|(key, _)| key.clone()).collect();
    let mut known: Vec<String> = layers.keys().map(str::to_owned).collect();
    let mut sorted = written.clone();
    sorted.sort();
    known.sort();
    assert_eq!(sorted, known);
    for (key, default) in rows {
        let text = match layers.default(&key) {
            config::ValueKind::Array(list) if !list.is_empty() => continue, // roles and licenses: described in words
            config::ValueKind::Array(_) | config::ValueKind::Table(_) => String::new(),
            scalar => scalar.to_string(),
        };
        assert_eq!(default, text, "{key}");
    }
}

#[test]
fn the_environment_lies_over_the_file_and_the_file_over_the_defaults() {
    let (_directory, path) =
        file("[http]\nlisten = \"127.0.0.1:1111\"\nmax_connections = 7\n[invitations]\nttl = \"1d\"\n");
    let variables =
        env(&[("USHERD_HTTP__LISTEN", "0.0.0.0:2222"), ("USHERD_HTTP__PUBLIC_URL", "https://u.example.com/")]);
    let settings = Configuration::load(Some(&path), variables).unwrap().settings;
    assert_eq!(settings.http.listen, "0.0.0.0:2222".parse().unwrap());
    assert_eq!(settings.http.public_url.unwrap().as_str(), "https://u.example.com");
    assert_eq!(settings.http.max_connections, 7);
    assert_eq!(settings.invitations.ttl, Duration::from_secs(86_400));
    assert_eq!(settings.ops.listen, "127.0.0.1:8081".parse().unwrap());
}

#[test]
fn variables_without_two_underscores_are_ignored() {
    let kubernetes = [
        ("USHERD_PORT", "tcp://10.0.0.1:8080"),
        ("USHERD_SERVICE_HOST", "10.0.0.1"),
        ("USHERD_SERVICE_PORT", "8080"),
        ("USHERD_PORT_8080_TCP_PROTO", "tcp"),
        ("usherd_http__listen", "nonsense"),
        ("PATH", "/bin"),
        ("USHERD_HTTP__LISTEN", ""),
    ];
    assert_eq!(from_env(&kubernetes).unwrap().settings.http.listen, "127.0.0.1:8080".parse().unwrap());
}

#[test]
fn every_kind_of_value_can_be_set_in_the_environment() {
    let settings = from_env(&[
        ("USHERD_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.1"),
        ("USHERD_HTTP__EXTRA_HOSTS", "usherd.local,usherd:8080"),
        ("USHERD_STORE__URL", "redis://localhost:6379"),
        ("USHERD_MAIL__URL", "smtp://localhost:2525"),
        ("USHERD_MAIL__FROM", "Ushers <no-reply@example.com>"),
        ("USHERD_INVITATIONS__REMIND_AFTER", "3d,1d"),
        ("USHERD_INVITATIONS__MAX_RENEWALS", "0"),
        ("USHERD_PROVISIONING__ADMIT_DOMAINS", "Example.com=silent, example.org=notify"),
        ("USHERD_PROVISIONING__PROJECTS", "Web,Shop=Viewer"),
        ("USHERD_PROVISIONING__HOLD_ABOVE", "off"),
        ("USHERD_PROVISIONING__BRAKE__ENABLED", "false"),
        ("USHERD_LIMITS__SIGN_IN", "off"),
        ("USHERD_JOBS__TIME_ZONE", "Europe/Berlin"),
        ("USHERD_JOBS__DIGEST", "0 30 8 * * Mon-Fri"),
        ("USHERD_STORE__CACHE", "64MiB"),
    ])
    .unwrap()
    .settings;
    assert_eq!(settings.http.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "192.168.1.1/32".parse().unwrap()]);
    assert_eq!(settings.http.extra_hosts, ["usherd.local", "usherd:8080"]);
    assert_eq!(settings.store.url.unwrap().to_string(), "redis localhost:6379");
    assert_eq!(settings.mail.relay.unwrap().to_string(), "smtp://localhost:2525");
    let days = |n: u64| Duration::from_secs(n * 86_400);
    assert_eq!(settings.invitations.remind_after, Some(vec![days(1), days(3)]));
    assert_eq!(
        settings.provisioning.admit_domains,
        [("example.com".to_owned(), Admit::Silent), ("example.org".to_owned(), Admit::Notify)]
    );
    let project = |project: &str, role: Option<&str>| (project.to_owned(), role.map(str::to_owned));
    assert_eq!(settings.provisioning.projects, [project("Web", None), project("Shop", Some("Viewer"))]);
    assert_eq!((settings.provisioning.hold_above, settings.provisioning.brake), (None, None));
    assert!(settings.limits.sign_in.is_none());
    assert_eq!(settings.store.cache, 67_108_864);
}

#[test]
fn an_issuer_of_sign_ins_is_whole_and_at_https() {
    let (issuer, client) = ("USHERD_OPENID__ISSUER", ("USHERD_OPENID__CLIENT_ID", "usherd"));
    assert_eq!(only(from_env(&[(issuer, "https://login.example.com/t")])).key, "openid.client_id");
    assert_eq!(only(from_env(&[client])).key, "openid.issuer");
    assert_eq!(only(from_env(&[(issuer, "https://login.example.com?t=1"), client])).key, "openid.issuer");
    assert_eq!(only(from_env(&[(issuer, "http://login.example.com"), client])).key, "openid.issuer");
    let private = ("USHERD_ISSUERS__ALLOW_PRIVATE", "true");
    let openid = from_env(&[(issuer, "http://login.example.com/t"), client, private]).unwrap().settings.openid.unwrap();
    assert_eq!((openid.issuer.as_str(), openid.name.as_str()), ("http://login.example.com/t", "login.example.com"));
    assert!(openid.client_secret.is_none() && !openid.trust_email);
    assert!(from_env(&[]).unwrap().settings.openid.is_none());
}

#[test]
fn issuers_of_access_tokens_stand_in_the_file_each_once() {
    let one = "[[scim.issuers]]\nurl = \"https://login.example.com/t/\"\naudience = \"usherd\"\n";
    let issuers = from_file(one).unwrap().settings.scim.issuers;
    let [issuer] = issuers.as_slice() else { panic!("{issuers:?}") };
    assert_eq!((issuer.url.as_str(), issuer.client_claim.as_str()), ("https://login.example.com/t/", "sub"));
    assert_eq!(only(from_file(&format!("{one}{one}"))).key, "scim.issuers[1].url");
    assert_eq!(only(from_file(&format!("{one}claim = \"azp\"\n"))).key, "scim.issuers[0].claim");
    assert_eq!(only(from_file(&one.replace("https:", "http:"))).key, "scim.issuers[0].url");
    let half = "[[scim.issuers]]\nurl = \"https://login.example.com\"\n";
    assert_eq!(only(from_file(half)).key, "scim.issuers[0].audience");
}

#[test]
fn reminders_can_be_switched_off() {
    let remind_after = |value| {
        from_env(&[("USHERD_INVITATIONS__REMIND_AFTER", value)]).map(|loaded| loaded.settings.invitations.remind_after)
    };
    assert_eq!(remind_after("off"), Ok(Some(vec![])));
    assert!(remind_after("off,1d").is_err());
}

#[test]
fn tables_are_set_in_the_file_and_replace_the_whole_list() {
    let settings = from_file(
        r#"
        [provisioning.admit_domains]
        "example.com" = "silent"
        [[licenses]]
        name = "Studio"
        kind = "per-user"
        seats = 25
        "#,
    )
    .unwrap()
    .settings;
    assert_eq!(settings.provisioning.admit_domains, [("example.com".to_owned(), Admit::Silent)]);
    let studio = LicenseSpec { name: "Studio".to_owned(), kind: LicenseKind::PerUser, seats: Some(25) };
    assert_eq!(settings.licenses, [studio]);
}

#[test]
fn all_mistakes_of_all_layers_are_reported_at_once_each_with_its_key() {
    let (_directory, path) = file(
        r#"
        [http]
        lisen = "127.0.0.1:1"
        max_connections = "many"
        [invitations]
        ttl = "7"
        [[roles.account]]
        name = "Account Admin"
        permision = []
        "#,
    );
    let variables = env(&[
        ("USHERD_HTTP__LISTEN", "8080"),
        ("USHERD_STORE__REDIS_URL", "redis://localhost"),
        ("USHERD_JOBS__EXPIRE", "*/5 * * * *"),
        ("USHERD_LIMITS__SCIM", "fast"),
    ]);
    let mistakes = Configuration::load(Some(&path), variables).unwrap_err();
    let shown = mistakes.to_string().replace(&path.display().to_string(), "usherd.toml");
    insta::assert_snapshot!(shown, @r#"
    there are 9 mistakes in the configuration:
      http.lisen, set in usherd.toml: there is no such key; did you mean http.listen?
      http.listen (USHERD_HTTP__LISTEN), set in the environment: "8080" is not an IP address with a port: write 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 or [::]:8080 for all interfaces
      http.max_connections (USHERD_HTTP__MAX_CONNECTIONS), set in usherd.toml: "many" is not a whole number between 1 and 1000000
      invitations.ttl (USHERD_INVITATIONS__TTL), set in usherd.toml: "7" is not a span of time: write numbers with the units d, h, m, s or ms, such as 7d, 1h30m or 250ms
      jobs.expire (USHERD_JOBS__EXPIRE), set in the environment: "*/5 * * * *" is no schedule: a cron expression begins with a field for seconds here: write "0 */5 * * * *"
      limits.scim (USHERD_LIMITS__SCIM), set in the environment: "fast" is not a rate: write 1000/s, 60/m, 5/h or 50/d, "1000/s burst 2000", or off
      roles.account, set in usherd.toml: exactly one account role is to be the default, not 0
      roles.account[0].permision, set in usherd.toml: there is no such key; did you mean permissions?
      store.redis_url (USHERD_STORE__REDIS_URL), set in the environment: there is no such key; [store] has cache, deadline, installation, path, prefix, url, url_file
    "#);
}

#[test]
fn a_mistyped_key_is_answered_with_the_one_that_was_meant() {
    let problem = |name| only(from_env(&[(name, "x")])).problem;
    assert_eq!(problem("USHERD_HTTP__PUBLICURL"), "there is no such key; did you mean USHERD_HTTP__PUBLIC_URL?");
    assert_eq!(problem("USHERD_SMTP__FROM"), "there is no such key; did you mean USHERD_MAIL__FROM?");
    assert_eq!(problem("USHERD_FOO__BAR"), "there is no such key; docs/CONFIGURATION.md lists all");
    assert_eq!(problem("USHERD_HTTP__LISTEN__PORT"), "there is no such key; did you mean USHERD_HTTP__LISTEN?");
    assert_eq!(problem("USHERD_PROVISIONING__BRAKE"), "a section, not a key: it has the keys enabled, min, percent");
}

#[test]
fn a_text_where_a_section_belongs_is_one_mistake() {
    assert_eq!(only(from_file("http = 3")).key, "http");
    assert_eq!(only(from_file("[http]\nlisten.port = 3")).key, "http.listen");
    assert_eq!(only(from_file("roles = []")).key, "roles");
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_one_mistake_among_the_others() {
    let variables = || env(&[("USHERD_HTTP__LISTEN", "8080")]);
    let missing = Configuration::load(Some(Path::new("no/such/usherd.toml")), variables()).unwrap_err();
    assert_eq!(keys(&missing), ["--config", "http.listen"]);
    let (_directory, path) = file("[store]\nurl = \"redis://:hunter2@localhost\nprefix = \"u\"\n");
    let malformed = Configuration::load(Some(&path), variables()).unwrap_err();
    assert_eq!(keys(&malformed), ["--config", "http.listen"]);
    let problem = &malformed.list[0].problem;
    assert!(
        problem.starts_with("not TOML: TOML parse error at line 2, column") && !problem.contains("hunter2"),
        "{problem}"
    );
}

#[test]
fn a_secret_is_read_from_a_file_without_its_line_break() {
    let (_directory, path) = file("a-token-of-more-than-20-characters\n");
    let path = path.display().to_string();
    let loaded = from_env(&[("USHERD_BOOTSTRAP__SCIM_TOKEN_FILE", &path)]).unwrap();
    let token = loaded.settings.bootstrap.scim_token.unwrap();
    assert_eq!(token.expose(), "a-token-of-more-than-20-characters");
    let both = [("USHERD_BOOTSTRAP__SCIM_TOKEN_FILE", path.as_str()), ("USHERD_BOOTSTRAP__SCIM_TOKEN", "another")];
    assert_eq!(only(from_env(&both)).key, "bootstrap.scim_token_file");
    assert_eq!(only(from_env(&[("USHERD_STORE__URL_FILE", "no/such/file")])).key, "store.url_file");
}

#[test]
fn no_secret_is_shown_in_a_mistake_or_in_the_settings() {
    let wrong = from_env(&[
        ("USHERD_STORE__URL", "postgres://hunter2@localhost"),
        ("USHERD_MAIL__URL", "smtp://user:hunter2@host/x"),
        ("USHERD_BOOTSTRAP__SCIM_TOKEN", "hunter2 hunter2"),
    ])
    .unwrap_err();
    assert_eq!(keys(&wrong), ["bootstrap.scim_token", "mail.from", "mail.url", "store.url"]);
    assert!(!format!("{wrong} {wrong:?}").contains("hunter2"));
    for (key, name, url) in [
        // Behind an unescaped ? in the password, the rest of it reads as an option.
        ("mail.url", "USHERD_MAIL__URL", "smtp://user:25?hunter2@host"),
        ("mail.url", "USHERD_MAIL__URL", "smtps://hunter2@host"),
        ("store.url", "USHERD_STORE__URL", "redis://host/hunter2"),
        ("store.url", "USHERD_STORE__URL", "redis+sentinel://:hunter2@h1,h2"),
    ] {
        let wrong = only(from_env(&[(name, url), ("USHERD_MAIL__FROM", "no-reply@example.com")]));
        assert_eq!(wrong.key, key, "{url}");
        assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
    }
    let right = from_env(&[
        ("USHERD_STORE__URL", "redis://:hunter2@localhost"),
        ("USHERD_MAIL__URL", "smtps://user:hunter2@host"),
        ("USHERD_MAIL__FROM", "no-reply@example.com"),
        ("USHERD_BOOTSTRAP__SCIM_TOKEN", "hunter2-hunter2-hunter2"),
    ])
    .unwrap();
    assert!(!format!("{right:?}").contains("hunter2"));
}

#[test]
fn a_name_is_not_looked_up_in_a_list_that_has_mistakes() {
    let text = "[provisioning]\naccount_role = \"Guest\"\nlicenses = [\"Gold\"]\n\
                [[roles.account]]\nname = \"Account Admin\"\n[[roles.account]]\nname = \"Guest\"\n\
                [[licenses]]\nname = \"Gold\"\nkind = \"gold\"\n";
    assert_eq!(keys(&from_file(text).unwrap_err()), ["licenses[0].kind", "roles.account"]);
}

#[test]
fn each_layer_gets_its_part_of_the_settings() {
    let settings = from_env(&[
        ("USHERD_STORE__PATH", "/var/lib/usherd"),
        ("USHERD_STORE__DEADLINE", "3s"),
        ("USHERD_PROVISIONING__PROJECTS", "Web,Shop=Viewer"),
        ("USHERD_PROVISIONING__ADMIT_DOMAINS", "Bücher.example=silent"),
        ("USHERD_INVITATIONS__REMIND_AFTER", "off"),
        ("USHERD_HTTP__GROUP_BODY_LIMIT", "5MiB"),
        ("USHERD_SCIM__BULK_DEADLINE", "2m"),
        ("USHERD_LIMITS__IP", "off"),
    ])
    .unwrap()
    .settings;

    let mail = settings.mail_settings("users.example.com");
    assert_eq!(mail.directory, PathBuf::from("/var/lib/usherd/mail"));
    assert_eq!(mail.message_id_domain, "users.example.com");

    let directory = settings.directory_settings("https://users.example.com");
    assert_eq!(directory.deadline, Duration::from_secs(3));
    assert_eq!(directory.provisioning.account_role, "User");
    let shop = ("Shop".to_owned(), Some("Viewer".to_owned()));
    assert_eq!(directory.provisioning.projects, [("Web".to_owned(), None), shop]);
    // The form in which an address names its domain (RFC 5890 §2.3.2.1).
    assert_eq!(directory.provisioning.admit_domains.get("xn--bcher-kva.example"), Some(&Admit::Silent));
    assert_eq!(directory.invitations.remind_after, Some(vec![]));
    let days = |n: u64| Duration::from_secs(n * 86_400);
    assert_eq!(directory.invitations.lapsed_retention, days(90));
    assert_eq!(directory.invitations.tombstone_retention, days(400));

    let bounds = settings.bounds_table();
    assert_eq!([bounds.single, bounds.group].map(|bounds| bounds.body_bytes), [4 << 20, 5 << 20]);
    assert_eq!([bounds.single, bounds.bulk].map(|bounds| bounds.deadline.as_secs()), [5, 120]);
    assert_eq!([bounds.single, bounds.bulk].map(|bounds| bounds.body_deadline.as_secs()), [30, 120]);

    let limits = settings.limit_settings();
    assert!(limits.token.is_some() && limits.stranger.is_none() && limits.sign_in.is_some());
    assert_eq!(settings.scim_limits().max_results, 1000);
    assert_eq!(settings.serve_settings(None).drain_deadline, Duration::from_secs(20));
}

#[test]
fn what_works_but_is_probably_not_meant_is_warned_of() {
    let warned = |pairs: &[(&str, &str)]| -> Vec<String> {
        from_env(pairs).unwrap().warnings.into_iter().map(|warning| warning.key).collect()
    };
    assert_eq!(warned(&[("USHERD_INVITATIONS__TTL", "14m59s")]), ["invitations.ttl"]);
    assert_eq!(warned(&[("USHERD_INVITATIONS__TTL", "15m")]), [""; 0]);
    assert_eq!(warned(&[("USHERD_INVITATIONS__REMIND_AFTER", "1d,7d")]), ["invitations.remind_after"]);
    assert_eq!(warned(&[("USHERD_HTTP__LISTEN", "0.0.0.0:8080")]), ["http.public_url"]);
    assert_eq!(warned(&[("USHERD_HTTP__PUBLIC_URL", "http://usherd.example.com")]), ["http.public_url"]);
    assert_eq!(warned(&[("USHERD_HTTP__TRUSTED_PROXIES", "0.0.0.0/0")]), ["http.trusted_proxies"]);
    let relay = [("USHERD_MAIL__URL", "smtp://u:p@relay.example.com"), ("USHERD_MAIL__FROM", "a@example.com")];
    assert_eq!(warned(&relay), ["mail.url"]);
}

#[test]
fn settings_that_do_not_fit_together_are_mistakes() {
    let key = |pairs: &[(&str, &str)]| only(from_env(pairs)).key;
    assert_eq!(key(&[("USHERD_SCIM__DEFAULT_PAGE", "2000")]), "scim.default_page");
    assert_eq!(key(&[("USHERD_HTTP__TLS_CERT_FILE", "cert.pem")]), "http.tls_key_file");
    assert_eq!(key(&[("USHERD_MAIL__URL", "smtp://localhost")]), "mail.from");
    assert_eq!(key(&[("USHERD_PROVISIONING__ACCOUNT_ROLE", "Owner")]), "provisioning.account_role");
    assert_eq!(key(&[("USHERD_PROVISIONING__ACCOUNT_ROLE", "account admin")]), "provisioning.account_role");
    assert_eq!(key(&[("USHERD_PROVISIONING__LICENSES", "KSE,Gold")]), "provisioning.licenses");
    assert_eq!(key(&[("USHERD_PROVISIONING__PROJECTS", "Web=Owner")]), "provisioning.projects");
    assert_eq!(key(&[("USHERD_INVITATIONS__TTL", "31d")]), "invitations.ttl");
    assert_eq!(key(&[("USHERD_LICENSES__0", "KSE")]), "licenses.0");
    let roles = "[[roles.account]]\nname = \"Owner\"\ndefault = true\n";
    let mistakes = from_file(roles).unwrap_err();
    assert_eq!(keys(&mistakes), ["roles.account", "roles.account"]);
    let license = "[[licenses]]\nname = \"KSE\"\nkind = \"floating\"\nseats = 5\n[[licenses]]\nkind = \"shared\"\n";
    let mistakes = from_file(license).unwrap_err();
    assert_eq!(keys(&mistakes), ["licenses[0].seats", "licenses[1].kind", "licenses[1].name"]);
}

#[test]
fn every_problem_of_every_schema_file_is_told_beside_the_other_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("bad.json", "{}"), ("worse.json", "{"), ("good.json", EXAMPLE_SCHEMA)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let directory = folder.path().to_str().unwrap();
    let mistakes = from_env(&[("USHERD_SCIM__SCHEMAS_DIR", directory), ("USHERD_HTTP__LISTEN", "here")]).unwrap_err();
    let text = mistakes.to_string();
    for part in ["http.listen", "scim.schemas_dir", "bad.json: /id", "worse.json: /: not JSON"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("good.json"), "{text}");

    let absent = only(from_env(&[("USHERD_SCIM__SCHEMAS_DIR", "/nowhere/schemas")]));
    assert!(absent.problem.contains("/nowhere/schemas cannot be read"), "{absent:?}");
}

const EXAMPLE_SCHEMA: &str = include_str!("../../config/schemas/example-hr.json");
