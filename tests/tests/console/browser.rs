//! A real Chromium, driven by Debian's chromedriver: what somebody at the console does and sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use facelatch_tests::PATIENCE;
use facelatch_tests::door::lines_of;
use facelatch_tests::programs::cache;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// How the browser is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Light,
    Dark,
    /// Light, 390 pixels wide.
    Phone,
}

/// A browser. Dropping it ends it.
pub(crate) struct Browser {
    runtime: Runtime,
    client: Client,
    driver: Child,
    shots: PathBuf,
    look: Look,
}

const MISSING: &str = "this test needs a real browser: apt-get install chromium chromium-driver";

impl Browser {
    /// Starts one whose camera shows `camera`, an MJPEG file.
    pub(crate) fn start(look: Look, camera: &Path) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("no chromedriver ({error}): {MISSING}"));
        let lines = lines_of(driver.stdout.take().expect("standard output is piped"));
        let port = loop {
            let line = lines
                .recv_timeout(PATIENCE)
                .expect("chromedriver says where it listens");
            // An earlier line names the port it was asked for, 0.
            if let Some((_, port)) = line.rsplit_once("started successfully on port ")
                && let Ok(port) = port.trim_end_matches('.').parse::<u16>()
            {
                break port;
            }
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let capabilities = capabilities(look, camera);
        let client = runtime.block_on(async {
            ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities)
                .connect(&format!("http://127.0.0.1:{port}"))
                .await
        });
        let client = client.unwrap_or_else(|error| panic!("no browser ({error}): {MISSING}"));
        let shots = cache().with_file_name("console");
        fs::create_dir_all(&shots).expect("a new folder");
        Browser {
            runtime,
            client,
            driver,
            shots,
            look,
        }
    }

    /// Goes to an address.
    pub(crate) fn goto(&self, url: &str) {
        self.runtime
            .block_on(self.client.goto(url))
            .expect("a page");
    }

    /// The element, once it is there.
    fn find(&self, css: &str) -> Element {
        let found = self.runtime.block_on(
            self.client
                .wait()
                .at_most(PATIENCE)
                .for_element(Locator::Css(css)),
        );
        found.unwrap_or_else(|error| panic!("no {css} ({error}) in: {}", self.text()))
    }

    /// The button or link with this text, once it is there.
    fn named(&self, text: &str) -> Element {
        // Not those of a page behind an open dialog.
        let path = format!(
            "//*[self::button or self::a][normalize-space()='{text}'][not(//dialog[@open]) or ancestor::dialog]"
        );
        let found = self.runtime.block_on(
            self.client
                .wait()
                .at_most(PATIENCE)
                .for_element(Locator::XPath(&path)),
        );
        found.unwrap_or_else(|error| panic!("no button {text:?} ({error}) in: {}", self.text()))
    }

    /// Presses the button or link with this text.
    pub(crate) fn press(&self, text: &str) {
        let element = self.named(text);
        self.runtime
            .block_on(element.click())
            .unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Types into a field; for a file field, the file's path.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.runtime
            .block_on(element.send_keys(text))
            .unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Waits until the page says this.
    pub(crate) fn sees(&self, text: &str) {
        let path = format!("//*[contains(normalize-space(), \"{text}\")]");
        let found = self.runtime.block_on(
            self.client
                .wait()
                .at_most(PATIENCE)
                .for_element(Locator::XPath(&path)),
        );
        if let Err(error) = found {
            self.shoot("failed");
            panic!("no {text:?} ({error}) in: {}", self.text());
        }
    }

    /// Waits until a script's result is true.
    pub(crate) fn until(&self, what: &str, script: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({script})")) != json!(true) {
            assert!(
                std::time::Instant::now() < deadline,
                "not {what}: {}",
                self.text()
            );
            // A browser cannot be waited for otherwise: WebDriver's own waits ask again and again as well.
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
        }
    }

    /// A script's result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.runtime
            .block_on(self.client.execute(script, vec![]))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// All the page says.
    fn text(&self) -> String {
        self.run("return document.body.innerText")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Keeps what is to be seen, in `target/console`.
    pub(crate) fn shoot(&self, name: &str) {
        let png = self
            .runtime
            .block_on(self.client.screenshot())
            .expect("a picture");
        let look = format!("{:?}", self.look).to_lowercase();
        fs::write(self.shots.join(format!("{name}-{look}.png")), png).expect("writable");
    }

    /// What everybody needs to use the page: names for all that can be pressed or filled in, one title, nothing wider than
    /// the window, nothing the security policy stopped.
    pub(crate) fn is_usable(&self, page: &str) {
        let flaws = self.run(FLAWS);
        assert_eq!(flaws, json!([]), "{page} ({:?})", self.look);
    }
}

/// Finds what somebody with a screen reader, a keyboard or a phone could not use.
const FLAWS: &str = r#"
const flaws = [];
for (const details of document.querySelectorAll("details")) details.open = true;
const shown = (element) => element.checkVisibility();
const name = (element) => (element.getAttribute("aria-label") ?? "") || element.innerText || (element.labels?.[0]?.innerText ?? "") || (element.querySelector("img")?.alt ?? "");
for (const element of document.querySelectorAll("button, a, input, select"))
  if (shown(element) && !name(element).trim()) flaws.push("no name: " + element.outerHTML.slice(0, 120));
for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) flaws.push("no alt: " + image.src);
const titles = [...document.querySelectorAll("h1")].filter(shown);
if (titles.length !== 1) flaws.push(titles.length + " titles");
for (const role of ["main", "nav"]) if (!document.querySelector(role)) flaws.push("no " + role);
if (!document.documentElement.lang) flaws.push("no language");
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide > 0) flaws.push(wide + " pixels too wide");
return flaws;
"#;

fn capabilities(look: Look, camera: &Path) -> serde_json::Map<String, Value> {
    let mut args: Vec<String> = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--window-size=1280,900",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(format!(
        "--use-file-for-fake-video-capture={}",
        camera.display()
    ));
    if look == Look::Dark {
        args.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    let mut options = json!({ "args": args });
    if look == Look::Phone {
        options["mobileEmulation"] =
            json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0 } });
    }
    let all = json!({ "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
    let Value::Object(all) = all else {
        unreachable!("an object is written above");
    };
    all
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Either may have ended already; a browser whose session is closed ends itself.
        let _ = self.runtime.block_on(self.client.clone().close());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
