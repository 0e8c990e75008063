//! Templates: compiled in, tried at start, replaceable one by one by the operator.
//!
//! A directory of the operator's may hold, per language tag, `<tag>/<name>.html`, `<tag>/<name>.txt` and
//! `<tag>/strings.toml`; whatever is missing comes from usherd. A tag that usherd does not know makes a new language.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::kinds::Mail;
use crate::domain::text::safe_name;
use crate::domain::time::Timestamp;
use crate::domain::words::{Languages, Words, fill};

/// The built-in sources, by file name.
macro_rules! built_in {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../../config/mail/templates/", $name)))),*]
    };
}

const BUILT_IN: [(&str, &str); 23] = built_in! {
    "layout.html" "layout.txt" "parts.html"
    "invitation.html" "invitation.txt" "reminder.html" "reminder.txt" "welcome.html" "welcome.txt"
    "address_confirmation.html" "address_confirmation.txt" "address_notice.html" "address_notice.txt"
    "sign_in_code.html" "sign_in_code.txt" "copied_link_notice.html" "copied_link_notice.txt"
    "admin_link_accepted.html" "admin_link_accepted.txt" "alert.html" "alert.txt" "test.html" "test.txt"
};

/// The file of an operator's own words.
const STRINGS_FILE: &str = "strings.toml";

/// Plain text is wrapped here (RFC 5322 §2.1.1 asks for at most 78).
const TEXT_WIDTH: usize = 76;

/// What a mail says besides its kind.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The account's name, as stored.
    pub account_name: &'a str,
    /// The reader's name, as stored.
    pub recipient_name: Option<&'a str>,
    /// SCIM's `preferredLanguage` (or `locale`): `de-AT, fr;q=0.5`.
    pub preferred_language: Option<&'a str>,
    /// The zone in which dates are told.
    pub zone: &'a TimeZone,
    pub now: Timestamp,
}

/// A mail, ready to be put into a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// A fixed text of the language: nothing in it was chosen by a person.
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The language it is in, as a tag.
    pub language: String,
    /// The one-click URL, on reminders.
    pub unsubscribe: Option<String>,
}

/// A template that does not work, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mail template {file}{}: {detail}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct TemplateError {
    pub file: String,
    pub line: Option<usize>,
    pub detail: String,
}

/// The templates of all languages.
#[derive(Debug)]
pub struct Templates {
    languages: BTreeMap<String, Language>,
    words: Languages,
}

#[derive(Debug)]
struct Language {
    words: Words,
    environment: Environment<'static>,
    /// Where the operator's templates came from, for error messages.
    origins: BTreeMap<String, PathBuf>,
}

impl Templates {
    /// Reads the operator's files, if any, and renders every kind of mail in every language once.
    ///
    /// # Errors
    /// The first file that cannot be read, does not parse, does not render, has a name that means nothing, or leaves
    /// out the link or the code that the mail is for.
    pub fn load(directory: Option<&Path>) -> Result<Self, TemplateError> {
        let mut words = Languages::built_in();
        let mut languages = BTreeMap::new();
        for built_in in words.iter() {
            languages.insert(built_in.tag().to_owned(), Language::new(built_in.tag(), None)?);
        }
        for own in directory.map(sub_directories).transpose()?.unwrap_or_default() {
            let tag = tag_of(&own)?;
            let language = Language::new(&tag, Some(&own))?;
            words.put(language.words.clone());
            languages.insert(tag, language);
        }
        languages.values().try_for_each(Language::try_out)?;
        Ok(Templates { languages, words })
    }

    /// Renders `mail` in the best language that the reader prefers and usherd has.
    ///
    /// # Errors
    /// When an operator's template fails on these values though it worked on samples.
    pub fn render(&self, mail: &Mail, context: &Context<'_>) -> Result<Rendered, TemplateError> {
        let tag = self.words.best(context.preferred_language).tag();
        self.languages.get(tag).expect("each language has its templates").render(mail, context)
    }

    /// The words of all languages.
    pub const fn words(&self) -> &Languages {
        &self.words
    }
}

impl Language {
    fn new(tag: &str, directory: Option<&Path>) -> Result<Self, TemplateError> {
        let files = directory.map(own_files).transpose()?.unwrap_or_default();
        let own_strings = files.get(STRINGS_FILE).map(|file| read(file)).transpose()?;
        let words = Words::load(tag, own_strings.as_deref()).map_err(|error| TemplateError {
            file: files.get(STRINGS_FILE).map_or_else(|| built_in_name(tag), |file| file.display().to_string()),
            line: None,
            detail: error.to_string(),
        })?;
        let mut language = Language { environment: environment(&words), words, origins: files };
        for (name, source) in BUILT_IN {
            let source = match language.origins.get(name) {
                Some(file) => read(file)?,
                None => source.to_owned(),
            };
            let added = language.environment.add_template_owned(name, source);
            added.map_err(|error| language.error(name, &error))?;
        }
        Ok(language)
    }

    fn render(&self, mail: &Mail, context: &Context<'_>) -> Result<Rendered, TemplateError> {
        let subject = self.words.text(&mail.subject_key()).to_owned();
        let name = context.recipient_name.map(safe_name).filter(|name| !name.is_empty());
        let account = Some(safe_name(context.account_name)).filter(|account| !account.is_empty());
        let account = account.unwrap_or_else(|| self.words.text("common.unnamed_account").to_owned());
        let common = [
            ("lang", Value::from(self.words.tag())),
            ("dir", Value::from(self.words.direction())),
            ("subject", Value::from(&*subject)),
            ("account", Value::from(account)),
            ("name", Value::from(name)),
        ];
        let values: Kwargs = common.into_iter().chain(mail.values(context, &self.words)).collect();
        let values = Value::from(values);
        let part = |extension: &str| {
            let name = format!("{}.{extension}", mail.template());
            let rendered = self.environment.get_template(&name).and_then(|template| template.render(values.clone()));
            rendered.map_err(|error| self.error(&name, &error))
        };
        Ok(Rendered {
            text: tidy_text(&part("txt")?),
            html: tidy_html(&part("html")?),
            subject,
            language: self.words.tag().to_owned(),
            unsubscribe: mail.unsubscribe().map(str::to_owned),
        })
    }

    /// Every mail with sample data: a mistake shows at start, not when an invitation is due.
    fn try_out(&self) -> Result<(), TemplateError> {
        let now = Timestamp::from_millis(1_795_426_200_000);
        let context = Context {
            account_name: "Example",
            recipient_name: Some("Ada Lovelace"),
            preferred_language: None,
            zone: &TimeZone::UTC,
            now,
        };
        for mail in Mail::samples(now) {
            let nameless = Context { recipient_name: None, ..context };
            self.render(&mail, &nameless)?;
            let rendered = self.render(&mail, &context)?;
            for (extension, part) in [("txt", &rendered.text), ("html", &rendered.html)] {
                if mail.essential().is_some_and(|essential| !part.contains(essential)) {
                    let what = if matches!(mail, Mail::SignInCode { .. }) { "code" } else { "link" };
                    return Err(TemplateError {
                        file: self.origin(&format!("{}.{extension}", mail.template())),
                        line: None,
                        detail: format!("it shows no {{{{ {what} }}}}, without which the mail is useless"),
                    });
                }
            }
        }
        Ok(())
    }

    /// Where the template `name` came from.
    fn origin(&self, name: &str) -> String {
        self.origins.get(name).map_or_else(|| built_in_name(name), |file| file.display().to_string())
    }

    fn error(&self, name: &str, error: &minijinja::Error) -> TemplateError {
        let mut innermost = error;
        while let Some(inner) = std::error::Error::source(innermost).and_then(|source| source.downcast_ref()) {
            innermost = inner;
        }
        let detail = match innermost.detail() {
            Some(detail) => format!("{}: {detail}", innermost.kind()),
            None => innermost.kind().to_string(),
        };
        let place = innermost.name().or(error.name()).unwrap_or(name);
        TemplateError { file: self.origin(place), line: innermost.line().or(error.line()), detail }
    }
}

/// HTML is escaped by the name's ending, unknown variables are errors, and `t("section.key", name=value)` speaks.
fn environment(words: &Words) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let words = words.clone();
    environment.add_function("t", move |key: &str, values: Kwargs| translate(&words, key, &values));
    environment
}

fn translate(words: &Words, key: &str, values: &Kwargs) -> Result<String, minijinja::Error> {
    let unknown = || minijinja::Error::new(ErrorKind::InvalidOperation, format!("there is no string `{key}`"));
    let text = words.find(key).ok_or_else(unknown)?;
    let mut given = Vec::new();
    for name in values.args() {
        given.push((name, values.get::<Value>(name)?.to_string()));
    }
    let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok(fill(text, &given))
}

/// Lines of bearable length, at most one blank line in a row, none at the ends. Lines without spaces, such as links,
/// and indented ones stay as they are; so does the signature mark.
fn tidy_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for line in text.lines() {
        let line = if line == "-- " { line } else { line.trim_end() };
        if line.is_empty() {
            blank = !out.is_empty();
            continue;
        }
        if std::mem::take(&mut blank) {
            out.push('\n');
        }
        wrap(line, &mut out);
    }
    out
}

fn wrap(line: &str, out: &mut String) {
    let mut rest = line;
    while rest.chars().count() > TEXT_WIDTH && !rest.starts_with(' ') {
        let spaces = rest.char_indices().take(TEXT_WIDTH + 1).filter(|(_, c)| *c == ' ');
        let Some(space) = spaces.last().map(|(at, _)| at).or_else(|| rest.find(' ')) else { break };
        out.push_str(&rest[..space]);
        out.push('\n');
        rest = rest[space..].trim_start();
    }
    out.push_str(rest);
    out.push('\n');
}

/// Without the blank lines that block tags leave behind.
fn tidy_html(html: &str) -> String {
    html.lines().map(str::trim_end).filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

fn built_in_name(name: &str) -> String {
    format!("{name} (built in)")
}

fn io_error(path: &Path, error: &io::Error) -> TemplateError {
    TemplateError { file: path.display().to_string(), line: None, detail: error.to_string() }
}

fn read(file: &Path) -> Result<String, TemplateError> {
    fs::read_to_string(file).map_err(|error| io_error(file, &error))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    let mut paths: Vec<PathBuf> = listed.map_err(|error| io_error(directory, &error))?;
    // Hidden entries are editors' and Kubernetes' (`..data`), not templates.
    paths.retain(|path| !name_of(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

/// The languages' folders. A template beside them instead of in one would go unnoticed.
fn sub_directories(directory: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    let (folders, files): (Vec<_>, Vec<_>) = entries(directory)?.into_iter().partition(|path| path.is_dir());
    match files.iter().find(|file| is_known(&name_of(file))) {
        None => Ok(folders),
        Some(file) => Err(TemplateError {
            file: file.display().to_string(),
            line: None,
            detail: "put it into the folder of its language, such as en".to_owned(),
        }),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_known(name: &str) -> bool {
    name == STRINGS_FILE || BUILT_IN.iter().any(|(known, _)| *known == name)
}

/// The language of a directory, by its name.
fn tag_of(directory: &Path) -> Result<String, TemplateError> {
    let name = name_of(directory).to_lowercase();
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        Ok(name)
    } else {
        Err(TemplateError {
            file: directory.display().to_string(),
            line: None,
            detail: "a folder here is named by a language tag, such as de or pt-br".to_owned(),
        })
    }
}

/// The operator's files of one language, by name; any other name is a typing mistake that would go unnoticed.
fn own_files(directory: &Path) -> Result<BTreeMap<String, PathBuf>, TemplateError> {
    let mut files = BTreeMap::new();
    for path in entries(directory)? {
        let name = name_of(&path);
        if !is_known(&name) {
            let detail = format!(
                "no mail has this name; known are {STRINGS_FILE} and, each as .html and .txt, layout, {}",
                Mail::TEMPLATES.join(", ")
            );
            return Err(TemplateError { file: path.display().to_string(), line: None, detail });
        }
        files.insert(name, path);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
