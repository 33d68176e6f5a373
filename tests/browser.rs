//! The page in a real browser: by keyboard, on a phone, in the dark, without a script; and what it does while runs go on.

use serde_json::{Value, json};

use crate::page::{ENVIRONMENT, KEY, answer, project};
use crate::support::{Api, Browser, Daemon, ENTER, TAB};

const PAGES: [&str; 11] = [
    "/",
    "/syncs/acme/odd",
    "/syncs/acme/slow",
    "/syncs/acme/broken/reset",
    "/syncs/acme/nothing",
    "/connections",
    "/records",
    "/records/api/odd",
    "/logs",
    "/files",
    "/files?name=headwater.yaml",
];

/// Whether the focus is on something, and what it is.
fn focused(browser: &Browser) -> Value {
    browser.run("const it = document.activeElement; return it.id || it.textContent.trim()")
}

/// Presses tab until the focus is on `what`.
fn tab_to(browser: &Browser, what: &str) {
    for _ in 0..40 {
        browser.press(TAB);
        if focused(browser) == what {
            return;
        }
    }
    panic!("no tab leads to {what}");
}

/// Nothing was refused by the policy of the page, and nothing went wrong in its script. A page that says why there is none has such a status.
fn is_quiet(browser: &Browser, page: &str) {
    let loud: Vec<Value> = browser.console().into_iter().filter(|entry| entry["level"] != "INFO").collect();
    let expected = |entry: &Value| page.ends_with("/nothing") && entry["message"].to_string().contains("404");
    assert!(loud.iter().all(expected), "{page}: {loud:#?}");
}

#[test]
fn a_person_uses_the_page() {
    let api = Api::start(answer);
    let project = project(&api.url());
    let daemon = Daemon::listen(&project, &ENVIRONMENT);
    let base = format!("http://{}", daemon.address());
    let browser = Browser::start();
    logs_in_by_keyboard(&browser, &base);
    runs_a_sync_and_sees_it_end(&browser, &base);
    pauses_and_resumes(&browser, &base);
    sees_progress_and_stops_it(&browser, &base);
    what_is_typed_and_has_the_focus_stays(&browser, &base);
    for sync in ["odd", "broken"] {
        browser.open(&format!("{base}/syncs/acme/{sync}"));
        browser.click("//button[text()='Run']");
        browser.until("it ran", |browser| {
            browser.text("#of-runs table").contains("2026") || browser.text("#of-runs tbody").contains(':')
        });
    }
    every_page_is_whole(&browser, &base);
    reads_without_a_script(&browser, &base);
    resets_when_it_is_meant(&browser, &base);
    drop(browser);
    daemon.stop();
}

fn logs_in_by_keyboard(browser: &Browser, base: &str) {
    browser.open(&format!("{base}/syncs/acme/items"));
    assert!(browser.url().contains("/login"), "{}", browser.url());
    // the field has the focus
    browser.press("wrong");
    browser.press(ENTER);
    browser.until("it says no", |browser| browser.text("#wrong") == "There is no such key.");
    // a wrong key is answered with a status that says so
    browser.console();
    browser.press(KEY);
    browser.press(ENTER);
    browser.until("in", |browser| browser.url() == format!("{base}/syncs/acme/items"));
    assert_eq!(browser.run("return document.cookie"), "", "no script reads the session");
    // the first tab leads past the links to what the page is about
    browser.press(TAB);
    assert_eq!(focused(browser), "Skip to the content");
    browser.press(ENTER);
    browser.until("behind the links", |browser| focused(browser) == "main");
    tab_to(browser, "Run");
    is_quiet(browser, "/login");
}

fn runs_a_sync_and_sees_it_end(browser: &Browser, base: &str) {
    browser.open(base);
    browser.until("the row", |browser| browser.text("#sync-acme\\/items").contains("never"));
    // this is the document that changes
    browser.click("//tr[@id='sync-acme/items']//button[text()='Run']");
    browser.until("it is told", |browser| browser.text(".said") == "acme/items is run.");
    browser.run("window.same = true");
    browser.until("it ran", |browser| {
        let row = browser.text("#sync-acme\\/items");
        row.contains("completed") && row.contains("idle")
    });
    assert_eq!(browser.run("return window.same"), true, "nobody loaded the page again");
    assert!(browser.text("#summary").starts_with("8 all"), "{}", browser.text("#summary"));
}

fn pauses_and_resumes(browser: &Browser, base: &str) {
    browser.open(&format!("{base}/syncs/acme/items"));
    tab_to(browser, "Pause");
    browser.press(ENTER);
    browser.until("it is paused", |browser| browser.text("#now").contains("paused"));
    browser.click("//button[text()='Resume']");
    browser.until("it goes on", |browser| browser.text(".said") == "acme/items is resumed.");
    assert!(!browser.text("#now").contains("paused"), "{}", browser.text("#now"));
}

fn sees_progress_and_stops_it(browser: &Browser, base: &str) {
    browser.open(&format!("{base}/syncs/acme/slow"));
    browser.click("//button[text()='Run']");
    browser.until("it is under way", |browser| browser.text("#now").contains("Under way"));
    browser.run("window.same = true");
    let pages = |browser: &Browser| {
        browser
            .run("return Number(document.querySelector('.numbers dd')?.textContent ?? 0)")
            .as_i64()
            .expect("a number")
    };
    let before = pages(browser);
    browser.until("it goes on", |browser| pages(browser) > before + 2);
    assert_eq!(browser.run("return document.querySelector('progress').max"), 41);
    browser.click("//button[text()='Stop']");
    browser.until("it has stopped", |browser| {
        browser.text("#now").contains("idle") && browser.text("#of-runs tbody").contains("paused")
    });
    assert!(browser.text("#of-checkpoint").contains("at page "), "{}", browser.text("#of-checkpoint"));
}

fn what_is_typed_and_has_the_focus_stays(browser: &Browser, base: &str) {
    browser.open(base);
    browser.run("document.querySelector('[name=q]').focus()");
    browser.press("ite");
    browser.run("fetch('/syncs/acme/items/run', { method: 'POST', body: new URLSearchParams({ csrf: document.querySelector('[name=csrf]').value }) })");
    let seen = browser.text("#sync-acme\\/items time");
    browser.until("the row is another one", |browser| {
        let row = browser.text("#sync-acme\\/items");
        row.contains("running") || browser.text("#sync-acme\\/items time") != seen
    });
    browser.press("ms");
    assert_eq!(browser.run("return document.querySelector('[name=q]').value"), "items");
    // what has the focus keeps it while its row is made again
    browser.run("document.querySelector('#sync-acme\\\\/items button').focus()");
    browser.run("fetch('/syncs/acme/items/run', { method: 'POST', body: new URLSearchParams({ csrf: document.querySelector('[name=csrf]').value }) })");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(browser.run("return document.activeElement.closest('tr')?.id"), "sync-acme/items");
    is_quiet(browser, "/");
}

fn every_page_is_whole(browser: &Browser, base: &str) {
    let metrics = |width: u32| json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
    for (width, scheme) in [(1280, "light"), (390, "dark"), (360, "light")] {
        browser.devtools("Emulation.setDeviceMetricsOverride", &metrics(width));
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", &feature);
        browser.open(&format!("{base}/logs?state=failed"));
        let run = browser.run("return document.querySelector('tbody th a').getAttribute('href')");
        for page in PAGES.into_iter().chain([run.as_str().expect("an address")]) {
            browser.open(&format!("{base}{page}"));
            let seen = browser.run(
                "const box = (it) => it.getBoundingClientRect();
                 const ground = getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number);
                 const small = [...document.querySelectorAll('button, a, summary, input:not([type=hidden]), select')]
                   .filter((it) => box(it).width && (box(it).height < 23.5 || box(it).width < 23.5) && !it.closest('p, dd, .skip, .wide td.long'))
                   .map((it) => it.outerHTML.slice(0, 120));
                 const unnamed = [...document.querySelectorAll('input:not([type=hidden]), select')].filter((it) => !it.labels.length).length;
                 return {
                   wide: document.documentElement.scrollWidth - document.documentElement.clientWidth, dark: ground[0] < 60, h1: document.querySelectorAll('h1').length,
                   main: document.querySelectorAll('main').length, small, unnamed, lang: document.documentElement.lang,
                   heads: [...document.querySelectorAll('th')].every((it) => it.scope),
                   ids: [...document.querySelectorAll('[id]')].every((it) => document.querySelectorAll('#' + CSS.escape(it.id)).length === 1),
                   title: document.title.endsWith('· headwater'),
                 }",
            );
            let wanted = json!({
                "wide": 0, "dark": scheme == "dark", "h1": 1, "main": 1, "small": [], "unnamed": 0, "lang": "en", "heads": true,
                "ids": true, "title": true,
            });
            assert_eq!(seen, wanted, "{page} at {width}");
            is_quiet(browser, page);
        }
    }
    // on a phone key and change number stay where they are while the rest of the row is moved
    browser.open(&format!("{base}/records/api/odd"));
    let moved = browser.run(
        "const box = document.querySelector('.wide'); box.scrollLeft = 400;
         const head = document.querySelector('tbody th').getBoundingClientRect();
         return [box.scrollLeft > 50, head.left >= box.getBoundingClientRect().left - 1, document.querySelector('tbody th').innerText.includes('#')]",
    );
    assert_eq!(moved, json!([true, true, true]));
    browser.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
    browser.devtools("Emulation.setEmulatedMedia", &json!({ "features": [] }));
}

fn reads_without_a_script(browser: &Browser, base: &str) {
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    for (page, text) in [
        ("/", "completed"),
        ("/syncs/acme/odd", "missing_key"),
        ("/records/api/odd", "#"),
        ("/logs", "failed"),
        ("/files?name=headwater.yaml", "database: test.duckdb"),
    ] {
        browser.open(&format!("{base}{page}"));
        assert!(browser.text("main").contains(text), "{page}: {}", browser.text("main"));
        assert!(!browser.text("main").contains("undefined"));
    }
    // so do forms
    browser.open(&format!("{base}/syncs/acme/items"));
    browser.click("//button[text()='Run in full']");
    browser.until("it is told", |browser| browser.text(".said") == "acme/items is run from the beginning.");
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": false }));
}

fn resets_when_it_is_meant(browser: &Browser, base: &str) {
    browser.open(&format!("{base}/syncs/acme/odd"));
    browser.click("//a[contains(., 'Reset')]");
    browser.until("it asks", |browser| browser.text("h1") == "Reset acme/odd?");
    browser.click("//a[text()='Leave it']");
    browser.until("back", |browser| browser.text("h1") == "acme/odd");
    assert!(browser.text("#of-checkpoint").contains("Last complete scan"), "{}", browser.text("#of-checkpoint"));
    browser.click("//a[contains(., 'Reset')]");
    browser.until("it asks", |browser| browser.text("h1") == "Reset acme/odd?");
    browser.click("//input[@name='purge']");
    browser.click("//button[text()='Reset']");
    browser.until("it is told", |browser| browser.text(".said").starts_with("acme/odd has forgotten where it was"));
    assert!(browser.text("#of-checkpoint").contains("remembers nothing"), "{}", browser.text("#of-checkpoint"));
    browser.open(&format!("{base}/records/api/odd"));
    assert!(browser.text("main").contains("No row is like that"), "{}", browser.text("main"));
    is_quiet(browser, "/syncs/acme/odd/reset");
}
