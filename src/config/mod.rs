//! Configuration: three layers, each key on its own, every mistake at once.
//!
//! `config/default.toml` is compiled in and is the first layer and the list of all keys; a file and the environment
//! lie above it. `settings` is what the other layers see: plain, typed and checked. `layers` merges, `reader`
//! reads key by key and collects what is wrong, `sections` says which key has which form, `checks` what must fit
//! together, `values` how a value is written, `schemas` reads the operator's own ones, and `compose` makes of it what each
//! layer wants to know.

mod checks;
mod compose;
mod issuers;
mod layers;
mod mistakes;
mod public_url;
mod reader;
mod schemas;
mod sections;
pub mod settings;
pub mod values;

use std::path::Path;

pub use layers::DEFAULTS;
pub use mistakes::{Mistake, Mistakes, Origin, Warning, environment_name};
pub use public_url::PublicUrl;
pub use settings::Settings;

use layers::Layers;
use reader::Reader;

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// What works and is probably not meant; to be logged at start.
    pub warnings: Vec<Warning>,
}

/// The way in: [`Configuration::load`].
pub struct Configuration;

impl Configuration {
    /// Reads the configuration: the defaults, then `file`, then the variables of `env` that begin with `USHERD_` and
    /// have `__` between section and key. Other variables are ignored.
    ///
    /// # Errors
    /// All mistakes, of all layers and keys.
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Loaded, Mistakes> {
        let (layers, mistakes) = Layers::gather(file, env);
        let mut reader = Reader::new(layers, mistakes);
        let settings = sections::settings(&mut reader);
        checks::check(&mut reader, &settings);
        let Reader { mut mistakes, warnings, .. } = reader;
        if mistakes.is_empty() {
            return Ok(Loaded { settings, warnings });
        }
        mistakes.sort_by(|one, other| one.key.cmp(&other.key));
        Err(Mistakes { file: file.map(Path::to_owned), list: mistakes })
    }
}

#[cfg(test)]
mod tests;
