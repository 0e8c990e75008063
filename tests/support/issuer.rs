//! An issuer of tokens with keys of its own: a real HTTP server in this process, with the endpoints of OpenID Connect.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What usherd is called there, and its secret: with characters that have to be encoded.
pub const CLIENT_ID: &str = "usherd client";
pub const CLIENT_SECRET: &str = "s3cret:+&%";

enum Secret {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key that signs.
pub struct Key {
    kid: String,
    secret: Secret,
}

impl Key {
    pub fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Key { kid: kid.to_owned(), secret: Secret::Rsa(pair) }
    }

    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Key { kid: kid.to_owned(), secret: Secret::Ec(pair) }
    }

    pub fn ed(kid: &str) -> Self {
        Key { kid: kid.to_owned(), secret: Secret::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    /// As it is published.
    fn jwk(&self) -> Value {
        let encode = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        match &self.secret {
            Secret::Rsa(pair) => {
                // RSAPublicKey of 2 048 bits in DER: a sequence of two integers.
                let der = pair.public_key().as_ref();
                assert_eq!((&der[4..9], &der[265..267]), (&[2, 0x82, 1, 1, 0][..], &[2, 3][..]));
                let (n, e) = (encode(&der[9..265]), encode(&der[267..270]));
                json!({ "kty": "RSA", "kid": self.kid, "use": "sig", "n": n, "e": e })
            }
            Secret::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({ "kty": "EC", "kid": self.kid, "crv": "P-256", "x": x, "y": y })
            }
            Secret::Ed(pair) => {
                json!({ "kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
        }
    }

    fn usual_algorithm(&self) -> &'static str {
        match self.secret {
            Secret::Rsa(_) => "RS256",
            Secret::Ec(_) => "ES256",
            Secret::Ed(_) => "EdDSA",
        }
    }

    /// A token of these claims with a header of one's own.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let random = SystemRandom::new();
        let signature = match &self.secret {
            Secret::Rsa(pair) => {
                let padding = if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Secret::Ec(pair) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": self.usual_algorithm(), "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// A token that takes the public key for a shared secret.
    pub fn confused(&self, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(&json!({ "alg": "HS256", "kid": self.kid })), encoded(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.jwk().to_string().as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

/// A token of these claims that nobody signed.
pub fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encoded(&json!({ "alg": "none" })), encoded(claims))
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// What the issuer answers when a code is exchanged.
struct Grant {
    redirect_uri: String,
    challenge: String,
    id_token: String,
    user_info: Value,
}

#[derive(Default)]
struct State {
    published: Vec<Value>,
    asked: Vec<String>,
    grants: BTreeMap<String, Grant>,
    user_info: Value,
    /// Members of the discovery document that are not the usual ones.
    document: Value,
    is_down: bool,
}

pub struct Issuer {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    /// With one key, which it publishes.
    pub fn start(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { published: vec![key.jwk()], ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, port, &shared));
            }
        });
        Issuer { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Publishes these keys and no others from now on.
    pub fn publishes(&self, keys: &[&Key]) {
        self.state.lock().unwrap().published = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Hangs up on whoever asks, or does so no more.
    pub fn goes(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// Has these members in its discovery document instead of the usual ones.
    pub fn says(&self, members: Value) {
        self.state.lock().unwrap().document = members;
    }

    /// How often this path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }

    /// What a browser comes back with whose person has signed in at the issuer: the query of the redirect. `location` is
    /// where it was sent; `claims` make the ID token of it.
    pub fn signs_in(&self, key: &Key, location: &str, claims: impl Fn(&str) -> Value) -> String {
        self.signs_in_with(key, location, claims, Value::Null)
    }

    /// The same, with an answer of the userinfo endpoint.
    pub fn signs_in_with(&self, key: &Key, location: &str, claims: impl Fn(&str) -> Value, user_info: Value) -> String {
        let asked = url::Url::parse(location).unwrap();
        let query: BTreeMap<String, String> = asked.query_pairs().into_owned().collect();
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["client_id"], CLIENT_ID);
        assert_eq!(query["scope"], "openid email");
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["state"].len() >= 43 && query["nonce"].len() >= 43, "{location}");
        let code = format!("code-{}", &query["nonce"][..8]);
        let grant = Grant {
            redirect_uri: query["redirect_uri"].clone(),
            challenge: query["code_challenge"].clone(),
            id_token: key.sign(&claims(&query["nonce"])),
            user_info,
        };
        self.state.lock().unwrap().grants.insert(code.clone(), grant);
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &query["state"])
            .append_pair("iss", &self.url())
            .finish()
    }
}

fn serve(stream: TcpStream, port: u16, shared: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let Some((target, headers, body)) = read(&mut reader) else { return };
    let mut state = shared.lock().unwrap();
    state.asked.push(target.clone());
    if state.is_down {
        return;
    }
    let (status, answer) = match target.as_str() {
        "/.well-known/openid-configuration" => (200, document(&state, port)),
        "/keys" => (200, json!({ "keys": state.published })),
        "/token" => exchange(&mut state, &headers, &body),
        "/userinfo" if headers.get("authorization").is_some_and(|value| value == "Bearer access") => {
            (200, state.user_info.clone())
        }
        _ => (404, Value::Null),
    };
    drop(state);
    let answer = answer.to_string();
    let head =
        format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
    reader.into_inner().write_all(format!("{head}{answer}").as_bytes()).ok();
}

fn document(state: &State, port: u16) -> Value {
    let url = format!("http://127.0.0.1:{port}");
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize?tenant=7"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    for (name, value) in state.document.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    document
}

/// RFC 6749 §4.1.3 with RFC 7636 §4.6, as strict as an issuer may be.
fn exchange(state: &mut State, headers: &BTreeMap<String, String>, body: &str) -> (u16, Value) {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let invalid = |error: &str| (400, json!({ "error": error }));
    let by_header = headers.get("authorization").and_then(|value| value.strip_prefix("Basic ")).map(|pair| {
        let pair = String::from_utf8(STANDARD.decode(pair).unwrap()).unwrap();
        let (id, secret) = pair.split_once(':').unwrap();
        let decoded = |text: &str| url::form_urlencoded::parse(text.as_bytes()).next().unwrap().0.into_owned();
        (decoded(id), decoded(secret))
    });
    let by_form = form.get("client_id").cloned().zip(form.get("client_secret").cloned());
    if by_header.is_some() && form.contains_key("client_id") {
        return invalid("invalid_request");
    }
    if by_header.or(by_form) != Some((CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())) {
        return (401, json!({ "error": "invalid_client" }));
    }
    // A code works once.
    let Some(grant) = form.get("code").and_then(|code| state.grants.remove(code)) else {
        return invalid("invalid_grant");
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    if challenge != grant.challenge || form["redirect_uri"] != grant.redirect_uri {
        return invalid("invalid_grant");
    }
    state.user_info = grant.user_info;
    (200, json!({ "access_token": "access", "token_type": "Bearer", "id_token": grant.id_token }))
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, BTreeMap<String, String>, String)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let target = lines.first()?.split(' ').nth(1)?.to_owned();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((target, headers, String::from_utf8(body).ok()?))
}
