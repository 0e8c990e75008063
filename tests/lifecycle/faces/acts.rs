//! What people, providers and mail services do in a scene, each through their face.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use usherd::directory::entropy;
use usherd::directory::record::UserRecord;
use usherd::directory::timers::DueWork;
use usherd::domain::secrets::Scope;
use usherd::domain::token::{self, Channel, Generation, InvitationClaims, Purpose};
use usherd::store::{Batch, Document, DocumentKey, Write};

use super::scene::{HOOK_SECRET, Scene, base64, patch};
use crate::house::MINUTE;
use crate::requests::Reply;

impl Scene<'_> {
    /// One of the admins' actions, which has to work.
    pub async fn act(&mut self, action: &str) {
        let token = self.token("admins", &Scope::ALL, false).await;
        let path = format!("/api/v1/users/{}/{action}", self.id.as_ref().unwrap());
        let reply = self.faces.json(&token, "POST", &path, &Value::Null).await;
        assert!([200, 204].contains(&reply.status), "{}: {action}: {}", self.case.name, reply.text);
        if action == "resend" {
            let (letter, link) = (self.letter.take(), self.link.take());
            self.remember().await;
            (self.letter, self.link) = (self.letter.or(letter), self.link.take().or(link));
        }
    }

    pub(super) async fn switch(&self, token: &str, active: bool) {
        let path = format!("/scim/v2/Users/{}", self.id.as_ref().unwrap());
        let body = patch(json!([{ "op": "replace", "path": "active", "value": active }]));
        let reply = self.faces.json(token, "PATCH", &path, &body).await;
        assert_eq!(reply.status, 200, "{}: {}", self.case.name, reply.text);
    }

    pub async fn record(&self) -> Option<UserRecord> {
        let key = DocumentKey::new("user", self.id.as_ref()?);
        let found = self.house.opened.store.get(&self.space(), &[key]).await.unwrap().pop().flatten();
        found.map(|document| UserRecord::decode(&document).unwrap())
    }

    /// Claims the mail of the invitation, as a worker does before it sends.
    pub(super) async fn take_letter(&mut self) {
        for _ in 0..20 {
            for claim in self.directory().claim_due(&self.account, 1, 10 * MINUTE).await.unwrap() {
                if let DueWork::Letter(due) = self.directory().due(&self.account, claim).await.unwrap() {
                    self.on_its_way = Some(due);
                    return;
                }
            }
        }
    }

    /// Writes past everything that watches over writes.
    pub(super) async fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let key = DocumentKey::new("user", self.id.as_ref().unwrap());
        let store = &self.house.opened.store;
        let document = store.get(&self.space(), std::slice::from_ref(&key)).await.unwrap().pop().flatten().unwrap();
        let mut state: Value = serde_json::from_slice(&document.state).unwrap();
        change(&mut state["user"]);
        let Document { revision, created, modified, body, .. } = document;
        let state = serde_json::to_vec(&state).unwrap().into();
        let mut batch = Batch::new(entropy::commit_id(self.now()));
        batch.writes.push(Write::Put { key, revision, created, modified, body, state });
        store.commit(&self.space(), &batch).await.unwrap();
    }

    /// A link of this person, of the generation at hand or of one that nobody was ever sent.
    pub fn link_or_guess(&self) -> String {
        let token = self.link.clone().unwrap_or_else(|| {
            let claims = InvitationClaims {
                kid: self.directory().keys().current().clone(),
                account: self.account.clone(),
                user: self.id.as_ref().map_or_else(|| entropy::resource_id(self.now()), |id| id.parse().unwrap()),
                generation: Generation::from_random(7),
                channel: Channel::Mail,
            };
            let (keys, installation) = (self.directory().keys(), self.directory().installation());
            token::mint(keys, installation, Purpose::Invitation, &claims, self.now()).unwrap().expose().to_owned()
        });
        token.rsplit('/').next().unwrap().to_owned()
    }

    /// Posts a form of the page that the link shows as long as it is good.
    pub async fn post_form(&self, path: &str, link: &str, fields: &[(&str, &str)]) -> Reply {
        let token = link.rsplit('/').next().unwrap();
        let csrf = usherd::http::form::token(self.directory(), token);
        let cookie = format!("__Host-usherd-invitation={token}");
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", &*csrf)]).collect();
        self.faces.submit(path, &cookie, &fields).await
    }

    pub async fn accept(&self, link: &str, address: &str) -> Reply {
        self.post_form("/accept", link, &[("address", address)]).await
    }

    pub async fn decline(&self) -> Reply {
        self.post_form("/accept/decline", &self.link_or_guess(), &[]).await
    }

    /// The mail service reports that the mail came back.
    pub async fn report_bounce(&self) -> Reply {
        let user = self.id.clone().unwrap();
        let letter = self.letter.unwrap_or_else(|| entropy::outbox_id(self.now()));
        let message_id = format!("<{letter}.{user}.{}@usherd.example.org>", self.account);
        let body = json!({ "event": "bounced", "messageId": message_id, "permanent": true }).to_string();
        let (id, at) = (entropy::uuid(self.now()).to_string(), (self.now().as_millis() / 1_000).to_string());
        let mut mac = Hmac::<Sha256>::new_from_slice(HOOK_SECRET).unwrap();
        mac.update(format!("{id}.{at}.{body}").as_bytes());
        let signature = format!("v1,{}", base64(&mac.finalize().into_bytes()));
        let headers = [("webhook-id", &*id), ("webhook-timestamp", &at), ("webhook-signature", &signature)];
        self.faces.send("POST", "/hooks/mail", &headers, body).await
    }
}
