//! The console in a real browser: `guide.mjs` walks the steps of the user-management guide and reports here.

use std::path::Path;
use std::process::Command;

#[test]
fn every_step_of_the_guide_works_in_a_browser_and_every_page_is_accessible() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let walked = Command::new("node")
        .arg(root.join("tests/console/guide.mjs"))
        .args(["--binary", env!("CARGO_BIN_EXE_usherd")])
        .current_dir(root)
        .output()
        .expect("node is installed: see tests/run");
    let (out, log) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "(tests/run installs what the script needs)\n{out}\n{log}");
}
