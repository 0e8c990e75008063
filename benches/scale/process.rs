//! What `/proc` says about a process.

use std::fs::read_to_string;
use std::time::Duration;

use crate::redis_server::RedisServer;

/// The machine's `CLK_TCK`, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The id of this server's process, as it says itself.
pub fn of_redis(redis: &RedisServer) -> u32 {
    let info = redis.ask("INFO server");
    info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap()
}

/// User and system time so far.
pub fn cpu(id: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name of the program may hold spaces; everything after it does not.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Resident memory now, in MB.
pub fn resident(id: u32) -> f64 {
    megabytes(id, "VmRSS:")
}

/// The most that was resident since the start, in MB.
pub fn peak(id: u32) -> f64 {
    megabytes(id, "VmHWM:")
}

fn megabytes(id: u32, field: &str) -> f64 {
    let status = read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1_024.0
}
