//! The real program on what operators really do: right calls, wrong calls, exit codes and what is left on disk.
//!
//! Broken photos, dead peers and full disks against a running door are in the workspace's `tests`; here is what the
//! host's verbs promise by themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use facelatch_int8::Isa;
use serde_json::Value;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/demo")
        .join(path)
}

/// Runs `facelatch` in `folder`, whose subfolder `home` is the workspace.
fn facelatch(folder: &Path, args: &[&str]) -> Ended {
    facelatch_with(folder, args, &[])
}

/// The same with more in its environment.
fn facelatch_with(folder: &Path, args: &[&str], settings: &[(&str, &str)]) -> Ended {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo");
    let output = Command::new(env!("CARGO_BIN_EXE_facelatch"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .args(args)
        .current_dir(folder)
        .env("FACELATCH_HOME", folder.join("home"))
        .env("FACELATCH_ZOO", zoo)
        .envs(settings.iter().copied())
        .output()
        .expect("the program starts");
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}{}", ended.out, ended.err))
}

/// All the demo's photos.
fn photos() -> Vec<String> {
    let mut photos = Vec::new();
    for folder in ["visitors", "enroll/barack_obama", "enroll/eileen_collins"] {
        for entry in fs::read_dir(data(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e != "txt") {
                photos.push(path.display().to_string());
            }
        }
    }
    photos.sort();
    photos
}

#[test]
fn a_photo_gives_the_same_embedding_on_every_instruction_set() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos();
    let embed = |settings: &[(&str, &str)]| {
        // Both networks: depthwise convolutions too.
        let mut args = vec!["embed", "--json", "--net", "fused", "--min-face-px", "40"];
        args.extend(photos.iter().map(String::as_str));
        let ended = facelatch_with(folder.path(), &args, settings);
        // Two of the photos show no face.
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        ended.out
    };
    let expected = embed(&[]);
    assert_eq!(expected.lines().count(), photos.len());
    for isa in Isa::available() {
        let found = embed(&[("FACELATCH_ISA", isa.name())]);
        assert!(found == expected, "{isa}");
    }
    for threads in ["2", "3", "4"] {
        let found = embed(&[("FACELATCH_THREADS", threads)]);
        assert!(found == expected, "{threads} threads");
    }
}

#[test]
fn each_network_has_a_space_of_its_own_and_they_are_not_mixed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let photo = data("enroll/barack_obama/obama.jpg").display().to_string();
    let mut spaces = Vec::new();
    for (net, numbers) in [("facenet", 512), ("mobilefacenet", 192), ("fused", 704)] {
        let embedded = json(&facelatch(
            at,
            &["embed", &photo, "--matching", "--net", net, "--json"],
        ));
        let values = embedded["values"].as_array().expect("numbers");
        assert_eq!(values.len(), numbers, "{net}");
        let space = embedded["space"].as_str().expect("a space").to_owned();
        assert!(space.starts_with(&format!("{net}-{numbers}-")), "{space}");
        spaces.push(space);
    }
    let photos = data("enroll").display().to_string();
    let enrolled = facelatch(at, &["enroll", &photos, "--net", "mobilefacenet"]);
    assert_eq!(enrolled.code, Some(0), "{}", enrolled.err);
    let cases = [
        // Some of the people only.
        (vec!["enroll", "SOME", "--net", "facenet"], &spaces[0]),
        (vec!["train", "--net", "fused"], &spaces[2]),
    ];
    let some = at.join("some/eileen_collins");
    fs::create_dir_all(&some).expect("a folder");
    fs::copy(
        data("enroll/eileen_collins/astronaut.png"),
        some.join("astronaut.png"),
    )
    .expect("a photo");
    let some = at.join("some").display().to_string();
    for (args, space) in cases {
        let args: Vec<&str> = args
            .into_iter()
            .map(|a| if a == "SOME" { &some } else { a })
            .collect();
        let refused = facelatch(at, &args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.err);
        assert!(
            refused.err.contains(space.as_str()),
            "{args:?}: {}",
            refused.err
        );
    }
    // Without a word, the people's own network is used.
    let again = facelatch(at, &["enroll", &some]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    let trained = json(&facelatch(at, &["train", "--json"]));
    assert_eq!(trained["space"], spaces[1].as_str());
    let packed = json(&facelatch(at, &["pack", "--with-networks", "--json"]));
    assert_eq!(packed["space"], spaces[1].as_str());
    let bytes = packed["bytes"].as_u64().expect("a size");
    assert!(bytes < 5_000_000, "FaceNet, of 24 MB, is in it: {bytes}");
    let judged = json(&facelatch(at, &["predict", &photo, "--json"]));
    assert_eq!(judged["faces"][0]["person"], "barack_obama");
}

/// A call that must not be answered: arguments, exit code, what standard error says.
struct Case {
    args: &'static [&'static str],
    code: i32,
    says: &'static str,
}

fn check(folder: &Path, cases: &[Case]) {
    let mut failures = Vec::new();
    for case in cases {
        let ended = facelatch(folder, case.args);
        let said = ended.err.contains(case.says) && !ended.err.contains("panicked");
        if ended.code != Some(case.code) || !said {
            failures.push(format!(
                "{:?}: expected {} and {:?}, found {:?}: {}{}",
                case.args, case.code, case.says, ended.code, ended.out, ended.err
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn wrong_calls_say_what_would_be_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("letter.onnx"), b"dear network").expect("a small file");
    fs::write(folder.path().join("bad.flb"), b"FLB1 and nothing else").expect("a small file");
    fs::create_dir_all(folder.path().join("photos/ada")).expect("a folder");
    fs::write(folder.path().join("photos/ada/1.jpg"), b"").expect("an empty file");
    fs::write(folder.path().join("groups.csv"), b"person,group\nada\n").expect("a small file");
    check(
        folder.path(),
        &[
            Case {
                args: &[],
                code: 2,
                says: "Usage",
            },
            Case {
                args: &["enrol", "x"],
                code: 2,
                says: "enroll",
            },
            Case {
                args: &["detect"],
                code: 2,
                says: "PHOTO",
            },
            Case {
                args: &["detect", "nobody.jpg"],
                code: 2,
                says: "nobody.jpg",
            },
            Case {
                args: &["detect", "letter.onnx", "--min-face-px", "3"],
                code: 2,
                says: "12",
            },
            Case {
                args: &["train"],
                code: 2,
                says: "facelatch enroll",
            },
            Case {
                args: &["pack"],
                code: 2,
                says: "facelatch enroll",
            },
            Case {
                args: &["predict", "nobody.jpg"],
                code: 2,
                says: "facelatch enroll",
            },
            Case {
                args: &["predict", "nobody.jpg", "--out", "a.txt"],
                code: 2,
                says: ".jpg, .png",
            },
            Case {
                args: &["evaluate", "nowhere"],
                code: 2,
                says: "no such folder",
            },
            Case {
                args: &["evaluate", "photos", "--groups", "groups.csv"],
                code: 2,
                says: "line 2",
            },
            Case {
                args: &["evaluate", "photos", "--groups", "no.csv"],
                code: 2,
                says: "no.csv",
            },
            Case {
                args: &["evaluate", "photos", "--splits", "3"],
                code: 2,
                says: "--open-set",
            },
            Case {
                args: &["train", "--dims", "64"],
                code: 2,
                says: "--dims goes with --metric triplet",
            },
            Case {
                args: &["train", "--metric", "triplet", "--margin", "0"],
                code: 2,
                says: "the margin must be above 0",
            },
            Case {
                args: &["train", "--metric", "triplet", "--compare"],
                code: 2,
                says: "cannot be used with",
            },
            Case {
                args: &["train", "--metric", "triplet"],
                code: 2,
                says: "20 people with two photos or more",
            },
            Case {
                args: &["calibrate"],
                code: 2,
                says: "facelatch enroll",
            },
            Case {
                args: &["calibrate", "--people", "3"],
                code: 2,
                says: "DIR",
            },
            Case {
                args: &["calibrate", "photos", "--people", "300"],
                code: 2,
                says: "cannot enroll 300 people",
            },
            Case {
                args: &["models", "inspect", "letter.onnx"],
                code: 2,
                says: "letter.onnx",
            },
            Case {
                args: &["people", "add", "none"],
                code: 2,
                says: "reserved",
            },
            Case {
                args: &["people", "add", "a/b"],
                code: 2,
                says: "'/'",
            },
            Case {
                args: &["people", "remove", "..", "--to", "127.0.0.1:1"],
                code: 2,
                says: "\"..\"",
            },
            Case {
                args: &["status", "--to", "127.0.0.1:0"],
                code: 2,
                says: "port",
            },
            Case {
                args: &["status", "--to", "127.0.0.1:99999"],
                code: 2,
                says: "port",
            },
            Case {
                args: &["push", "bad.flb", "--to", ""],
                code: 2,
                says: "HOST:PORT",
            },
            // Nothing listens on port 1, and there is no such serial device.
            Case {
                args: &["status", "--to", "127.0.0.1:1"],
                code: 4,
                says: "could not reach 127.0.0.1:1",
            },
            Case {
                args: &["pull", "--to", "/dev/ttyNOBODY9"],
                code: 4,
                says: "/dev/ttyNOBODY9",
            },
            Case {
                args: &["events", "--to", "127.0.0.1:1"],
                code: 4,
                says: "could not reach",
            },
            Case {
                args: &["detect", "letter.onnx", "--zoo", "nowhere"],
                code: 2,
                says: "manifest.toml",
            },
        ],
    );
}

#[test]
fn help_of_every_verb_has_an_example() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let verbs = [
        "enroll",
        "train",
        "calibrate",
        "evaluate",
        "export",
        "embed",
        "detect",
        "predict",
        "pair",
        "hosts",
        "doors",
        "keys",
        "policy",
        "pack",
        "push",
        "pull",
        "status",
        "people",
        "events",
        "demo",
        "bench",
        "models",
    ];
    for verb in verbs {
        let ended = facelatch(folder.path(), &[verb, "--help"]);
        assert_eq!(ended.code, Some(0), "{verb}");
        assert!(
            ended.out.contains(&format!("Example: facelatch {verb}")),
            "{verb}: {}",
            ended.out
        );
    }
}

/// R-Net tells faces from what is none: here it stands for a network that tells living faces.
#[test]
fn a_liveness_network_is_added_to_a_zoo_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo");
    for (from, to) in [
        ("rnet", "first.onnx"),
        ("rnet", "second.onnx"),
        ("pnet", "any.onnx"),
    ] {
        fs::copy(shipped.join(format!("mtcnn-{from}-int8.onnx")), at.join(to)).expect("a copy");
    }
    let add = |file: &str, out: &str, more: &[&str]| {
        let args = [
            "models",
            "add",
            file,
            "--role",
            "liveness",
            "--licence",
            "MIT",
        ];
        let args = [&args, &["--out", out, "--json"][..], more].concat();
        facelatch_with(at, &args, &[("FACELATCH_ZOO", &zoo(at))])
    };
    // The zoo that ships until there is another.
    fn zoo(at: &Path) -> String {
        let own = at.join("zoo");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo");
        let zoo = if own.is_dir() { own } else { shipped };
        zoo.display().to_string()
    }
    let usual = ["--live", "1", "--threshold", "0.5"];
    struct Refused(&'static str, &'static str, [&'static str; 4], &'static str);
    let cases = [
        Refused("no network", "nothing.onnx", usual, "nothing.onnx"),
        Refused("any size", "any.onnx", usual, "no fixed height"),
        Refused(
            "no such output",
            "first.onnx",
            ["--live", "2", "--threshold", "0.5"],
            "place 2",
        ),
        Refused(
            "no probability",
            "first.onnx",
            ["--live", "1", "--threshold", "1.5"],
            "between 0 and 1",
        ),
        Refused(
            "a name that is a path",
            "first.onnx",
            ["--live", "1", "--threshold=0.5", "--name=../x"],
            "plain name",
        ),
        Refused(
            "a name that is taken",
            "first.onnx",
            ["--live", "1", "--threshold=0.5", "--name=facenet"],
            "twice",
        ),
    ];
    let mut failures = vec![];
    for Refused(what, file, more, says) in cases {
        let ended = add(file, "zoo", &more);
        if ended.code != Some(2) || !ended.err.contains(says) || at.join("zoo").exists() {
            failures.push(format!("{what}: {:?} {}", ended.code, ended.err));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");

    let added = json(&add("first.onnx", "zoo", &usual));
    assert_eq!(
        (&added["name"], &added["int8"]),
        (&"first".into(), &true.into())
    );
    assert_eq!(added["input_px"], serde_json::json!([24, 24]));
    let taken = add("second.onnx", "zoo", &usual);
    assert!(
        taken.code == Some(2) && taken.err.contains("--replace"),
        "{}",
        taken.err
    );
    let replaced = json(&add(
        "second.onnx",
        "zoo",
        &[&usual[..], &["--replace"]].concat(),
    ));
    assert_eq!(replaced["replaced"], "first");
    assert!(!at.join("zoo/first.onnx").exists() && at.join("zoo/second.onnx").exists());

    let listed = facelatch_with(
        at,
        &["models", "list", "--json"],
        &[("FACELATCH_ZOO", &zoo(at))],
    );
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let networks = json(&listed)["networks"].clone();
    let is_live = |network: &&Value| network["role"] == "liveness";
    let live: Vec<_> = networks
        .as_array()
        .expect("a list")
        .iter()
        .filter(is_live)
        .collect();
    assert_eq!(live.len(), 1, "{networks}");
    assert_eq!(live[0]["liveness"]["live"], 1);
}

/// From photos to a bundle, and what a damaged workspace or a changed one means for each step.
#[test]
fn enroll_train_predict_pack_and_a_damaged_workspace() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let photos = data("enroll");
    let photos = photos.to_str().expect("a path in UTF-8");

    let enrolled = facelatch(at, &["enroll", photos, "--json"]);
    assert_eq!(enrolled.code, Some(0), "{}", enrolled.err);
    let report = json(&enrolled);
    assert_eq!(report["people"][0]["person"], "barack_obama");
    assert_eq!(report["people"][0]["name"], "Barack Obama");
    assert_eq!(report["people"][1]["templates"], 1);

    check(
        at,
        &[Case {
            args: &["pack"],
            code: 2,
            says: "facelatch train",
        }],
    );
    let trained = json(&facelatch(at, &["train", "--json"]));
    assert_eq!(
        (&trained["people"], &trained["accuracy"]),
        (&2.into(), &1.0.into())
    );

    let known = data("visitors/obama2.jpg");
    let known = known.to_str().expect("a path in UTF-8");
    let found = facelatch(at, &["predict", known, "--out", "tagged.png", "--json"]);
    assert_eq!(found.code, Some(0), "{}", found.err);
    assert_eq!(json(&found)["faces"][0]["person"], "barack_obama");
    let (plain, tagged) = (image::open(known), image::open(at.join("tagged.png")));
    let (plain, tagged) = (
        plain.expect("a photo").to_rgb8(),
        tagged.expect("a picture").to_rgb8(),
    );
    assert_eq!(plain.dimensions(), tagged.dimensions());
    assert_ne!(plain, tagged, "something is drawn");
    let stranger = data("visitors/biden.jpg");
    let stranger = facelatch(
        at,
        &["predict", stranger.to_str().expect("UTF-8"), "--json"],
    );
    assert_eq!(stranger.code, Some(1), "{}", stranger.out);
    assert_eq!(json(&stranger)["faces"][0]["person"], Value::Null);

    let first = json(&facelatch(at, &["pack", "--json"]));
    let second = json(&facelatch(at, &["pack", "--json", "--out", "second.flb"]));
    assert!(
        second["counter"].as_u64() > first["counter"].as_u64(),
        "{first} {second}"
    );

    // A person gone: the classifier is out of date, and says so.
    assert_eq!(
        facelatch(at, &["people", "remove", "eileen_collins"]).code,
        Some(0)
    );
    assert_eq!(
        facelatch(at, &["people", "remove", "eileen_collins"]).code,
        Some(1)
    );
    check(
        at,
        &[Case {
            args: &["pack"],
            code: 2,
            says: "facelatch train",
        }],
    );

    // A damaged person file is named and never half read.
    let file = at.join("home/people/barack_obama");
    let mut bytes = fs::read(&file).expect("a person");
    bytes[40] ^= 1;
    fs::write(&file, &bytes).expect("a small file");
    check(
        at,
        &[Case {
            args: &["train"],
            code: 4,
            says: "barack_obama is damaged",
        }],
    );
    // Enrolling again heals it, from the cache.
    fs::remove_file(&file).expect("it was there");
    assert_eq!(facelatch(at, &["enroll", photos]).code, Some(0));
    assert_eq!(facelatch(at, &["train"]).code, Some(0));
}

/// The gate follows from the people enrolled, goes into bundles, and is made anew when they change.
#[test]
fn calibrate_on_the_shipped_photos_and_on_a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let put = |from: &str, to: &str| {
        let to = at.join("photos").join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a new folder");
        fs::copy(data(from), to).expect("a shipped photo");
    };
    put("enroll/barack_obama/obama.jpg", "obama/1.jpg");
    put("visitors/obama2.jpg", "obama/2.jpg");
    put("enroll/eileen_collins/astronaut.png", "collins/1.png");
    put("visitors/biden.jpg", "none/1.jpg");
    assert_eq!(facelatch(at, &["enroll", "photos"]).code, Some(0));
    assert_eq!(facelatch(at, &["train"]).code, Some(0));
    let plain = json(&facelatch(at, &["pack", "--json"]));
    assert_eq!(plain["calibration"], false);

    let calibrated = facelatch(at, &["calibrate", "--target-fpir", "0.001", "--json"]);
    assert_eq!(calibrated.code, Some(0), "{}", calibrated.err);
    let report = json(&calibrated);
    assert_eq!(
        (
            &report["people"],
            &report["templates"],
            &report["strangers"]
        ),
        (&2.into(), &3.into(), &1.into())
    );
    let upper = report["predicted"]["interval_95"][1].as_f64();
    assert!(upper.is_some_and(|upper| upper <= 0.001), "{report}");
    assert_eq!(report["fnir"]["trials"], 2, "of the one with two photos");
    let strict = facelatch(at, &["calibrate", "--target-fpir", "0.00001"]);
    assert!(strict.out.contains("target 0.001 %"), "{}", strict.out);
    assert_eq!(
        facelatch(at, &["calibrate", "--target-fpir", "0.9"]).code,
        Some(2)
    );

    let packed = json(&facelatch(at, &["pack", "--json"]));
    assert_eq!(packed["calibration"], true);
    let known = data("visitors/obama3.jpg");
    let known = known.to_str().expect("a path in UTF-8");
    let found = json(&facelatch(at, &["predict", known, "--json"]));
    assert_eq!(found["faces"][0]["person"], "obama", "{found}");
    assert_eq!(
        facelatch(at, &["people", "remove", "collins"]).code,
        Some(0)
    );
    let trained = json(&facelatch(at, &["train", "--json"]));
    assert_eq!(trained["calibration_renewed"], true);
    let file = at.join("home/calibration");
    let mut bytes = fs::read(&file).expect("a calibration");
    bytes[20] ^= 1;
    fs::write(&file, &bytes).expect("a small file");
    check(
        at,
        &[Case {
            args: &["pack"],
            code: 4,
            says: "facelatch calibrate",
        }],
    );

    let measure = [
        "calibrate",
        "photos",
        "--people",
        "1",
        "--photos",
        "1",
        "--splits",
        "3",
        "--json",
    ];
    fs::write(
        at.join("groups.csv"),
        "person,group\nobama,men\ncollins,women\n",
    )
    .expect("a small file");
    let measured = facelatch(
        at,
        &[measure.as_slice(), &["--groups", "groups.csv"]].concat(),
    );
    let report = json(&measured);
    assert_eq!(
        report["splits"].as_array().map(Vec::len),
        Some(3),
        "{report}"
    );
    assert_eq!(
        (&report["contained"], &report["within_target"]),
        (&3.into(), &3.into())
    );
    // Collins and the stranger, three times.
    assert_eq!(report["measured"]["trials"], 6);
    assert_eq!(report["fnir_by_group"]["men"]["trials"], 3);
}

/// One bad photo never loses the others, and a second evaluation gives the same bytes from the cache alone.
#[test]
fn evaluation_counts_what_it_could_not_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let put = |from: &str, to: &str| {
        let to = at.join("photos").join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a new folder");
        fs::copy(data(from), to).expect("a shipped photo");
    };
    put("enroll/barack_obama/obama.jpg", "obama/1.jpg");
    put("visitors/obama2.jpg", "obama/2.jpg");
    put("visitors/obama2.jpg", "obama/again.jpg");
    put("visitors/rocket.jpg", "collins/0.jpg");
    put("enroll/eileen_collins/astronaut.png", "collins/1.png");
    put("visitors/biden.jpg", "none/1.jpg");
    fs::write(at.join("photos/obama/broken.jpg"), b"\xff\xd8\xff\xe0 cut").expect("a small file");

    let first = facelatch(at, &["evaluate", "photos", "--json"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    let report = json(&first);
    let counts = [
        "images",
        "faces",
        "people",
        "genuine",
        "impostor",
        "duplicates",
    ];
    let counts: Vec<_> = counts
        .iter()
        .map(|key| report[key].as_u64().unwrap_or(99))
        .collect();
    // Pairs: obama 1-2 genuine; obama x collins 2, known x none 3.
    assert_eq!(counts, [7, 4, 2, 1, 5, 1], "{report}");
    assert_eq!(report["unreadable"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["no_face"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["eer"], 0.0);
    assert!(first.err.contains("broken.jpg"), "{}", first.err);

    let second = facelatch(at, &["evaluate", "photos", "--json"]);
    assert_eq!(second.out, first.out, "cached embeddings are the same bits");
    // Damaged cache entries are computed again.
    let mut entries = 0;
    for folder in fs::read_dir(at.join("home/cache"))
        .expect("a cache")
        .flatten()
    {
        for entry in fs::read_dir(folder.path()).expect("a folder").flatten() {
            fs::write(entry.path(), b"not an entry").expect("a small file");
            entries += 1;
        }
    }
    assert_eq!(entries, 5);
    assert_eq!(
        facelatch(at, &["evaluate", "photos", "--json"]).out,
        first.out
    );
}

/// Two people are too few for a head, and say so; what there is can be browsed.
#[test]
fn a_dataset_is_exported_whole_and_never_into_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let photos = data("enroll");
    let photos = photos.to_str().expect("a path in UTF-8");
    assert_eq!(facelatch(at, &["enroll", photos]).code, Some(0));
    let trained = facelatch(at, &["train", "--metric", "triplet"]);
    assert_eq!(trained.code, Some(2), "{}", trained.err);
    assert!(trained.err.contains("0 people have two"), "{}", trained.err);
    assert!(!at.join("home/head").exists());
    assert_eq!(facelatch(at, &["train"]).code, Some(0));

    let exported = facelatch(at, &["export", photos, "--out", "out", "--json"]);
    assert_eq!(exported.code, Some(0), "{}", exported.err);
    let said = json(&exported);
    assert_eq!(
        (
            &said["faces"],
            &said["dims"],
            &said["classifier"],
            &said["head"]
        ),
        (&2.into(), &704.into(), &true.into(), &false.into())
    );
    let out = at.join("out");
    let labels = fs::read_to_string(out.join("labels.csv")).expect("labels");
    let rows: Vec<Vec<&str>> = labels
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(rows.len(), 3, "{labels}");
    assert_eq!(rows[1][0], "barack_obama");
    for row in &rows[1..] {
        let original = fs::read(out.join(row[1])).expect("the photo");
        let name = row[1].trim_start_matches("originals/");
        assert_eq!(
            original,
            fs::read(data("enroll").join(name)).expect("the photo")
        );
        let crop = image::open(out.join(row[2])).expect("a picture");
        assert_eq!((crop.width(), crop.height()), (160, 160 + 112));
    }
    let npy = fs::read(out.join("embeddings.npy")).expect("embeddings");
    assert_eq!(npy.len(), 128 + 2 * 704 * 4);
    assert!(String::from_utf8_lossy(&npy[..128]).contains("'shape': (2, 704)"));
    let csv = fs::read_to_string(out.join("embeddings.csv")).expect("embeddings");
    let first: Vec<&str> = csv.lines().nth(1).expect("a row").split(',').collect();
    let value = f32::from_le_bytes(npy[128..132].try_into().expect("four bytes"));
    assert_eq!((first.len(), first[1].parse()), (705, Ok(value)));
    let classifier = fs::read_to_string(out.join("classifier.json")).expect("a classifier");
    let classifier: Value = serde_json::from_str(&classifier).expect("JSON");
    assert_eq!(classifier["people"][1], "eileen_collins");
    assert_eq!(classifier["config"]["softmax"]["c"], 10.0);

    let again = facelatch(at, &["export", photos, "--out", "out"]);
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("not empty"), "{}", again.err);
}
