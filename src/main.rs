//! The `usherd` command.

fn main() {}
