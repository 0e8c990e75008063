//! The disk of the embedded store fills up.

use std::path::PathBuf;
use std::process::Command;

use crate::daemon::client::Request;
use crate::daemon::{Daemon, user};

/// A small file system, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status().unwrap();
        assert!(mounted.success(), "mounting a small disk needs root: run this test as root");
        SmallDisk(at)
    }

    fn enlarge(&self, size: &str) {
        let size = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_ends_the_daemon_loudly_and_loses_nothing() {
    let bounds = [("USHERD_LIMITS__SCIM", "off"), ("USHERD_PROVISIONING__HOLD_ABOVE", "off")];
    let mut daemon = Daemon::prepare(None, &[bounds[0], bounds[1], ("USHERD_BOOTSTRAP__SCIM_TOKEN", TOKEN)]);
    let disk = SmallDisk::mount(daemon.data(), "6m");
    daemon.restart();
    let create = |daemon: &Daemon, number: usize| {
        let mut body = user(&format!("person-{number}@example.com"));
        body["title"] = "x".repeat(20_000).into();
        let request = Request::new(daemon.port, "POST", "/scim/v2/Users").bearer(TOKEN).json(&body);
        request.try_send().map_or(0, |reply| reply.status)
    };
    let mut acknowledged = Vec::new();
    for number in 0..2_000 {
        match create(&daemon, number) {
            201 => acknowledged.push(number),
            503 | 0 => break,
            status => panic!("{status}"),
        }
    }
    assert_eq!(daemon.ended(), 1);
    let words = daemon.stderr();
    assert!(words.contains("look at the disk"), "{words}");
    println!("{} users fitted", acknowledged.len());
    assert!(acknowledged.len() > 20);

    disk.enlarge("64m");
    daemon.restart();
    let listed = Request::new(daemon.port, "GET", "/scim/v2/Users?count=1000&attributes=userName").bearer(TOKEN).send();
    let listed = listed.json();
    let names: Vec<&str> =
        listed["Resources"].as_array().unwrap().iter().map(|user| user["userName"].as_str().unwrap()).collect();
    for number in acknowledged {
        assert!(names.contains(&format!("person-{number}@example.com").as_str()), "user {number} is lost");
    }
    assert_eq!(create(&daemon, 5_000), 201);
    daemon.mail("person-5000@example.com", 1);
    assert_eq!(daemon.stop(), 0);
}

const TOKEN: &str = "a-token-of-twenty-characters-and-more";
