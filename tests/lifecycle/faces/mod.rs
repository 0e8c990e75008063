//! Every cell of the matrix through the faces that bring its event about, on both stores: somebody is brought into the
//! state by what people, providers and time do, the event goes through its face, and state and effects are compared
//! with the matrix as those of the transition are (`crate::run`). Afterwards reconciliation finds nothing to repair.

mod acts;
mod fire;
mod observe;
mod scene;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rstest::rstest;
use usherd::directory::reconcile::{Mode, Outcome};
use usherd::domain::token::Generation;
use usherd::domain::user::{Standing, User};

use fire::{Face, Fired};
use scene::{HOOK_SECRET, Scene};

use crate::daemon::Store;
use crate::house::House;
use crate::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer, Key};
use crate::matrix::{self, Case, State};
use crate::requests::{Faces, Reply};
use crate::run::{Differences, Happened, Observed, unchanged};
use crate::situation::{NOW, SUPERSEDED, defaults, minted, person};
use crate::smtp::SmtpServer;

/// A scene is one large future, and the stacks of threads are small.
const STACK: usize = 64 << 20;

/// A cell is one event in one state.
type Cell = (String, State);

#[rstest]
fn every_cell_is_exercised_through_the_faces(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let all = move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build().unwrap();
        runtime.block_on(play_all(store));
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(all).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::disallowed_methods, reason = "which scene to look at is said on the command line of a test")]
async fn play_all(store: Store) {
    let cases = matrix::cases();
    let stage = Arc::new(Stage::build(store).await);
    let defined: BTreeSet<Cell> = cases.iter().map(cell).collect();
    let mut exercised: BTreeMap<Cell, BTreeSet<Face>> = BTreeMap::new();
    let mut unreachable: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let (mut differences, mut patched, mut run) = (Vec::new(), Vec::new(), 0);
    let only = std::env::var("USHERD_TEST_CASE").ok();
    for (number, case) in cases.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !case.name.starts_with(only)) {
            continue;
        }
        if let Some(why) = fire::beyond_reach(case) {
            unreachable.entry(why).or_default().push(case.name.clone());
            continue;
        }
        let (stage, played) = (Arc::clone(&stage), case.clone());
        // A scene that cannot be played is one more difference.
        let played = match tokio::spawn(async move { stage.play(&played, number).await }).await {
            Ok(played) => played,
            Err(panicked) => {
                differences.push(format!("{}: {panicked}", case.name));
                continue;
            }
        };
        run += 1;
        exercised.entry(cell(case)).or_default().insert(played.face);
        patched.extend(played.patched.then(|| case.name.clone()));
        differences.extend(played.differences.into_iter().map(|difference| format!("{}: {difference}", case.name)));
    }
    report(store, &exercised, &unreachable, &patched, (run, cases.len()));
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    let neither: Vec<&Cell> = defined.iter().filter(|cell| !exercised.contains_key(cell)).collect();
    assert!(only.is_some() || neither.is_empty(), "cells that are not exercised: {neither:?}");
}

fn cell(case: &Case) -> Cell {
    (case.event.clone(), case.state)
}

/// The table of what was exercised through which face.
fn report(
    store: Store,
    exercised: &BTreeMap<Cell, BTreeSet<Face>>,
    unreachable: &BTreeMap<&'static str, Vec<String>>,
    patched: &[String],
    (run, defined): (usize, usize),
) {
    println!("{store:?}: cells exercised {} / cells defined 266, cases {run} / {defined}", exercised.len());
    let faces = exercised.values().flatten().copied().collect::<BTreeSet<Face>>();
    for face in faces {
        let cells = exercised.values().filter(|faces| faces.contains(&face)).count();
        println!("  {face:<16}{cells:>4} cells");
    }
    let inside: BTreeSet<String> = exercised
        .iter()
        .filter(|(_, faces)| faces.iter().all(|face| *face == Face::Directory))
        .map(|((event, state), _)| format!("{event}/{state:?}"))
        .collect();
    println!("  at the directory layer only: {}", inside.into_iter().collect::<Vec<_>>().join(", "));
    for (why, cases) in unreachable {
        println!("  not from outside, {why}: {}", cases.join(", "));
    }
    println!("  with idp_active written into the store beforehand: {}", patched.join(", "));
}

/// What one case came to.
struct Played {
    face: Face,
    differences: Vec<String>,
    patched: bool,
}

/// The installations that the cases are played in.
struct Stage {
    usual: Place,
    /// It forgets after a day.
    forgetful: Place,
    /// Its mails go to a relay that defers some.
    relayed: Place,
    _relay: SmtpServer,
}

struct Place {
    house: House,
    faces: Faces,
    still: usherd::jobs::worker::Worker,
    issuer: Arc<(Issuer, Key)>,
}

impl Place {
    async fn build(store: Store, issuer: &Arc<(Issuer, Key)>, overrides: &[(&str, &str)]) -> Self {
        let url = issuer.0.url();
        let secret = format!("whsec_{}", scene::base64(HOOK_SECRET));
        let mut all = vec![
            ("USHERD_JOBS__RENEW", "0 0 3 * * *"),
            ("USHERD_LIMITS__SCIM", "off"),
            ("USHERD_LIMITS__IP", "off"),
            ("USHERD_LIMITS__SIGN_IN", "off"),
            ("USHERD_MAIL__RATE", "off"),
            ("USHERD_MAIL__HOOK_SECRET", &secret),
            ("USHERD_ISSUERS__ALLOW_PRIVATE", "true"),
            ("USHERD_OPENID__ISSUER", &url),
            ("USHERD_OPENID__CLIENT_ID", CLIENT_ID),
            ("USHERD_OPENID__CLIENT_SECRET", CLIENT_SECRET),
        ];
        all.extend(overrides);
        let house = House::open(store, &all).await;
        let faces = Faces(usherd::app::routes(&house.settings, &house.opened).unwrap());
        let still = house.without_mail();
        Place { house, faces, still, issuer: Arc::clone(issuer) }
    }
}

impl Stage {
    async fn build(store: Store) -> Self {
        let relay = SmtpServer::start(&[]);
        let key = Key::ec("e1");
        let issuer = Arc::new((Issuer::start(&key), key));
        Stage {
            usual: Place::build(store, &issuer, &[]).await,
            forgetful: Place::build(
                store,
                &issuer,
                &[("USHERD_INVITATIONS__LAPSED_RETENTION", "1d"), ("USHERD_INVITATIONS__TOMBSTONE_RETENTION", "1d")],
            )
            .await,
            relayed: Place::build(store, &issuer, &[("USHERD_MAIL__URL", &relay.url("smtp", ""))]).await,
            _relay: relay,
        }
    }

    fn place(&self, case: &Case) -> &Place {
        if fire::goes_through_the_relay(case) {
            &self.relayed
        } else if fire::keeps_short(case) {
            &self.forgetful
        } else {
            &self.usual
        }
    }

    async fn play(&self, case: &Case, number: usize) -> Played {
        let place = self.place(case);
        if case.event != "assignment_deleted" {
            return play(place, case, number, None).await;
        }
        let mut all = Vec::new();
        let mut last = None;
        for (turn, kind) in ["organization", "project", "license"].into_iter().enumerate() {
            let played = play(place, case, 10_000 * (turn + 1) + number, Some(kind)).await;
            all.extend(played.differences.iter().map(|difference| format!("{kind}: {difference}")));
            last = Some(played);
        }
        Played { differences: all, ..last.expect("three were played") }
    }
}

async fn play(place: &Place, case: &Case, number: usize, deletes: Option<&'static str>) -> Played {
    let mut scene = Scene::stage(place, case, number).await;
    let store = &place.house.opened.store;
    let before = store.dump(&scene.space()).await.unwrap();
    let record = scene.record().await;
    let mut differences = Differences::default();
    differences.0.extend(begins_wrong(case, record.as_ref().map(|record| &record.user)));
    let from = scene.now();
    let Fired { face, reply, deleted } = match deletes {
        Some(kind) => fire::delete(&mut scene, kind).await,
        None => fire::fire(&mut scene).await,
    };
    scene.directory().write_refusals(true).await.unwrap();
    let after = store.dump(&scene.space()).await.unwrap();
    let known = observe::people(&before);
    let made = observe::people(&after).into_iter().find(|(id, _)| !known.contains_key(id));
    let begins_anew = case.expect.new_id == Some(true) || case.state == State::N;
    let begins = match &record {
        Some(record) if case.expect.new_id != Some(true) => record.user.clone(),
        _ => person(),
    };
    if let (Some(old), true) = (&scene.id, case.expect.new_id == Some(true)) {
        let tombstone = observe::people(&after).get(old).map(|record| record.user.state());
        differences.compare("the tombstone", Some(crate::run::code(State::T)), tombstone);
    }
    let ends = match made.filter(|_| begins_anew) {
        Some((_, record)) => record.user,
        None => match scene.record().await {
            Some(record) => record.user,
            None => User { standing: Standing::Unborn, licenses: Vec::new(), ..begins.clone() },
        },
    };
    let id = ends.id.to_string();
    let observed = observe::observed(&before, &after, &id, ends);
    if let Some(reply) = &reply {
        answered(case, face, reply, &mut differences);
    }
    let happened = Happened {
        deleted: deleted.map(|(kind, id)| (id.parse().unwrap(), kind == "license")),
        generation: generation(&begins),
        at: from..=scene.now(),
    };
    let (begins, observed) = as_the_transition_sees_it(face, begins, observed);
    compare(case, &begins, &observed, &happened, &mut differences);
    let report = scene.directory().reconcile(&scene.account, Mode::DryRun).await.unwrap();
    // No Active admin, and more seats than there are, are told and not mended.
    let findings = report.findings.iter().filter(|finding| finding.outcome != Outcome::Alert);
    differences.0.extend(findings.map(|finding| format!("reconciliation: {finding:?}")));
    scene.directory().delete_account(&scene.account).await.unwrap();
    Played { face, differences: differences.0, patched: scene.patched }
}

/// What the directory adds to every transition of a kind is no effect of one: a mail that went out is not queued any
/// more, and who gets another role signs in anew.
fn as_the_transition_sees_it(face: Face, mut begins: User, mut observed: Observed) -> (User, Observed) {
    if let (Face::Mail, Some(invitation)) = (face, begins.invitation_mut()) {
        invitation.queued = None;
    }
    let promoted = begins.account_role != observed.user.account_role && observed.user.account_role == "Account Admin";
    if promoted && begins.state() == observed.user.state() {
        observed.end_sessions = false;
    }
    (begins, observed)
}

fn generation(user: &User) -> Option<Generation> {
    user.invitation().and_then(|invitation| invitation.generation())
}

/// How the scene is not what the case gives.
fn begins_wrong(case: &Case, user: Option<&User>) -> Option<String> {
    let state = user.map_or(crate::run::code(State::N), User::state);
    let is_there = state == crate::run::code(case.state);
    let reason = user.and_then(User::invitation).and_then(|invitation| invitation.lapse()).map(|lapse| lapse.as_str());
    let wanted = (case.state == State::PX).then(|| case.given.reason.as_deref().unwrap_or("expired"));
    let holds: Option<BTreeSet<&str>> = user
        .filter(|_| case.state == State::I)
        .map(|user| user.holds().iter().map(|hold| hold.side.as_str()).collect());
    let wants: Option<BTreeSet<&str>> = (case.state == State::I).then(|| {
        case.given
            .holds
            .as_ref()
            .map_or_else(|| BTreeSet::from(["admin"]), |holds| holds.iter().map(|it| &**it).collect())
    });
    (!is_there || reason != wanted || holds != wants)
        .then(|| format!("begins as {state:?} {reason:?} {holds:?}, not as {:?} {wanted:?} {wants:?}", case.state))
}

/// Compares what came back with the status, the code and the page of the case.
fn answered(case: &Case, face: Face, reply: &Reply, differences: &mut Differences) {
    let expect = &case.expect;
    let by_api = face == Face::Api;
    if let Some(page) = &expect.page {
        differences.compare("page", page.as_str(), reply.page());
    }
    match &expect.refusal {
        Some(code) if by_api => differences.compare("code", Some(code.clone()), reply.code()),
        Some(_) if face == Face::Hook => {}
        Some(code) => {
            let status = reply.status;
            differences.compare(&format!("status of {code}: {}", reply.text), true, status >= 400 || status == 200);
        }
        None if by_api && expect.drop => {
            let codes = [Some("not_held".to_owned()), Some("not_found".to_owned())];
            differences.compare("code", true, codes.contains(&reply.code()));
        }
        None if face == Face::Hook || face == Face::InviteePages => {}
        None => differences.compare(&format!("status: {}", reply.text), true, (200..400).contains(&reply.status)),
    }
    let told = matches!(face, Face::Scim | Face::InviteePages);
    if let (Some(http), true) = (expect.http, told) {
        differences.compare("http", http, reply.status);
    }
}

fn compare(case: &Case, before: &User, observed: &Observed, happened: &Happened, differences: &mut Differences) {
    let policy = defaults(minted(SUPERSEDED, NOW));
    let expect = &case.expect;
    if expect.refusal.is_some() {
        differences.compare("alert", expect.effects.contains("alert"), !observed.alerts.is_empty());
        let quiet = Observed { alerts: Vec::new(), ..observed.clone() };
        differences.compare("refused", unchanged(before, &observed.user), quiet);
    } else if expect.drop {
        differences.compare("drop", unchanged(before, &observed.user), observed.clone());
    } else {
        differences.outcome(case, before, happened, &policy, observed);
    }
}
