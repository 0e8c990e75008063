//! The Kubernetes manifests and the daemon agree: what the base and the example overlay configure is a configuration
//! without mistakes, and what `make-secrets` draws is what usherd reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use usherd::config::{Configuration, Loaded, Mistakes};
use usherd::domain::token::keyring::KeyRing;

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(manifests().join(path)).expect("the manifests are there")
}

/// `KEY=value` of the configMapGenerators, the overlay's over the base's, and `name`/`value` of the container.
fn environment() -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for file in ["base/kustomization.yaml", "overlays/example/kustomization.yaml"] {
        let file = text(file);
        let literals = file.lines().filter_map(|line| line.trim().strip_prefix("- USHERD_")?.split_once('='));
        variables.extend(literals.map(|(key, value)| (format!("USHERD_{key}"), value.to_owned())));
    }
    let deployment = text("base/deployment.yaml");
    let lines: Vec<_> = deployment.lines().map(str::trim).collect();
    variables.extend(lines.windows(2).filter_map(|pair| {
        let name = pair[0].strip_prefix("- name: ").filter(|name| name.starts_with("USHERD_"))?;
        Some((name.to_owned(), pair[1].strip_prefix("value: ")?.to_owned()))
    }));
    variables
}

/// The configuration of a Pod whose Secret holds the files of `secrets`.
fn load(secrets: &Path) -> Result<Loaded, Mistakes> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("usherd.toml");
    let here = secrets.to_str().expect("the folder's name is text");
    fs::write(&file, text("base/usherd.toml").replace("/etc/usherd/secrets", here)).expect("it is writable");
    Configuration::load(Some(&file), environment().into_iter())
}

/// Secrets as an operator draws them.
fn drawn() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let relay = "smtp+starttls://user:password@smtp.example.org:587";
    let status = Command::new(manifests().join("make-secrets")).arg(folder.path()).arg(relay).status();
    assert!(status.expect("bash and openssl are installed").success());
    folder
}

#[test]
fn what_the_manifests_configure_has_no_mistake() {
    let Loaded { settings, warnings } = load(drawn().path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(warnings, []);
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.ops.listen.to_string(), "0.0.0.0:8081");
    assert_eq!(settings.http.drain_lead, Duration::from_secs(10));
    assert_eq!(settings.http.drain_deadline, Duration::from_secs(20));
    assert!(settings.store.url.is_some() && settings.mail.relay.is_some());
    assert!(settings.secrets.keys_file.is_some() && settings.bootstrap.scim_token.is_some());
}

#[test]
fn the_placeholder_keys_of_the_example_are_refused() {
    assert!(KeyRing::parse(&text("overlays/example/secrets/keys.toml")).is_err());
}

#[test]
fn drawn_keys_are_a_keys_file() {
    let keys = fs::read_to_string(drawn().path().join("keys.toml")).expect("it was drawn");
    assert_eq!(KeyRing::parse(&keys).map(|ring| ring.fingerprints().len()), Ok(1));
}
