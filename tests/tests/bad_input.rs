//! What people and disks really hand to the programs: each case has a message that helps, the right exit code, and
//! nothing is lost.

use std::fs;
use std::io::Cursor;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use facelatch_host::client::{Client, Credentials};
use facelatch_host::connect::Target;
use facelatch_host::home::Home;
use facelatch_host::keys::HostSecret;
use facelatch_host::pack::{Contents, gather};
use facelatch_models::classifier::Classifier;
use facelatch_models::embedding::SpaceId;
use facelatch_protocol::{PublicKey, Refusal};
use facelatch_tests::PATIENCE;
use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::people::enrolled;
use facelatch_tests::programs::{Ended, data, facelatch, on_a_full_disk, run};
use image::{DynamicImage, ImageFormat};

/// The exit codes every program uses.
const NO: i32 = 1;
const WRONG_CALL: i32 = 2;
const FAILED: i32 = 4;

/// What is wrong with how a program ended, if anything.
fn wrong(name: &str, ended: &Ended, code: i32, says: &[&str]) -> Option<String> {
    let mut complaints = Vec::new();
    if ended.code != Some(code) {
        complaints.push(format!("exit {:?}, not {code}", ended.code));
    }
    for part in says {
        if !ended.err.contains(part) {
            complaints.push(format!("no {part:?}"));
        }
    }
    if ended.err.contains("panicked") {
        complaints.push("a panic".to_string());
    }
    (!complaints.is_empty()).then(|| {
        format!(
            "{name}: {} in: {}{}",
            complaints.join(", "),
            ended.out,
            ended.err
        )
    })
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::new_rgb8(64, 64)
        .write_to(&mut Cursor::new(&mut bytes), format)
        .expect("encodes");
    bytes
}

/// A PNG of a few bytes that claims 20,000 x 20,000 pixels: width and height are bytes 16..24, then the chunk's CRC.
fn png_bomb() -> Vec<u8> {
    let mut png = encoded(ImageFormat::Png);
    png[16..20].copy_from_slice(&20_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&20_000u32.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

/// CRC-32 as in PNG (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A BMP that claims the same: width and height are bytes 18..26, little-endian.
fn bmp_bomb() -> Vec<u8> {
    let mut bmp = encoded(ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&20_000i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&20_000i32.to_le_bytes());
    bmp
}

/// Two faces of the same size, side by side.
fn two_faces(path: &Path) {
    let one = image::open(data("demo/visitors/obama2.jpg"))
        .expect("a shipped photo")
        .thumbnail(480, 480);
    let mut both = image::RgbImage::new(2 * one.width(), one.height());
    for x in [0, i64::from(one.width())] {
        image::imageops::replace(&mut both, &one.to_rgb8(), x, 0);
    }
    both.save(path).expect("a new file");
}

#[test]
fn photos_that_are_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = fs::read(data("demo/visitors/obama2.jpg")).expect("a shipped photo");
    let cases: [(&str, Vec<u8>); 7] = [
        ("empty.jpg", Vec::new()),
        ("text.jpg", b"this is a letter, not a photo\n".to_vec()),
        ("header-only.jpg", whole[..64].to_vec()),
        ("truncated.png", encoded(ImageFormat::Png)[..60].to_vec()),
        ("bomb.png", png_bomb()),
        ("bomb.bmp", bmp_bomb()),
        ("zip.webp", b"PK\x03\x04\x00\x00\x00\x00".to_vec()),
    ];
    let mut failures = Vec::new();
    for (name, bytes) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a small file");
        for verb in ["detect", "embed"] {
            let ended = run(facelatch(folder.path()).arg(verb).arg(&path));
            failures.extend(wrong(
                &format!("{verb} {name}"),
                &ended,
                WRONG_CALL,
                &[name],
            ));
        }
    }
    let missing = folder.path().join("nobody.jpg");
    let ended = run(facelatch(folder.path()).arg("detect").arg(&missing));
    failures.extend(wrong("missing photo", &ended, WRONG_CALL, &["nobody.jpg"]));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn photos_without_a_face() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut failures = Vec::new();
    for verb in ["detect", "embed"] {
        let ended = run(facelatch(folder.path())
            .arg(verb)
            .arg(data("demo/visitors/rocket.jpg")));
        failures.extend(wrong(verb, &ended, NO, &[]));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn folders_laid_out_wrongly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path().join("home");
    let at = |name: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).expect("a new folder");
        path
    };
    let portrait = data("demo/visitors/obama2.jpg");
    fs::copy(&portrait, at("photos at the top").join("a.jpg")).expect("a copy");
    at("empty");
    at("nobody's photos/ada");
    fs::write(folder.path().join("a file"), b"x").expect("a small file");
    fs::copy(
        data("demo/visitors/rocket.jpg"),
        at("no face/ada").join("1.jpg"),
    )
    .expect("a copy");
    two_faces(&at("two faces/ada").join("1.png"));
    fs::write(at("no photo/ada").join("1.jpg"), b"").expect("an empty file");

    let cases: [(&str, i32, &[&str]); 8] = [
        ("photos at the top", WRONG_CALL, &["ada_lovelace/1.jpg"]),
        ("empty", WRONG_CALL, &["empty"]),
        ("nobody's photos", WRONG_CALL, &["ada"]),
        ("a file", WRONG_CALL, &["a file"]),
        ("not there", WRONG_CALL, &["no such folder"]),
        ("no face", NO, &[]),
        ("two faces", NO, &[]),
        ("no photo", NO, &[]),
    ];
    let mut failures = Vec::new();
    for (name, code, says) in cases {
        let ended = run(facelatch(&home).arg("enroll").arg(folder.path().join(name)));
        failures.extend(wrong(name, &ended, code, says));
    }
    let ended = run(facelatch(&folder.path().join("new home")).arg("train"));
    failures.extend(wrong(
        "train with nobody enrolled",
        &ended,
        WRONG_CALL,
        &["enroll"],
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_gallery_of_another_embedding_space_is_refused_and_the_old_one_stays() {
    let people = enrolled();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door_data = folder.path().join("door");
    let door = Door::start(&mut facelatchd(&door_data));
    door.client()
        .push(&people.bundle(), |_, _| {})
        .expect("a good bundle");
    let before = door.client().status().expect("the door answers");

    let home = Home::new(&people.home());
    let enrolled = home.people().expect("enrolled");
    let trained = home.current_classifier(&enrolled).expect("trained");
    let space = SpaceId::parse("somebody-else-512").expect("a space");
    let others: Vec<_> = enrolled
        .into_iter()
        .map(|mut person| {
            for template in &mut person.templates {
                template.space = space.clone();
            }
            person
        })
        .collect();
    let classifier = Classifier {
        space: space.clone(),
        ..trained.classifier
    };
    let parts = gather(&Contents {
        space: &space,
        networks: None,
        head: None,
        classifier: Some(&classifier),
        calibration: None,
        people: Some(&others),
        policy: None,
        self_test: None,
        replace: false,
    })
    .expect("parts of their own space");
    let signer = home.keys().signer().expect("signing keys");
    let (bundle, _) = parts.sign(u64::MAX, 0, &signer).expect("a bundle");
    let path = folder.path().join("other.flb");
    fs::write(&path, bundle).expect("a small file");

    let refused = door
        .client()
        .push(&path, |_, _| {})
        .expect_err("another space")
        .to_string();
    assert!(refused.contains("space"), "{refused}");
    let after = door.client().status().expect("the door answers");
    assert_eq!((after.state, after.active), (before.state, before.active));
}

#[test]
fn a_full_disk_loses_nothing() {
    let people = enrolled();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut failures = Vec::new();

    // The host: a bundle that does not fit leaves the bundle that was there.
    let bundle = folder.path().join("people.flb");
    fs::copy(people.bundle(), &bundle).expect("a copy");
    let old = fs::read(&bundle).expect("a bundle");
    let mut pack = facelatch(&people.home());
    pack.arg("pack").arg("--out").arg(&bundle);
    let ended = run(&mut on_a_full_disk(&pack, 4));
    failures.extend(wrong("pack", &ended, FAILED, &["people.flb"]));
    assert_eq!(
        fs::read(&bundle).expect("still there"),
        old,
        "the old bundle is whole"
    );

    // The door: a bundle that does not fit is refused, and the old state stays. Of what this door has not got, the self-test
    // (150 KB) alone is larger than the limit; all that a door writes by itself is smaller.
    let [small, large] = ["small.flb", "large.flb"].map(|name| folder.path().join(name));
    let packs: [(&Path, &[&str]); 2] = [(&small, &["--without-self-test"]), (&large, &[])];
    for (path, more) in packs {
        let mut pack = facelatch(&people.home());
        let ended = run(pack.arg("pack").arg("--out").arg(path).args(more));
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    }
    let door_data = folder.path().join("door");
    let door = Door::start(&mut facelatchd(&door_data));
    door.client()
        .push(&small, |_, _| {})
        .expect("a good bundle");
    let standing = |door: &Door| {
        let mut client = door.client();
        let status = client.status().expect("the door answers");
        let update = client.update_status().expect("the door answers");
        let trial = update.trial.map(|trial| trial.id);
        (status.state, trial, update.highest_counter, status.people)
    };
    let before = standing(&door);
    assert_eq!(door.stop().code, Some(0));
    let mut limited = on_a_full_disk(&facelatchd(&door_data), 64);
    let door = Door::start(limited.env("RUST_LOG", "info"));
    match door.client().push(&large, |_, _| {}) {
        Ok(pushed) => failures.push(format!("push to a full disk: {pushed:?}")),
        Err(error) if error.refusal() == Some(&Refusal::Storage) => {}
        Err(error) => failures.push(format!("push to a full disk: {error}")),
    }
    assert_eq!(standing(&door), before, "the old state is whole");
    assert_eq!(door.stop().code, Some(0));

    let door = Door::start(&mut facelatchd(&door_data));
    assert_eq!(standing(&door), before, "the old state is whole");
    let pushed = door.client().push(&large, |_, _| {}).expect("room enough");
    assert!(pushed.saved > 0, "it goes on where it stopped: {pushed:?}");
    assert_ne!(standing(&door), before);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_port_in_use_and_a_folder_in_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut second = Command::new(facelatch_tests::programs::program("facelatchd"));
    second
        .arg("--data")
        .arg(folder.path().join("a"))
        .arg("--listen")
        .arg(&address);
    second.current_dir(facelatch_tests::programs::root());
    let ended = run(&mut second);
    let mut failures: Vec<String> = wrong("port in use", &ended, WRONG_CALL, &[&address, "in use"])
        .into_iter()
        .collect();

    let _door = Door::start(&mut facelatchd(&folder.path().join("b")));
    let ended = run(&mut facelatchd(&folder.path().join("b")));
    failures.extend(wrong(
        "folder in use",
        &ended,
        WRONG_CALL,
        &["in use by another facelatchd"],
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn wrong_boards_and_settings_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let photos = folder.path().join("no photos");
    fs::create_dir(&photos).expect("a new folder");
    let settings = folder.path().join("device.toml");
    fs::write(&settings, "[door]\nunlok_ms = 1000\n").expect("a small file");
    let door_data = folder.path().join("door");
    let mut failures = Vec::new();
    let ended = run(facelatchd(&door_data).arg("--config").arg(&settings));
    failures.extend(wrong(
        "mistyped setting",
        &ended,
        WRONG_CALL,
        &["unlok_ms", "unlock_ms"],
    ));
    let ended = run(facelatchd(&door_data).args(["--board", "p4"]));
    failures.extend(wrong(
        "unknown board",
        &ended,
        WRONG_CALL,
        &["did you mean \"pi4\"?"],
    ));
    let ended = run(facelatchd(&door_data).arg("--replay").arg(&photos));
    failures.extend(wrong(
        "replay of nothing",
        &ended,
        WRONG_CALL,
        &["no photos"],
    ));
    let ended = run(facelatchd(&door_data).args(["--board", "pi4"]));
    failures.extend(wrong(
        "board not built in",
        &ended,
        WRONG_CALL,
        &["--features"],
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn dead_and_silent_peers() {
    let credentials = Credentials {
        secret: HostSecret::new([1; 32]),
        door: PublicKey([2; 32]),
    };
    // Nobody listens: the port was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("bound");
    let target: Target = free.to_string().parse().expect("an address");
    let Err(dead) = Client::connect(&target, &credentials, PATIENCE) else {
        panic!("nobody is there")
    };
    assert!(dead.to_string().contains("could not reach"), "{dead}");

    // Somebody listens and says nothing: the system accepts the connection, nobody answers the greeting.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target: Target = silent
        .local_addr()
        .expect("bound")
        .to_string()
        .parse()
        .expect("an address");
    let Err(quiet) = Client::connect(&target, &credentials, Duration::from_millis(300)) else {
        panic!("nobody answers")
    };
    assert!(quiet.to_string().contains("did not answer"), "{quiet}");
}
