//! Two hundred uploads at once, good photos and bad: every one is answered, nothing panics, memory is bounded.

use std::fs;
use std::thread;

use facelatch_tests::server::Server;

use crate::photo;

const UPLOADS: usize = 200;
/// What the server may take, in MiB: eight photos of 16 MiB in memory, one of 40 megapixels decoded with its scaled copies,
/// the networks, and room.
const MOST_MIB: u64 = 700;

#[test]
fn two_hundred_uploads_at_once_are_all_answered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let good = photo("enroll/barack_obama/obama.jpg");
    let cases: Vec<(Vec<u8>, bool)> = vec![
        (good.clone(), true),
        (photo("visitors/chelsea.png"), false),
        (good[..good.len() / 2].to_vec(), false),
        (Vec::new(), false),
        (vec![0x5a; 3 << 20], false),
        (bomb(), false),
        (photo("visitors/biden.jpg"), true),
        (b"\x89PNG\r\n\x1a\n".to_vec(), false),
    ];
    let answers: Vec<_> = thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|n| {
                let (bytes, good) = &cases[n % cases.len()];
                // Bytes behind a photo's end make it another file of the same picture.
                let bytes = match good {
                    true => [&bytes[..], &n.to_le_bytes()].concat(),
                    false => bytes.clone(),
                };
                let (server, path) = (
                    &server,
                    format!("/api/v1/datasets/stress/people/p{}/photos", n % cases.len()),
                );
                let upload = scope.spawn(move || server.upload(&path, &[("p.jpg", &bytes)]));
                (n, *good, upload)
            })
            .collect();
        let joined = uploads.into_iter();
        joined
            .map(|(n, good, upload)| (n, good, upload.join().expect("an answer")))
            .collect()
    });
    let mut failures = Vec::new();
    for (n, good, answer) in &answers {
        let accepted = answer.status == 200 && answer.json()["photos"][0]["accepted"] == true;
        if answer.status != 200 || accepted != *good {
            failures.push(format!("{n}: {} {}", answer.status, answer.text()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let peak = peak_mib(server.pid());
    assert!(peak < MOST_MIB, "{peak} MiB");
    println!("{UPLOADS} uploads at once, {peak} MiB at most");
    server.ask("GET", "/api/v1/health").expect(200);
    let ended = server.stop();
    assert!(
        ended.code == Some(0) && !ended.err.contains("panicked"),
        "{}",
        ended.err
    );
}

/// A small file of very many pixels.
fn bomb() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(7000, 6000)
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("a picture");
    png.into_inner()
}

/// The most memory a process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux tells");
    let kib: u64 = peak
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib / 1024
}
