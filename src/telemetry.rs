//! The log: human-readable on a terminal, one JSON object a line otherwise. `docs/LOGGING.md` says what is in it and
//! what never is.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt;

/// How and what to log.
#[derive(Debug, Clone)]
pub struct Settings {
    pub format: Format,
    pub filter: Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Human`] on a terminal, [`Format::Json`] otherwise.
    Auto,
    Human,
    Json,
}

/// Which lines are logged: `info`, or levels by module, `warn,usherd=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

/// A text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log filter: write a level such as info, or levels by module such as warn,usherd=debug")]
pub struct InvalidFilter;

impl Filter {
    /// # Errors
    /// When `text` is blank or has a malformed part.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        // A word that is no level would be taken as the name of a module that does not exist, and silence everything.
        let is_level = |word: &str| !word.is_empty() && word.parse::<tracing::level_filters::LevelFilter>().is_ok();
        let is_directive = |part: &str| part.contains(['=', '[', ':']) || is_level(part.trim());
        if text.split(',').all(is_directive) && EnvFilter::builder().parse(text).is_ok() {
            Ok(Filter(text.to_owned()))
        } else {
            Err(InvalidFilter)
        }
    }
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the log is already running")]
pub struct AlreadyRunning;

/// Starts the log of the process on standard error; `terminal` says whether that is one.
///
/// # Errors
/// When a log is running already.
pub fn init(settings: &Settings, terminal: bool) -> Result<(), AlreadyRunning> {
    subscriber(settings, terminal, std::io::stderr).try_init().map_err(|_| AlreadyRunning)
}

fn subscriber<W>(settings: &Settings, terminal: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let human = match settings.format {
        Format::Auto => terminal,
        Format::Human => true,
        Format::Json => false,
    };
    let lines = if human {
        fmt::layer().with_writer(writer).with_ansi(terminal).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(true);
        json.with_writer(writer).boxed()
    };
    registry().with(EnvFilter::new(&settings.filter.0)).with(lines.with_filter(without_secrets()))
}

/// The mail library writes whole SMTP dialogues at level debug: passwords, addresses and invitation links. No filter
/// may switch that on.
fn without_secrets() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    filter_fn(|line| *line.level() <= Level::INFO || !line.target().starts_with("lettre"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, terminal: bool, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let settings = Settings { format, filter: Filter::parse(filter).unwrap() };
        tracing::subscriber::with_default(subscriber(&settings, terminal, move || writer.clone()), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn off_a_terminal_each_line_is_a_json_object_with_its_spans() {
        let text = logged(Format::Auto, "info", false, || {
            let _request = tracing::info_span!("request", id = "r-1").entered();
            tracing::info!(account = "acme", "user created");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["level"]), (&"user created".into(), &"INFO".into()));
        assert_eq!((&line["account"], &line["spans"][0]["id"]), (&"acme".into(), &"r-1".into()));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn on_a_terminal_a_line_is_for_people() {
        let text = logged(Format::Auto, "info", true, || tracing::info!(account = "acme", "user created"));
        assert!(text.contains("user created") && !text.starts_with('{'), "{text}");
        let plain = logged(Format::Human, "info", false, || tracing::info!("user created"));
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
    }

    #[test]
    fn the_filter_decides_on_levels_by_module() {
        let text = logged(Format::Json, "warn,usherd::telemetry=debug", false, || {
            tracing::debug!("mine");
            tracing::info!(target: "elsewhere", "quiet");
            tracing::warn!(target: "elsewhere", "loud");
        });
        assert!(text.contains("mine") && text.contains("loud") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn no_filter_shows_the_dialogue_with_the_relay() {
        let text = logged(Format::Json, "trace,lettre=trace", false, || {
            tracing::debug!(target: "lettre::transport::smtp", "Wrote: AUTH PLAIN AGEAaHVudGVyMg==");
            tracing::warn!(target: "lettre::transport::smtp", "couldn't create idle connection");
        });
        assert!(!text.contains("AUTH") && text.contains("idle"), "{text}");
    }

    #[test]
    fn a_second_start_is_refused_without_a_panic() {
        let settings = Settings { format: Format::Json, filter: Filter::parse("off").unwrap() };
        // Whichever test comes first may start the log of the test process.
        let _first = init(&settings, false).is_ok();
        assert!(init(&settings, false).is_err());
    }

    #[test]
    fn a_filter_that_would_silence_everything_by_mistake_is_refused() {
        for good in
            ["info", "WARN", "off", "warn,usherd=debug", "usherd::jobs=trace,info", "info,[request{id=1}]=debug"]
        {
            assert!(Filter::parse(good).is_ok(), "{good}");
        }
        for wrong in ["", "verbose", "info,verbose", "usherd=loud", "info,,"] {
            assert_eq!(Filter::parse(wrong), Err(InvalidFilter), "{wrong:?}");
        }
    }
}
