//! The console in a real Chromium: enroll, train, predict, doors, review, as somebody at the desk does it. Pictures of every
//! page are kept in `target/console`, light, dark and on a phone.

mod browser;

use std::path::{Path, PathBuf};

use facelatch_tests::door::Door;
use facelatch_tests::programs::data;
use facelatch_tests::server::Server;
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;
use serde_json::json;
use tempfile::TempDir;

use browser::{Browser, Look};

/// A server, a door it is paired with, and a camera.
struct Stage {
    folder: TempDir,
    door: Door,
    server: Server,
}

impl Stage {
    fn set() -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let door = Door::start(&mut watching(&folder.path().join("door"), &["obama2.jpg"]));
        let workspace = Workspace::new(&folder.path().join("home"));
        let code = door.pairing_code().to_string();
        workspace.done(&[
            "pair",
            "--to",
            &door.address().to_string(),
            "--code",
            &code,
            "--name",
            "reception",
        ]);
        let server = Server::start(&folder.path().join("home"), &[]);
        Stage {
            folder,
            door,
            server,
        }
    }

    /// A second of somebody before the camera, as Chromium's fake one shows it: one JPEG after the other.
    fn camera(&self) -> PathBuf {
        let file = self.folder.path().join("camera.mjpeg");
        let photo = image::open(photo("visitors/obama3.jpg"))
            .expect("a shipped photo")
            .to_rgb8();
        // The photo's upper part, in a camera's shape: whoever it shows stands near.
        let (w, h) = photo.dimensions();
        let upper = image::imageops::crop_imm(&photo, 0, 0, w, (w * 3 / 4).min(h)).to_image();
        let shown = image::imageops::thumbnail(&upper, 640, 480);
        let mut jpeg = std::io::Cursor::new(Vec::new());
        shown
            .write_to(&mut jpeg, image::ImageFormat::Jpeg)
            .expect("a picture");
        std::fs::write(&file, jpeg.into_inner().repeat(10)).expect("writable");
        file
    }

    fn page(&self, page: &str) -> String {
        self.server.at(&format!("/#/{page}"))
    }
}

fn photo(path: &str) -> PathBuf {
    data("demo").join(path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a printable path")
}

#[test]
fn somebody_at_the_desk_enrolls_trains_recognises_and_opens() {
    let stage = Stage::set();
    let browser = Browser::start(Look::Light, &stage.camera());
    sign_in(&stage, &browser);
    enroll(&stage, &browser);
    train(&stage, &browser);
    recognise(&stage, &browser);
    review(&stage, &browser);
    at_the_door(&stage, &browser);
    every_page(&stage, &browser);
    drop(browser);
    for look in [Look::Dark, Look::Phone] {
        let browser = Browser::start(look, &stage.camera());
        browser.goto(
            &stage
                .server
                .at(&format!("/#token={}", stage.server.token())),
        );
        browser.sees("People");
        every_page(&stage, &browser);
    }
    let ended = stage.server.stop();
    assert!(
        ended.code == Some(0) && !ended.err.contains("panicked"),
        "{}",
        ended.err
    );
}

fn sign_in(stage: &Stage, browser: &Browser) {
    browser.goto(&stage.server.at("/"));
    browser.fill("#token", "fl-wrong");
    browser.press("Sign in");
    browser.sees("That is not this server's token.");
    browser.shoot("sign-in");
    browser.run("document.querySelector('#token').value = ''");
    browser.fill("#token", stage.server.token());
    browser.press("Sign in");
    browser.sees("Nobody is enrolled yet.");
    browser.is_usable("nobody");
    browser.shoot("nobody");
}

fn enroll(stage: &Stage, browser: &Browser) {
    add(browser, "Barack Obama");
    browser.is_usable("a new person");
    browser.fill(
        "input[type=file]",
        text(&photo("enroll/barack_obama/obama.jpg")),
    );
    browser.sees("Accepted");
    browser.fill("input[type=file]", text(&photo("visitors/chelsea.png")));
    browser.sees("Not accepted: no face found.");
    browser.press("Use the camera");
    browser.until("faces framed", "document.querySelector('.scene rect')");
    browser.shoot("camera");
    browser.press("Take photo");
    browser.sees("taken.");
    browser.press("Done");
    browser.until(
        "two photos there",
        "document.querySelectorAll('.photos img').length === 2",
    );
    browser.shoot("person");
    browser.goto(&stage.page("people"));
    add(browser, "Eileen Collins");
    browser.fill(
        "input[type=file]",
        text(&photo("enroll/eileen_collins/astronaut.png")),
    );
    browser.until(
        "her photo there",
        "document.querySelectorAll('.photos img').length === 1",
    );
}

fn add(browser: &Browser, name: &str) {
    browser.press("Add person");
    browser.fill("dialog input", name);
    browser.press("Add");
    browser.sees(name);
    browser.sees("Use the camera");
}

fn train(stage: &Stage, browser: &Browser) {
    browser.goto(&stage.page("training"));
    browser.press("Train");
    browser.sees("Training is done.");
    browser.sees("right on what it learned");
    let summary = stage.server.ask("GET", "/api/v1/datasets/main").expect(200);
    assert_eq!(
        (&summary["ready"], &summary["changed"]),
        (&json!(true), &json!(false)),
        "{summary}"
    );
}

fn recognise(stage: &Stage, browser: &Browser) {
    browser.goto(&stage.page("recognise"));
    browser.sees("Choose a photo");
    browser.fill("input[type=file]", text(&photo("visitors/obama2.jpg")));
    browser.sees("recognised");
    browser.until(
        "framed and named",
        "document.querySelector('.scene .known text')?.textContent === 'Barack Obama'",
    );
    browser.is_usable("a recognised face");
    browser.shoot("recognised");
    browser.fill("input[type=file]", text(&photo("visitors/biden.jpg")));
    browser.sees("Unknown");
    browser.sees("1 face kept for review");
    browser.shoot("stranger");
}

fn review(stage: &Stage, browser: &Browser) {
    browser.goto(&stage.page("review"));
    browser.sees("Group 1, 1 face");
    browser.is_usable("a face to review");
    browser.shoot("to-review");
    browser.press("Never let in");
    browser.sees("No unknown faces are waiting.");
    let people = stage
        .server
        .ask("GET", "/api/v1/datasets/main/people")
        .expect(200);
    assert_eq!(
        people["none"]["photos"].as_array().map(Vec::len),
        Some(1),
        "a negative anchor"
    );
    browser.goto(&stage.page("training"));
    browser.press("Train");
    browser.sees("Training is done.");
}

fn at_the_door(stage: &Stage, browser: &Browser) {
    browser.goto(&stage.page("doors"));
    browser.sees("Listening.");
    browser.press("Push people");
    browser.press("Push");
    browser.sees("knows everybody now.");
    browser.sees("Barack Obama was let in");
    browser.press("Unlock");
    browser.fill("dialog input", "Grace");
    browser.press("Unlock");
    browser.sees("Unlocked by reception");
    browser.shoot("door");
    let changes = stage.server.ask("GET", "/api/v1/audit").expect(200);
    let unlock = changes["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .find(|entry| entry["action"] == "unlock");
    let unlock = unlock.unwrap_or_else(|| panic!("no unlocking in {changes}"));
    assert_eq!(
        (&unlock["operator"], &unlock["outcome"]),
        (&json!("Grace"), &json!("unlocked"))
    );
    let audit = Workspace::new(&stage.folder.path().join("home")).run(&[
        "audit",
        "show",
        "--to",
        &stage.door.address().to_string(),
    ]);
    assert!(audit.out.contains("unlocked by reception"), "{}", audit.out);
}

/// Looks at every page: is it usable, by keyboard, ear and thumb?
fn every_page(stage: &Stage, browser: &Browser) {
    let pages = [
        ("people", "Eileen Collins"),
        ("people/Barack-Obama", "Use the camera"),
        ("people/none", "Choose photos"),
        ("recognise", "Choose a photo"),
        ("training", "right on what it learned"),
        ("map", "not to be let in"),
        ("review", "No unknown faces are waiting."),
        ("doors", "Listening."),
        ("activity", "Grace"),
    ];
    for (page, says) in pages {
        browser.goto(&stage.page(page));
        browser.sees(says);
        browser.until(
            "pictures loaded",
            "[...document.images].every((image) => image.complete || image.loading === 'lazy')",
        );
        browser.is_usable(page);
        browser.shoot(&page.replace('/', "-"));
    }
    browser.goto(&stage.server.at("/docs"));
    browser.sees("POST");
    browser.shoot("docs");
}
