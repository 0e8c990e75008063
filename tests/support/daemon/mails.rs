//! The mail files of a daemon without a relay.

use std::path::{Path, PathBuf};

use base64::Engine as _;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub file: PathBuf,
    pub raw: String,
    /// The bare address.
    pub to: String,
    pub subject: String,
    pub message_id: String,
    /// The plain-text part, decoded.
    pub text: String,
}

impl Mail {
    /// The invitation link.
    pub fn link(&self) -> String {
        link_in(&self.text).unwrap_or_else(|| panic!("no link in {}", self.text))
    }

    /// The one-time code, which stands on a line of its own.
    pub fn code(&self) -> Option<String> {
        let is_code = |line: &&str| line.len() == 9 && line.chars().all(|c| c.is_ascii_digit() || c == ' ');
        self.text.lines().map(str::trim).find(is_code).map(str::to_owned)
    }
}

/// Oldest first: file names start with the time, and ids of one second are in order.
pub fn read_all(directory: &Path) -> Vec<Mail> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    files.into_iter().map(read).collect()
}

/// The first invitation link in a text.
pub fn link_in(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.starts_with("http") && word.contains("/i/usi_")).map(str::to_owned)
}

fn read(file: PathBuf) -> Mail {
    let raw = std::fs::read_to_string(&file).unwrap().replace("\r\n", "\n");
    let (head, body) = raw.split_once("\n\n").expect("a blank line behind the header");
    let to = header(head, "To");
    let to = to.rsplit_once('<').map_or(to.as_str(), |(_, address)| address.trim_end_matches('>'));
    let text = text_part(&header(head, "Content-Type"), body);
    let (subject, message_id) = (encoded_words(&header(head, "Subject")), header(head, "Message-ID"));
    Mail { to: to.to_owned(), subject, message_id, text, raw: raw.clone(), file }
}

/// Unfolded.
fn header(head: &str, name: &str) -> String {
    let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
    let found = unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    found.unwrap_or_default().to_owned()
}

fn text_part(content_type: &str, body: &str) -> String {
    let boundary = content_type.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    let boundary = format!("--{}", boundary.expect("a multipart message"));
    let part = body.split(&boundary).find(|part| part.contains("text/plain")).expect("a text part");
    let (head, text) = part.trim_start().split_once("\n\n").expect("a blank line in the part");
    match header(head, "Content-Transfer-Encoding").as_str() {
        "7bit" | "8bit" => text.to_owned(),
        "quoted-printable" => unquote(text),
        "base64" => from_base64(&text.split_whitespace().collect::<String>()),
        other => panic!("a text part in {other}"),
    }
}

fn from_base64(text: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    String::from_utf8(bytes).expect("UTF-8")
}

/// RFC 2047 §2, of which UTF-8 in base64 is used. Spaces between two encoded words mean nothing (§6.2).
fn encoded_words(text: &str) -> String {
    let decode = |word: &str| Some(from_base64(word.strip_prefix("=?utf-8?b?")?.strip_suffix("?=")?));
    let mut out = String::new();
    let mut was_encoded = false;
    for (number, word) in text.split(' ').enumerate() {
        let decoded = decode(word);
        if number > 0 && !(was_encoded && decoded.is_some()) {
            out.push(' ');
        }
        was_encoded = decoded.is_some();
        out.push_str(decoded.as_deref().unwrap_or(word));
    }
    out
}

/// RFC 2045 §6.7.
fn unquote(text: &str) -> String {
    let joined = text.replace("=\n", "");
    let mut parts = joined.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
