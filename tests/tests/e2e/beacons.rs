//! What `navigator.sendBeacon` sends, from a page of another origin in a real browser, to the clickstream example.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use wicketgate_tests::artefacts;
use wicketgate_tests::process::Process;
use wicketgate_tests::wait::until;

use crate::example::read;
use crate::rig::Rig;

/// The most that a browser takes to start and to send.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends a beacon of each kind, then leaves, as pages do.
const PAGE: &str = r#"<!doctype html><title>Lamps</title><script>
const to = 'GATEWAY/c/main';
const click = (x) => JSON.stringify([{visitor: 'v-81', page: '/lamps', x}]);
navigator.sendBeacon(to, new Blob([click(1)], {type: 'application/json'}));
navigator.sendBeacon(to, click(2));
navigator.sendBeacon(to, new Blob([click(3)], {type: 'text/plain'}));
location.href = '/gone';
</script>"#;

/// Serves the page at `/` and something else at every other path, until the test ends.
fn serve(listener: TcpListener, page: String) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let len = stream.read(&mut head).unwrap_or_default();
            let body = if head[..len].starts_with(b"GET / ") { page.as_str() } else { "gone" };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // A browser that has gone is no failure.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

fn chromium() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&paths).map(|folder| folder.join("chromium")).find(|path| path.exists());
    found.expect("chromium is on the PATH (Debian: apt-get install chromium; scripts/test.sh installs it)")
}

fn browse(profile: &Path, url: &str) -> Process {
    let profile = format!("--user-data-dir={}", profile.display());
    let args = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // Keeps it from ending once the page is there.
        "--remote-debugging-port=0",
        &profile,
        url,
    ];
    Process::start("chromium", &chromium(), args)
}

#[tokio::test]
async fn beacons_of_a_page_of_another_origin_are_taken() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let document = read("clickstream.json").replace("https://shop.example.com", &origin);
    let rig = Rig::start(serde_json::from_str(&document).unwrap(), &["clicks"]).await;
    serve(listener, PAGE.replace("GATEWAY", &format!("http://{}", rig.gateway.envoy.address())));

    let profile = artefacts::run_dir().join("chromium");
    let browser = browse(&profile, &format!("{origin}/"));
    let three =
        until(LIMIT, || async { (rig.topic("clicks").records().await.len() >= 3).then_some(()) }).await;
    browser.kill();
    assert!(three.is_ok(), "{}", browser.log_tail());

    let mut clicks: Vec<(Value, Value)> = rig
        .topic("clicks")
        .records()
        .await
        .iter()
        .map(|record| {
            let event = record.event();
            assert!(record.header("user-agent")[0].starts_with(b"Mozilla/5.0"), "{record:?}");
            assert_eq!((&event["type"], &event["subject"]), (&json!("com.example.click"), &json!("/lamps")));
            (event["data"]["x"].clone(), event["datacontenttype"].clone())
        })
        .collect();
    clicks.sort_by_key(|(x, _)| x.as_u64());
    assert_eq!(
        clicks.iter().map(|(x, _)| x.clone()).collect::<Vec<_>>(),
        [json!(1), json!(2), json!(3)],
        "{clicks:?}"
    );
}
