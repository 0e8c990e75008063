//! Whether a daemon stays quick and small with a million people: real daemons and a real redis-server, measured from
//! outside by `/proc` and by what the store holds. Figures and targets: docs/PERFORMANCE.md.
//!
//! ```text
//! cargo bench --bench scale -- drain [--users 1000000]
//! cargo bench --bench scale -- mails [--users 2000]
//! cargo bench --bench scale -- idle [--accounts 10000] [--seconds 60]
//! cargo bench --bench scale -- reconcile [--users 100000]
//! ```
//!
//! Without a name each of them runs in a small form, which takes some three minutes.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(clippy::disallowed_methods, reason = "real processes are measured by the machine's clock")]

#[path = "../../tests/support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the tests need")]
mod daemon;
#[path = "../../tests/support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests need")]
mod redis_server;

mod bare;
mod drain;
mod fill;
mod idle;
mod load;
mod process;
mod reconcile;

use std::collections::BTreeMap;

/// What is to be measured, and how large.
struct Wanted {
    name: Option<String>,
    numbers: BTreeMap<String, usize>,
}

impl Wanted {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut wanted = Wanted { name: None, numbers: BTreeMap::new() };
        // cargo adds `--bench`.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some(option) => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    let number = number.unwrap_or_else(|| panic!("--{option} wants a number"));
                    wanted.numbers.insert(option.to_owned(), number);
                }
                None => wanted.name = Some(argument),
            }
        }
        wanted
    }

    fn number(&self, option: &str, default: usize) -> usize {
        self.numbers.get(option).copied().unwrap_or(default)
    }
}

fn main() {
    let wanted = Wanted::parse(std::env::args().skip(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match wanted.name.as_deref() {
        Some("drain") => drain::expiries(&runtime, wanted.number("users", 100_000)),
        Some("mails") => drain::mails(&runtime, wanted.number("users", 2_000)),
        Some("idle") => idle::run(&runtime, wanted.number("accounts", 10_000), wanted.number("seconds", 60)),
        Some("reconcile") => reconcile::run(&runtime, wanted.number("users", 100_000)),
        Some(other) => panic!("nothing is called {other}: drain, mails, idle, reconcile"),
        None => {
            drain::expiries(&runtime, 20_000);
            drain::mails(&runtime, 500);
            idle::run(&runtime, 2_000, 30);
            reconcile::run(&runtime, 10_000);
        }
    }
}
