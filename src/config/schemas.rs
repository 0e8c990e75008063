//! The schema table with what the operator adds to it (`scim.schemas_dir`).

use std::fs;
use std::path::Path;

use crate::scim::SchemaTable;

/// The built-in table, extended by every `*.json` of the directory, in the order of their names.
///
/// # Errors
/// All problems of all files.
pub fn table(directory: &Path) -> Result<SchemaTable, Vec<String>> {
    let files = read(directory)?;
    let texts = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let extended = SchemaTable::builtin().extended(texts);
    extended.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Names and texts.
fn read(directory: &Path) -> Result<Vec<(String, String)>, Vec<String>> {
    let unreadable = |path: &Path, error: std::io::Error| vec![format!("{} cannot be read: {error}", path.display())];
    let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, error))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| unreadable(directory, error))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let (mut files, mut problems) = (Vec::with_capacity(paths.len()), Vec::new());
    for path in paths {
        match fs::read_to_string(&path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(error) => problems.extend(unreadable(&path, error)),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_good_and_a_bad_file_is_named_with_its_problem() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schemas");
        let builtin = SchemaTable::builtin().schemas().len();
        assert_eq!(table(&shipped).unwrap().schemas().len(), builtin + 2, "an extension, and the schema of a type");

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.json"), "{}").unwrap();
        fs::write(folder.path().join("notes.txt"), "not read").unwrap();
        let problems = table(folder.path()).unwrap_err();
        assert!(problems.iter().all(|problem| problem.contains("bad.json")), "{problems:?}");
        let absent = table(&folder.path().join("absent")).unwrap_err();
        assert!(absent[0].contains("absent"), "{absent:?}");
    }
}
