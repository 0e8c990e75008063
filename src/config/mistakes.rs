//! What is wrong with a configuration, in words that say what to do.

use std::fmt;
use std::path::PathBuf;

/// Where a value was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the value that is compiled in.
    Default,
    File,
    Environment,
}

/// One thing that has to be put right before usherd starts. It never contains the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// `section.key`, or `section.key[2].field` inside a list of tables.
    pub key: String,
    /// The environment variable that sets it, where there is one.
    pub variable: Option<String>,
    pub origin: Origin,
    /// What is wrong and what to do about it.
    pub problem: String,
}

/// Something that works and is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub key: String,
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, environment_name(&self.key), self.text)
    }
}

/// All mistakes of one configuration, in the order of its keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file that was given with `--config`.
    pub file: Option<PathBuf>,
    /// Never empty.
    pub list: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.len() {
            1 => write!(f, "there is a mistake in the configuration:")?,
            n => write!(f, "there are {n} mistakes in the configuration:")?,
        }
        for mistake in &self.list {
            write!(f, "\n  {}", mistake.key)?;
            if let Some(variable) = &mistake.variable {
                write!(f, " ({variable})")?;
            }
            match (mistake.origin, &self.file) {
                (Origin::Environment, _) => write!(f, ", set in the environment")?,
                (Origin::File, Some(file)) => write!(f, ", set in {}", file.display())?,
                (Origin::File, None) | (Origin::Default, _) => {}
            }
            write!(f, ": {}", mistake.problem)?;
        }
        Ok(())
    }
}

/// The environment variable that sets `key`: `http.listen` is `USHERD_HTTP__LISTEN`.
pub fn environment_name(key: &str) -> String {
    format!("USHERD_{}", key.replace('.', "__").to_uppercase())
}
