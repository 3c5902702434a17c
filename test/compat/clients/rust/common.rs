//! What the Rust drivers share: the records, the output, the command line. It knows no client.
//!
//!     driver produce TOPIC FROM TO
//!     driver assign TOPIC N
//!     driver group TOPIC GROUP N
//!
//! BOOTSTRAP names the broker. The README of the directory above says what each command prints and when it ends.
#![allow(dead_code)]

use std::io::Write;
use std::time::Duration;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// assign ends after so long without a record.
pub const SILENCE: Duration = Duration::from_secs(60);
/// A rebalance or a broker that restarts may refuse the final commit for a while.
pub const FINAL_COMMIT_ATTEMPTS: usize = 20;
pub const RETRY_PAUSE: Duration = Duration::from_millis(500);

pub fn bootstrap() -> String {
    std::env::var("BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9092".into())
}

pub fn group_protocol() -> Option<String> {
    std::env::var("GROUP_PROTOCOL").ok().filter(|p| !p.is_empty())
}

pub fn key(i: u64) -> String {
    format!("k{i}")
}

pub fn value(i: u64) -> String {
    let filler: String = (0..64).map(|j| (b'a' + ((i + j) % 26) as u8) as char).collect();
    format!("v{i}-{filler}")
}

pub fn header(i: u64) -> (&'static str, String) {
    ("h", i.to_string())
}

fn line(text: String) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("standard output is open");
}

pub fn record(partition: i32, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
    let text = |b: Option<&[u8]>| String::from_utf8_lossy(b.unwrap_or_default()).into_owned();
    line(format!("{partition}\t{offset}\t{}\t{}", text(key), text(value)));
}

pub fn committed(partition: i32, offset: i64) {
    line(format!("committed\t{partition}\t{offset}"));
}

pub fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

pub fn unsupported(why: &str) -> i32 {
    note(why);
    line("unsupported".into());
    3
}

pub fn incomplete(seen: usize, wanted: usize) -> i32 {
    if seen >= wanted {
        return 0;
    }
    note(format!("{seen} records of {wanted}"));
    1
}

pub enum Command {
    Produce { topic: String, from: u64, to: u64 },
    Assign { topic: String, n: usize },
    Group { topic: String, group: String, n: usize },
}

/// The command of the command line; a wrong one ends the process.
pub fn command() -> Command {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["produce", topic, from, to] => from.parse().ok().zip(to.parse().ok()).map(|(from, to)| Command::Produce {
            topic: topic.into(),
            from,
            to,
        }),
        ["assign", topic, n] => n.parse().ok().map(|n| Command::Assign { topic: topic.into(), n }),
        ["group", topic, group, n] => n.parse().ok().map(|n| Command::Group {
            topic: topic.into(),
            group: group.into(),
            n,
        }),
        _ => None,
    };
    parsed.unwrap_or_else(|| {
        note("usage: driver produce TOPIC FROM TO | assign TOPIC N | group TOPIC GROUP N");
        std::process::exit(2)
    })
}

/// Ends the process with the command's exit code.
pub fn finish(result: Result<i32, Error>) -> ! {
    std::process::exit(result.unwrap_or_else(|err| {
        note(err);
        1
    }))
}
