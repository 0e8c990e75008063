//! The schema table with the operator's own extensions (`scim.schemas_dir`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::scim::SchemaTable;
use crate::scim::extension::SchemaProblem;

/// Why the operator's extensions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFilesError {
    #[error("scim.schemas_dir: {path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("scim.schemas_dir: {}", list(.0))]
    Invalid(Vec<SchemaProblem>),
}

/// The built-in table, extended by every `*.json` of the directory, in the order of their names.
///
/// # Errors
/// All problems of all files.
pub fn table(directory: Option<&Path>) -> Result<SchemaTable, SchemaFilesError> {
    let builtin = SchemaTable::builtin();
    let Some(directory) = directory else { return Ok(builtin) };
    let unreadable = |path: &Path, source| SchemaFilesError::Read { path: path.to_owned(), source };
    let entries = fs::read_dir(directory).map_err(|source| unreadable(directory, source))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|source| unreadable(directory, source))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut files = Vec::with_capacity(paths.len());
    for path in &paths {
        let text = fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
        files.push((path.display().to_string(), text));
    }
    let texts = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    builtin.extended(texts).map_err(SchemaFilesError::Invalid)
}

fn list(problems: &[SchemaProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_extension_is_one_and_a_bad_file_is_named_with_its_problem() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schemas");
        let builtin = SchemaTable::builtin().schemas().len();
        assert_eq!(table(Some(&shipped)).unwrap().schemas().len(), builtin + 1);

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.json"), "{}").unwrap();
        fs::write(folder.path().join("notes.txt"), "not read").unwrap();
        let problem = table(Some(folder.path())).unwrap_err().to_string();
        assert!(problem.contains("bad.json"), "{problem}");
        let absent = table(Some(&folder.path().join("absent"))).unwrap_err().to_string();
        assert!(absent.contains("absent"), "{absent}");
    }
}
