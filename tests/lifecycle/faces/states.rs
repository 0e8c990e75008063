//! How somebody gets into each state, by what people, providers and time do.

use std::time::Duration;

use serde_json::{Value, json};
use usherd::directory::account_settings::{AccountChanges, Setting};
use usherd::directory::timers::Fate;
use usherd::domain::lifecycle::Admit;
use usherd::domain::secrets::Scope;
use usherd::domain::time::Timestamp;
use usherd::domain::token::Channel;

use super::fire;
use super::scene::{SECOND, Scene};
use crate::house::{DAY, MINUTE, drain};
use crate::matrix::State;
use crate::situation::{OTHER_CLIENT, OWN_CLIENT, is_managed};

impl Scene<'_> {
    pub(super) fn owner(&self) -> &'static str {
        if self.case.given.other_client == Some(true) { OTHER_CLIENT } else { OWN_CLIENT }
    }

    /// Everything of the person that is made before the event.
    pub(super) async fn people(&mut self) {
        self.others().await;
        let case = self.case;
        match case.state {
            State::N => self.nobody().await,
            State::PL => self.pending().await,
            State::PX => self.lapsed().await,
            State::RL => self.reinvited().await,
            State::A => self.active().await,
            State::I => self.inactive().await,
            State::T => self.deleted().await,
        }
        let is_theirs = self.record().await.is_some_and(|record| record.exists() && record.user.is_managed());
        if is_theirs && !self.is_managed() {
            self.act("release").await;
        }
        self.reach_time().await;
        self.patch().await;
    }

    pub(super) fn is_managed(&self) -> bool {
        is_managed(self.case) || fire::needs_a_provider(self.case)
    }

    /// Somebody who was erased: their link and mail are still around.
    pub(super) async fn nobody(&mut self) {
        if !fire::is_about_a_past(self.case) {
            return;
        }
        self.pending().await;
        self.take_letter().await;
        self.act("erase").await;
    }

    /// PL.
    pub(super) async fn pending(&mut self) {
        let given = &self.case.given;
        let says_more = given.has_address == Some(false) || given.policy_hold.as_deref() == Some("start_date");
        if self.is_managed() || says_more || given.shortfall == Some(true) {
            let test = self.held_by_test_token();
            let mut scopes: Vec<Scope> = Scope::ALL.into();
            scopes.retain(|scope| *scope != Scope::UsersTakeover);
            let token = self.token(self.owner(), &scopes, test).await;
            let body = self.whole_body(true);
            let reply = self.faces.json(&token, "POST", "/scim/v2/Users", &body).await;
            self.id = Some(self.made(reply));
            if given.has_address == Some(false) && self.case.state != State::PX {
                self.act("copy-link").await;
            }
        } else {
            self.user_name = self.address.to_owned();
            let script = self.token("inviter", &Scope::ALL, false).await;
            let mut body = json!({
                "email": self.address,
                "organization": "Research",
                "licenses": ["Seat"],
                "projects": [{ "project": "Apollo", "role": "Tester" }],
            });
            if let Some(role) = &given.role {
                body["accountRole"] = role.as_str().into();
            }
            let reply = self.faces.json(&script, "POST", "/api/v1/users", &body).await;
            self.id = Some(self.made(reply));
        }
        self.remember().await;
        if self.case.given.generation.as_deref() == Some("superseded") {
            let (link, letter) = (self.link.clone(), self.letter);
            self.house.opened.store.advance(6 * MINUTE);
            self.act("resend").await;
            (self.link, self.letter) = (link, letter);
            self.house.opened.store.advance(6 * MINUTE);
        }
    }

    /// Notes the link and the mail of the invitation as it is now.
    pub(super) async fn remember(&mut self) {
        let Some(record) = self.record().await else { return };
        let Some(invitation) = record.user.invitation().filter(|invitation| invitation.is_live()) else { return };
        let channel = match self.case.given.channel.as_deref() {
            Some("link") => Channel::Link,
            Some("console") => Channel::Console,
            _ => Channel::Mail,
        };
        self.first_expiry = self.first_expiry.or(invitation.expires_at());
        self.letter = invitation.queued.or(self.letter);
        self.link = Some(self.directory().link(&self.account, &record.user, channel).unwrap());
    }

    pub(super) fn held_by_test_token(&self) -> bool {
        let given = &self.case.given;
        let is_held = self.case.state == State::PX && given.reason.as_deref() == Some("held");
        is_held && self.case.event != "hold_due" && !fire::is_in_flight(self.case)
    }

    /// PX.
    pub(super) async fn lapsed(&mut self) {
        let reason = self.case.given.reason.clone().unwrap_or_else(|| "expired".to_owned());
        match reason.as_str() {
            "held" => return self.held().await,
            "no_address" => {
                let token = self.token(self.owner(), &Scope::ALL, false).await;
                let body = self.whole_body(true);
                let reply = self.faces.json(&token, "POST", "/scim/v2/Users", &body).await;
                self.id = Some(self.made(reply));
                return;
            }
            _ => self.pending().await,
        }
        if fire::is_in_flight(self.case) {
            self.take_letter().await;
        }
        match reason.as_str() {
            "expired" if self.case.given.cooldown.as_deref() == Some("resend") => self.expire_at_once().await,
            "expired" => {
                if !fire::is_in_flight(self.case) {
                    self.house.work().await;
                }
                let expiry = self.record().await.unwrap().user.invitation().unwrap().expires_at().unwrap();
                self.until(expiry).await;
                drain(self.still).await;
            }
            "bounced" => {
                let reply = self.report_bounce().await;
                assert!(reply.text.contains("recorded"), "{}", reply.text);
            }
            "send_failed" => {
                let due = match self.on_its_way.take() {
                    Some(due) => due,
                    None => {
                        self.take_letter().await;
                        self.on_its_way.take().unwrap()
                    }
                };
                self.directory().settle(&due, &Fate::GivenUp { reply: "451 later".to_owned() }).await.unwrap();
                if fire::is_in_flight(self.case) {
                    self.on_its_way = Some(due);
                }
            }
            "declined" => {
                let reply = self.decline().await;
                assert_eq!(reply.status, 200, "{}", reply.text);
            }
            other => panic!("reason {other}"),
        }
        if self.case.given.cooldown.as_deref() == Some("resend") && reason != "expired" {
            panic!("{}: a cooldown after {reason}", self.case.name);
        }
    }

    pub(super) async fn held(&mut self) {
        if fire::is_in_flight(self.case) {
            // A test token takes a mail back that has begun to go out.
            self.pending().await;
            self.take_letter().await;
            let script = self.token("script", &Scope::ALL, true).await;
            let path = format!("/api/v1/users/{}/resend", self.id.as_ref().unwrap());
            let reply = self.faces.json(&script, "POST", &path, &Value::Null).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            return;
        }
        let reinvited = self.case.given.origin.as_deref() == Some("reinvite");
        if self.case.event == "hold_due" {
            self.set(AccountChanges { hold_until_start_date: Some(Setting::Own(true)), ..AccountChanges::default() })
                .await;
        }
        let token = self.token(self.owner(), &Scope::ALL, self.held_by_test_token()).await;
        if reinvited {
            let plain = self.token(self.owner(), &Scope::ALL, false).await;
            let body = self.whole_body(false);
            let reply = self.faces.json(&plain, "POST", "/scim/v2/Users", &body).await;
            self.id = Some(self.made(reply));
            self.switch(&token, true).await;
        } else {
            let reply = self.faces.json(&token, "POST", "/scim/v2/Users", &self.whole_body(true)).await;
            self.id = Some(self.made(reply));
        }
    }

    /// RL.
    pub(super) async fn reinvited(&mut self) {
        self.pending().await;
        let early = (self.link.clone(), self.letter);
        let is_early = self.case.given.generation.as_deref() == Some("superseded");
        if self.record().await.unwrap().user.is_managed() {
            let token = self.token(self.owner(), &Scope::ALL, false).await;
            self.switch(&token, false).await;
            self.switch(&token, true).await;
        } else {
            self.act("deactivate").await;
            self.act("resend").await;
            self.house.opened.store.advance(6 * MINUTE);
        }
        if is_early {
            (self.link, self.letter) = early;
        } else {
            self.first_expiry = None;
            self.remember().await;
        }
    }

    /// A.
    pub(super) async fn active(&mut self) {
        if self.case.event == "retries_exhausted" {
            // The welcome is the mail that cannot be delivered.
            self.set(AccountChanges { admit: Some(Setting::Own(Admit::Notify)), ..AccountChanges::default() }).await;
            let token = self.token(self.owner(), &Scope::ALL, false).await;
            let reply = self.faces.json(&token, "POST", "/scim/v2/Users", &self.whole_body(true)).await;
            self.id = Some(self.made(reply));
            return;
        }
        self.pending().await;
        if fire::is_in_flight(self.case) {
            self.take_letter().await;
        }
        let record = self.record().await.unwrap();
        let link = self.directory().link(&self.account, &record.user, Channel::Mail).unwrap();
        let reply = self.accept(&link, self.address).await;
        assert_eq!(reply.status, 200, "{}: {}", self.case.name, reply.text);
        if let Some(minutes) = self.case.given.accepted_minutes_ago {
            self.house.opened.store.advance(Duration::from_secs(minutes * 60));
        }
        let id = record.user.id;
        let session = self.directory().begin_session(&self.account, id).await.unwrap();
        if self.case.given.actor_is_user == Some(true) {
            self.admin_cookie = Some(session.expose());
        }
        if self.case.given.last_admin == Some(true) {
            assert_eq!(self.case.given.role.as_deref(), Some("Account Admin"));
        }
    }

    /// I.
    pub(super) async fn inactive(&mut self) {
        let holds = self.case.given.holds.clone().unwrap_or_else(|| vec!["admin".to_owned()]);
        let has = |side: &str| holds.iter().any(|hold| hold == side);
        if has("system") || holds.is_empty() {
            self.reinvited().await;
            if fire::is_in_flight(self.case) {
                self.take_letter().await;
            }
            if has("system") {
                self.house.work().await;
                let expiry = self.record().await.unwrap().user.invitation().unwrap().expires_at().unwrap();
                self.until(expiry).await;
                self.house.work().await;
            } else {
                let record = self.record().await.unwrap();
                self.link = Some(self.directory().link(&self.account, &record.user, Channel::Mail).unwrap());
                let reply = self.decline().await;
                assert_eq!(reply.status, 200, "{}", reply.text);
            }
        } else {
            self.pending().await;
            if fire::is_in_flight(self.case) {
                self.take_letter().await;
            }
        }
        if self.case.given.cooldown.as_deref() == Some("resend") {
            self.act("resend").await;
        }
        if has("idp") {
            let token = self.token(self.owner(), &Scope::ALL, false).await;
            self.switch(&token, false).await;
        }
        if has("admin") {
            self.act("deactivate").await;
        }
    }

    /// T.
    pub(super) async fn deleted(&mut self) {
        self.pending().await;
        if fire::is_in_flight(self.case) {
            self.take_letter().await;
        }
        if self.is_managed() {
            let token = self.token(self.owner(), &Scope::ALL, false).await;
            let path = format!("/scim/v2/Users/{}", self.id.as_ref().unwrap());
            let reply = self.faces.json(&token, "DELETE", &path, &Value::Null).await;
            assert_eq!(reply.status, 204, "{}", reply.text);
        } else {
            self.act("revoke").await;
        }
    }

    /// The clock, and how often there were mails before.
    pub(super) async fn reach_time(&mut self) {
        let given = &self.case.given;
        let live = [State::PL, State::RL].contains(&self.case.state);
        match given.cooldown.as_deref() {
            Some("resend") if live => self.act("resend").await,
            Some("daily") => {
                for _ in 0..5 {
                    self.house.opened.store.advance(6 * MINUTE);
                    self.act("resend").await;
                }
                self.house.opened.store.advance(6 * MINUTE);
            }
            _ => {}
        }
        if given.muted == Some(true) || (live && fire::waits_for_another_timer(self.case)) {
            let token = self.link.clone().unwrap();
            let path = format!("/i/{}/mute", token.rsplit('/').next().unwrap());
            self.faces.send("POST", &path, &[], String::new()).await;
        }
        let expires = given.expired == Some(true) || given.hours_left.is_some();
        if live && (expires || fire::waits_for_another_timer(self.case)) {
            self.house.work().await;
        }
        if live && expires {
            let expiry = self.record().await.unwrap().user.invitation().unwrap().expires_at().unwrap();
            let left = given.hours_left.map_or(Duration::ZERO, |hours| Duration::from_secs(hours * 3_600));
            self.until(expiry - left).await;
        }
        if live && given.first_delivery == Some(false) {
            // What goes out then is a reminder.
            self.house.work().await;
            self.house.opened.store.advance(DAY + SECOND);
            for _ in 0..20 {
                if self.record().await.unwrap().user.invitation().unwrap().queued.is_some() {
                    break;
                }
                let claims = self.directory().claim_due(&self.account, 1, MINUTE).await.unwrap();
                for claim in claims {
                    self.directory().due(&self.account, claim).await.unwrap();
                }
            }
        }
    }

    pub(super) async fn until(&self, at: Timestamp) {
        let span = at.since(self.now());
        self.house.opened.store.advance(span + 2 * SECOND);
    }

    /// What nobody can bring about any more, and what the matrix asks for all the same.
    pub(super) async fn patch(&mut self) {
        let wanted = match self.case.given.idp_active.as_deref() {
            Some("true") => Value::Bool(true),
            Some("false") => Value::Bool(false),
            Some(_) | None => return,
        };
        let is = self.record().await.and_then(|record| record.user.idp_active);
        if is.map(Value::Bool) != Some(wanted.clone()) {
            self.patched = true;
            self.edit(|user| user["idp_active"] = wanted.clone()).await;
        }
    }

    /// An invitation that was resent within the last minutes is over: the account gives it a minute.
    pub(super) async fn expire_at_once(&mut self) {
        self.set(AccountChanges { invitation_ttl: Some(Setting::Own(MINUTE)), ..AccountChanges::default() }).await;
        self.act("resend").await;
        self.remember().await;
        self.house.opened.store.advance(MINUTE + SECOND);
        self.house.work().await;
        self.house.opened.store.advance(MINUTE + SECOND);
        self.house.work().await;
    }
}
