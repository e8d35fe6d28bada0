//! A daemon without keys is given them, asks for a seller's consent, is refused, killed and damaged; and nothing that it
//! leaves behind, wherever that is, shows a secret.

use super::cli::{Ran, command, run_with};
use super::world::{READY, SETTLE_AFTER_OUTAGE, World};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;
use zaikoban::app::rehearsal::Rehearsal;
use zaikoban::simulator::Order;

const SOON: Duration = Duration::from_secs(30);
/// Where a wrong secret is typed: it must be nowhere afterwards.
const WRONG_SECRET: &str = "canary-wrong-secret-5d1f";
const WRONG_TOKEN: &str = "v^1.1#canary-wrong-refresh-9c02";
const WRONG_CODE: &str = "v^1.1#canary-wrong-code-e87a";
const BAD_INPUT: &str = "canary-bad-input-03be";
const PASSWORD: &str = "canary-password-71aa";
/// All tokens of the simulator begin with this: access tokens, codes, refresh tokens.
const TOKENS_BEGIN: &str = "v^1.1#";

/// A world, and everything that was said in it.
struct Stage {
    world: World,
    said: Vec<String>,
}

impl Stage {
    /// Quiet marketplaces and a daemon that has no keys.
    async fn new() -> Self {
        let mut world = World::new("credentials", 77, 6).await;
        world.settings.keys = [String::new(), String::new(), String::new()];
        world.daemon = Rehearsal::new(world.settings.clone()).unwrap();
        let ru_name = world.simulator.catalogue().credentials.ru_name.to_string();
        world.set(&[("PLATFORMS__EBAY__RU_NAME", &ru_name)]);
        world.launch().await;
        Self {
            world,
            said: Vec::new(),
        }
    }

    fn keep(&mut self, ran: Ran) -> Ran {
        self.said.push(format!("{ran:?} {} {}", ran.out, ran.err));
        ran
    }

    /// Runs a command and keeps what it says, with `--json` too when it may be asked twice.
    async fn cli(&mut self, words: &str, input: &str) -> Ran {
        let words: Vec<&str> = words.split_whitespace().collect();
        let ran = run_with(&self.world.daemon.socket(), &words, input).await;
        self.keep(ran)
    }

    async fn done(&mut self, words: &str, input: &str) -> String {
        let ran = self.cli(words, input).await;
        assert_eq!(ran.code, Some(0), "{words}: {ran:?}");
        ran.err
    }

    async fn refused(&mut self, words: &str, input: &str) -> String {
        for words in [words.to_owned(), format!("--json {words}")] {
            let ran = self.cli(&words, input).await;
            assert_eq!(ran.code, Some(1), "{words}: {ran:?}");
        }
        self.cli(words, input).await.err
    }

    async fn json(&mut self, words: &str) -> Value {
        let ran = self.cli(&format!("--json {words}"), "").await;
        assert_eq!(ran.code, Some(0), "{words}: {ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    }

    /// `credentials authorize ebay`: opens the address as the seller's browser would, and pastes what it ends at.
    async fn authorize(&mut self, pasted: impl Fn(String) -> String) -> Ran {
        let words = ["credentials", "authorize", "ebay"];
        let mut command = command(&self.world.daemon.socket(), &words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        timeout(SOON, out.read_line(&mut address)).await.unwrap().unwrap();
        let mut input = child.stdin.take().unwrap();
        if !address.is_empty() {
            let ended_at = redirected(&address).await;
            input.write_all(pasted(ended_at).as_bytes()).await.unwrap();
        }
        drop(input);
        let output = timeout(SOON, child.wait_with_output()).await.unwrap().unwrap();
        self.keep(Ran {
            code: output.status.code(),
            out: address,
            err: String::from_utf8(output.stderr).unwrap(),
        })
    }
}

/// Where the consent page sends the seller's browser.
async fn redirected(address: &str) -> String {
    let url = url::Url::parse(address.trim()).unwrap();
    let place = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let mut stream = tokio::net::TcpStream::connect(place).await.unwrap();
    let request = format!(
        "GET {}?{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        url.path(),
        url.query().unwrap()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    location.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn a_daemon_without_keys_is_given_them_and_nothing_ever_shows_one() {
    let mut stage = Stage::new().await;
    it_waits_and_says_for_what(&mut stage).await;
    what_cannot_be_used_is_refused_and_not_shown(&mut stage).await;
    a_consent_brings_it_to_life_at_once(&mut stage).await;
    a_rotation_seals_everything_again(&mut stage).await;
    a_crash_and_a_revoked_consent_are_survived(&mut stage).await;
    what_somebody_did_to_key_or_row_is_told(&mut stage).await;
    every_page_is_asked_for_once(&mut stage).await;
    nothing_shows_a_secret(&mut stage).await;
    stage.world.finish().await;
}

/// The row of eBay in the list of credentials.
fn of_ebay(list: &Value) -> &Value {
    let rows = list["items"].as_array().unwrap();
    rows.iter().find(|row| row["platform"] == "ebay").unwrap()
}

async fn it_waits_and_says_for_what(stage: &mut Stage) {
    let all =
        "ebay` needs credentials (client_id, client_secret, refresh_token): `zaikoban credentials set ebay`";
    // The lines of a narrow screen, joined again.
    let shown = stage.world.shown("status").await;
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(all), "{shown}");
    let list = stage.json("credentials list").await;
    let row = of_ebay(&list);
    assert_eq!((&row["platform"], &row["fields"]), (&json!("ebay"), &json!([])));
    assert!(row["note"].as_str().unwrap().contains(all), "{row}");
    // What would be sent waits, and an offer cannot be read.
    let url = stage.world.simulator.catalogue().products[0].url.clone();
    stage.world.shown(&format!("products add {url}")).await;
    let refused = stage.refused("listings link 1 --sku X", "").await;
    assert!(refused.contains("`zaikoban credentials set ebay`"), "{refused}");
    let key = stage.world.settings.state_dir.join("keys/zaikoban.key");
    assert!(!key.exists(), "made at first need, not before");
}

async fn what_cannot_be_used_is_refused_and_not_shown(stage: &mut Stage) {
    for (words, input, says) in [
        (
            "credentials set ebay --field client_secret",
            format!("{BAD_INPUT} {BAD_INPUT}"),
            "client_secret: expected 1 to 16384 visible ASCII characters",
        ),
        (
            "credentials set ebay --field cleint_secret",
            BAD_INPUT.to_owned(),
            "one of client_id, client_secret, refresh_token",
        ),
        (
            "credentials set ebay",
            format!("client_id=x\n{BAD_INPUT}\n"),
            "line 2: expected `name=value`",
        ),
        (
            // A token alone ends with the sign that parts name and value.
            "credentials set ebay",
            format!("{BAD_INPUT}=="),
            "line 1: expected `name=value`",
        ),
        ("credentials set ebay", String::new(), "at least one of client_id"),
        (
            "credentials set yahoo_auction --field client_id",
            BAD_INPUT.to_owned(),
            "no platform `yahoo_auction` that takes credentials",
        ),
        (
            "credentials set ebay --from-file /nonexistent",
            String::new(),
            "cannot read `/nonexistent`",
        ),
        (
            "credentials set ebay --ends-on 2099-12-31",
            String::new(),
            "no kept `refresh_token` of `ebay` that could end",
        ),
        (
            // eBay's client secrets never end: the day is that of something else.
            "credentials set ebay --field client_secret --ends-on 2099-12-31",
            BAD_INPUT.to_owned(),
            "ends_on: expected no day without `refresh_token`",
        ),
        (
            "credentials remove ebay",
            String::new(),
            "no such credential of `ebay`",
        ),
        (
            "credentials authorize ebay",
            String::new(),
            "credentials set ebay --field client_id",
        ),
    ] {
        let told = stage.refused(words, &input).await;
        assert!(told.contains(says), "{words}: {told}");
    }
    let client = stage.world.client();
    for body in [
        json!({ "fields": BAD_INPUT }),
        json!({ "fields": { "client_secret": [BAD_INPUT] } }),
        json!({ BAD_INPUT: 1 }),
        json!(BAD_INPUT),
        json!({ "answer": { "x": BAD_INPUT } }),
    ] {
        for path in ["/v1/credentials/ebay", "/v1/credentials/ebay/authorize"] {
            let refused = client.post(path, &body).await.unwrap_err();
            let told = format!("{refused} {refused:?}");
            assert!(told.contains("not shown here"), "{told}");
            stage.said.push(told);
        }
    }
    assert_eq!(
        of_ebay(&stage.json("credentials list").await)["fields"],
        json!([])
    );
}

async fn a_consent_brings_it_to_life_at_once(stage: &mut Stage) {
    let keys = stage.world.simulator.catalogue().credentials;
    let wrong = format!("client_id={}\nclient_secret={WRONG_SECRET}\n", keys.client_id);
    let told = stage.done("credentials set ebay", &wrong).await;
    assert!(
        told.contains("kept sealed: client_id, client_secret of ebay")
            && told.contains("needs credentials (refresh_token): `zaikoban credentials authorize ebay`"),
        "{told}"
    );
    let ran = stage.authorize(|ended_at| ended_at).await;
    assert!(
        ran.code == Some(1) && ran.err.contains("the client secret is not the one"),
        "{ran:?}"
    );
    // The right secret, and a token that is none: refused by the platform, which is told with what to do.
    let secret = keys.client_secret.to_string();
    stage
        .done("credentials set ebay --field client_secret", &secret)
        .await;
    let told = stage
        .done("credentials set ebay --field refresh_token", WRONG_TOKEN)
        .await;
    assert!(!told.contains("still:"), "{told}");
    a_known_end_goes_with_its_token(stage, &told, &secret).await;
    let refused = stage.refused("listings link 1 --sku X", "").await;
    assert!(
        refused.contains("invalid_grant") && refused.contains("`zaikoban credentials authorize ebay`"),
        "{refused}"
    );
    for pasted in [
        WRONG_CODE.to_owned(),
        "https://shop.invalid/?error=access_denied".to_owned(),
    ] {
        let ran = stage.authorize(|_| pasted.clone()).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
    let ran = stage
        .authorize(|ended_at| ended_at.replace("state=", "state=x"))
        .await;
    assert!(ran.code == Some(1) && ran.err.contains("earlier one"), "{ran:?}");

    let ran = stage.authorize(|ended_at| ended_at).await;
    assert!(ran.code == Some(0) && ran.err.contains("they end on "), "{ran:?}");
    let list = stage.json("credentials list").await;
    let row = of_ebay(&list);
    assert_eq!(
        (&row["fields"], &row["note"]),
        (
            &json!(["client_id", "client_secret", "refresh_token"]),
            &Value::Null
        )
    );
    assert!(row["set_by"].as_str().unwrap().starts_with("uid "), "{row}");
    let ends: chrono::DateTime<chrono::Utc> = row["expires_at"].as_str().unwrap().parse().unwrap();
    let set: chrono::DateTime<chrono::Utc> = row["updated_at"].as_str().unwrap().parse().unwrap();
    assert_eq!((ends - set).num_days(), 547, "18 months");
    // Without a restart: every offer is read, linked and kept in line.
    stage.done("products remove 1", "").await;
    stage.world.register().await;
    stage.world.settle(SETTLE_AFTER_OUTAGE).await;
    let status = stage.world.shown("status").await;
    assert!(!status.contains("needs credentials"), "{status}");
}

/// The token was set without its end, and `told` so.
async fn a_known_end_goes_with_its_token(stage: &mut Stage, told: &str, secret: &str) {
    assert!(
        told.contains("the end of this refresh_token is not known") && told.contains("--ends-on YYYY-MM-DD"),
        "{told}"
    );
    let looked = stage.cli("--json doctor --offline", "").await;
    assert!(
        looked
            .out
            .contains("the end of ebay's refresh_token is not known"),
        "{looked:?}"
    );
    // The day alone, without the value again.
    let told = stage.done("credentials set ebay --ends-on 2099-12-31", "").await;
    assert!(told.contains("noted: the end of what is kept of ebay"), "{told}");
    let looked = stage.cli("--json doctor --offline", "").await;
    assert!(looked.out.contains("none that is kept sealed ends"), "{looked:?}");
    for (field, value, ends) in [
        ("client_secret", secret.to_owned(), true),
        ("refresh_token", WRONG_TOKEN.to_owned(), true),
        ("refresh_token", format!("{WRONG_TOKEN}-2"), false),
        ("refresh_token", WRONG_TOKEN.to_owned(), false),
    ] {
        let told = stage
            .done(&format!("credentials set ebay --field {field}"), &value)
            .await;
        assert_eq!(told.contains("is not known"), !ends, "{field}: {told}");
        let list = stage.json("credentials list").await;
        assert_eq!(!of_ebay(&list)["expires_at"].is_null(), ends, "{field}: {list}");
    }
}

async fn a_rotation_seals_everything_again(stage: &mut Stage) {
    let ids = "SELECT string_agg(DISTINCT key_id, ',') FROM \
               (SELECT key_id FROM encrypted_credentials UNION ALL SELECT key_id FROM oauth_tokens) AS k";
    let before = stage.world.text(ids).await;
    let told = stage.done("credentials rotate --new-key", "").await;
    let after = stage.world.text(ids).await;
    assert!(!after.contains(',') && after != before, "{before} {after}");
    assert!(
        told.contains(&format!("sealed with the key `{after}`: 2 values")) && told.contains(&before),
        "{told}"
    );
    let again = stage.json("credentials rotate").await;
    assert_eq!(again["key_id"], after);
    let key = stage.world.settings.state_dir.join("keys/zaikoban.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

async fn a_crash_and_a_revoked_consent_are_survived(stage: &mut Stage) {
    let world = &mut stage.world;
    world.kill().await;
    world.daemon.start().unwrap();
    world.daemon.ready(READY, |_| ()).await.unwrap();
    world.changes(20.0);
    world.run_for(Duration::from_secs(1)).await;
    world.changes(0.001);
    world.settle(SETTLE_AFTER_OUTAGE).await;
    // Revoked, with its access token ended: told as an error, with the command.
    world.faults(json!({ "ebay": { "revoked": true } }));
    let expire = Order {
        expire_tokens: true,
        ..Order::default()
    };
    world.simulator.order(&expire).unwrap();
    world.changes(20.0);
    world
        .until("word that somebody must sign in", SOON, "/v1/errors", |page| {
            let rows = page["items"].as_array()?;
            rows.iter().find(|row| row["code"] == "needs_reauth").map(drop)
        })
        .await;
    world.changes(0.001);
    world.faults(json!({ "ebay": { "revoked": false } }));
    let ran = stage.authorize(|ended_at| ended_at).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Left to itself it would rest for a quarter of an hour.
    stage.world.settle(SETTLE_AFTER_OUTAGE).await;
}

async fn what_somebody_did_to_key_or_row_is_told(stage: &mut Stage) {
    let key = stage.world.settings.state_dir.join("keys/zaikoban.key");
    let set = "credentials set ebay --field client_id";
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&key, open).unwrap();
    let told = stage.refused(set, "x").await;
    assert!(told.contains(&format!("`chmod 600 {}`", key.display())), "{told}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let aside = key.with_extension("aside");
    fs::rename(&key, &aside).unwrap();
    let told = stage.refused(set, "x").await;
    assert!(
        told.contains("is not there. Put it back from your backup"),
        "{told}"
    );
    let ran = stage.authorize(|ended_at| ended_at).await;
    assert!(ran.code == Some(1) && ran.out.is_empty(), "{ran:?}");
    stage.done("platforms reset ebay", "").await;
    let trouble = "the credentials of `ebay` cannot be used: the key file";
    let status = stage.world.shown("status").await;
    assert!(status.contains(trouble), "{status}");
    fs::rename(&aside, &key).unwrap();
    stage.done("platforms reset ebay", "").await;
    let status = stage.world.shown("status").await;
    assert!(!status.contains(trouble), "{status}");
    let all = fs::read_to_string(&key).unwrap();
    let old = all.lines().nth(1).unwrap();
    fs::write(&key, old).unwrap();
    let told = stage.refused("credentials rotate", "").await;
    assert!(told.contains("add the line of `k-"), "{told}");
    fs::write(&key, all).unwrap();
}

/// Every list and card, as data: whatever a door can say is among what is searched.
async fn every_page_is_asked_for_once(stage: &mut Stage) {
    for words in [
        "status",
        "tree",
        "products list",
        "products show 2",
        "listings list",
        "listings show 1",
        "listings plan",
        "holds list",
        "platforms list",
        "queue list",
        "errors list --all",
        "delay",
        "credentials list",
        "products list --state awful",
        "queue show 999999",
    ] {
        for words in [words.to_owned(), format!("--json {words}")] {
            stage.cli(&words, "").await;
        }
    }
    // Settings with secrets in the wrong places, and a database that does not answer.
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    let text = format!(
        "[database]\nurl = \"postgres://u:{PASSWORD}@127.0.0.1:1/x\"\n[platforms.ebay]\nclient_secret = [\"{WRONG_SECRET}\"]\n\
         refresh_token = 7\nendpoint = \"https://u:{PASSWORD}@api.ebay.com/?x={PASSWORD}\"\n"
    );
    fs::write(&bad, text).unwrap();
    let away = folder.path().join("away.toml");
    fs::write(
        &away,
        format!("[database]\nurl = \"postgres://u:{PASSWORD}@127.0.0.1:1/x\"\n"),
    )
    .unwrap();
    for (file, words) in [(&bad, "config check"), (&bad, "run"), (&away, "migrate")] {
        for json in ["", "--json"] {
            let line = format!("{json} --config {} {words}", file.display());
            let ran = stage.cli(&line, "").await;
            assert!(ran.code.is_some_and(|code| code != 0), "{line}: {ran:?}");
        }
    }
}

/// What must not be found, and in which clothes it could come.
fn canaries(stage: &Stage) -> Vec<String> {
    let keys = stage.world.simulator.catalogue().credentials;
    let key_file = fs::read_to_string(stage.world.settings.state_dir.join("keys/zaikoban.key")).unwrap();
    let sealing = key_file
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.1.to_owned()));
    let mut plain: Vec<String> = [
        WRONG_SECRET,
        WRONG_TOKEN,
        WRONG_CODE,
        BAD_INPUT,
        PASSWORD,
        TOKENS_BEGIN,
    ]
    .map(str::to_owned)
    .to_vec();
    plain.extend([keys.client_secret.to_string(), keys.refresh_token.to_string()]);
    let mut all = Vec::new();
    for secret in &plain {
        let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        all.extend([secret.clone(), escaped]);
        if secret != TOKENS_BEGIN {
            // As a Basic header has it, and alone; the last letters depend on what follows.
            let pair = format!("{}:{secret}", keys.client_id);
            for clothes in [pair.as_str(), secret] {
                let text = STANDARD.encode(clothes);
                let sure = text.trim_end_matches('=').len() - 2;
                all.push(text[..sure].to_owned());
            }
        }
    }
    // `v^1.1#` in base64 at the begin of a text.
    all.push(STANDARD.encode(TOKENS_BEGIN));
    all.extend(sealing);
    all.push("canary".to_owned());
    all
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_below(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

async fn nothing_shows_a_secret(stage: &mut Stage) {
    let canaries = canaries(stage);
    let search = |place: &str, bytes: &[u8]| {
        for canary in &canaries {
            assert!(
                memchr::memmem::find(bytes, canary.as_bytes()).is_none(),
                "`{canary}` is in {place}"
            );
        }
    };
    assert!(stage.said.len() > 60, "{}", stage.said.len());
    for said in &stage.said {
        search(said, said.as_bytes());
    }
    let tables = stage
        .world
        .text("SELECT string_agg(query_to_xml('SELECT * FROM ' || c.oid::regclass, true, false, '')::text, chr(10)) \
               FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'")
        .await;
    assert!(
        tables.contains("zk1.") && tables.contains("needs_reauth"),
        "the dump is whole"
    );
    search("a table", tables.as_bytes());
    let state = stage.world.settings.state_dir.clone();
    let mut files = Vec::new();
    files_below(&state, &mut files);
    let log = stage.world.daemon.log();
    assert!(files.contains(&log) && files.len() > 500, "{}", files.len());
    for file in files.iter().filter(|f| !f.ends_with("keys/zaikoban.key")) {
        // PostgreSQL's own files come and go.
        if let Ok(bytes) = fs::read(file) {
            search(&file.display().to_string(), &bytes);
        }
    }
}
