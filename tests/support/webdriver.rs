//! A real browser: headless Chromium, by the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::send;

/// The key of an element in answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";

/// A browser with one window; it ends when it is dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// what it keeps on disk
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs (Debian: apt-get install chromium chromium-driver; ./dev does it)");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = lines.find_map(|line| {
            let line = line.expect("text");
            line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("chromedriver says its port")));
        let profile = tempfile::tempdir().expect("a folder");
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let mut arguments = vec![format!("--user-data-dir={}", browser._profile.path().display())];
        // without a sandbox of its own where root may not make one; and no word to others than the page
        arguments.extend(
            "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --disable-background-networking \
             --disable-component-update --disable-sync --window-size=1280,800 --lang=en"
                .split_whitespace()
                .map(str::to_owned),
        );
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().unwrap_or_else(|| panic!("a session: {made}")).to_owned();
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = [("content-type", "application/json; charset=utf-8")];
        let answer = send(self.address, method, path, &headers, &body).expect("the driver answers");
        assert_eq!(answer.status, 200, "{method} {path} {body}: {}", answer.body);
        answer.body["value"].clone()
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}/{path}", self.session), body)
    }

    pub fn open(&self, url: &str) {
        self.command("POST", "url", &json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        self.command("GET", "url", &Value::Null).as_str().expect("a URL").to_owned()
    }

    /// What a function of these statements returns.
    pub fn run(&self, statements: &str) -> Value {
        self.command("POST", "execute/sync", &json!({ "script": statements, "args": [] }))
    }

    /// The text of the first element that `css` selects, as it is seen; empty where there is none.
    pub fn text(&self, css: &str) -> String {
        let found = self.command("POST", "elements", &json!({ "using": "css selector", "value": css }));
        let Some(element) = found[0][ELEMENT].as_str() else { return String::new() };
        // it may be taken off the page meanwhile
        let path = format!("/session/{}/element/{element}/text", self.session);
        let answer = send(self.address, "GET", &path, &[], "").expect("the driver answers");
        answer.body["value"].as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the first element that an XPath selects.
    pub fn click(&self, xpath: &str) {
        let found = self.command("POST", "element", &json!({ "using": "xpath", "value": xpath }));
        let element = found[ELEMENT].as_str().expect("an element");
        self.command("POST", &format!("element/{element}/click"), &json!({}));
    }

    /// Presses the keys of a text one after the other.
    pub fn press(&self, keys: &str) {
        let press = |key: char| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        self.command("POST", "actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) {
        self.command("POST", "goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// What was said on the console since it was asked for last.
    pub fn console(&self) -> Vec<Value> {
        self.command("POST", "se/log", &json!({ "type": "browser" })).as_array().expect("entries").clone()
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "never: {what}: {}", self.text("main"));
            std::thread::sleep(Duration::from_millis(60));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // the driver ends the browser; it may be gone
            drop(send(self.address, "DELETE", &format!("/session/{}", self.session), &[], ""));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
