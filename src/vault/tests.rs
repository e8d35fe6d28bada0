//! Sealing, opening, the key file, and the words of each trouble.

use super::*;
use secrecy::{ExposeSecret as _, SecretString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const EBAY: Row<'static> = Row {
    platform: "ebay",
    field: "credentials",
};
const CANARY: &str = "canary-4c1d";

fn vault() -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/zaikoban.key");
    (folder, Vault::new(KeyFile::new(path, KeyFileKind::Own)))
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_key_is_made_once_for_its_owner_alone() {
    let (_folder, vault) = vault();
    assert!(matches!(vault.keys(), Err(VaultError::NoFile { .. })));
    let first = vault.keys_or_first().unwrap();
    let path = vault.file().path();
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(vault.keys_or_first().unwrap().ids(), first.ids());
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // Somebody else's file, come meanwhile, stays as it is.
    let text = fs::read_to_string(path).unwrap();
    vault.file().create("another").unwrap_err();
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

#[test]
fn a_file_that_the_settings_name_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [KeyFileKind::Given, KeyFileKind::Systemd] {
        let vault = Vault::new(KeyFile::new(folder.path().join("key"), kind));
        assert!(matches!(vault.keys_or_first(), Err(VaultError::NoFile { .. })));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_command_that_mends_it() {
    let (_folder, vault) = vault();
    vault.keys_or_first().unwrap();
    let path = vault.file().path().to_owned();
    for open in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let error = vault.keys().unwrap_err().to_string();
        let command = format!("`chmod 600 {}`", path.display());
        assert!(
            error.contains(&command) && error.contains(&format!("{open:04o}")),
            "{error}"
        );
    }
    // systemd's access list for the service's user shows as the group's bits.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    let handed_in = Vault::new(KeyFile::new(path.clone(), KeyFileKind::Systemd));
    assert!(handed_in.keys().is_ok());
    assert!(matches!(handed_in.add_key(), Err(VaultError::NotOurs { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(handed_in.keys(), Err(VaultError::Open { .. })));
}

#[test]
fn a_file_that_the_service_may_only_read_says_who_can_change_it() {
    let (_folder, vault) = vault();
    for kind in [
        std::io::ErrorKind::PermissionDenied,
        std::io::ErrorKind::ReadOnlyFilesystem,
    ] {
        let error = vault.file().not_changed(kind.into()).to_string();
        assert!(
            error.contains("openssl rand -base64 32") && error.contains("`zaikoban credentials rotate`"),
            "{error}"
        );
    }
}

#[test]
fn what_is_sealed_opens_and_never_looks_the_same_twice() {
    let (_folder, vault) = vault();
    let keys = vault.keys_or_first().unwrap();
    for value in ["", CANARY, "鍵\u{0}\n"] {
        let (one, two) = (keys.seal(EBAY, value).unwrap(), keys.seal(EBAY, value).unwrap());
        assert_ne!(one.text, two.text);
        assert_eq!(one.key_id, keys.current());
        assert_eq!(keys.open(EBAY, &one.text).unwrap().expose_secret(), value);
        assert!(!one.text.contains("canary"));
    }
}

#[test]
fn a_missing_key_another_key_a_moved_value_and_a_damaged_one_are_told_apart() {
    let (_folder, vault) = vault();
    let keys = vault.keys_or_first().unwrap();
    let sealed = keys.seal(EBAY, CANARY).unwrap().text;
    let open = |vault: &Vault, row, text: &str| vault.keys().unwrap().open(row, text).unwrap_err();

    let tokens = Row {
        field: "tokens",
        ..EBAY
    };
    let moved = open(&vault, tokens, &sealed);
    assert!(matches!(&moved, VaultError::Moved { sealed_for, .. } if sealed_for == "ebay/credentials"));
    // Renamed as well, it is still bound to its row.
    let renamed = sealed.replace("ebay/credentials", "ebay/tokens");
    let renamed = open(&vault, tokens, &renamed);
    assert!(matches!(renamed, VaultError::Damaged { .. }), "{renamed}");

    let (_other_folder, other) = self::vault();
    other.keys_or_first().unwrap();
    let missing = open(&other, EBAY, &sealed);
    assert!(matches!(&missing, VaultError::KeyMissing { key_id, .. } if key_id == keys.current()));
    let text = fs::read_to_string(other.file().path()).unwrap();
    let (name, rest) = text.split_once(':').unwrap();
    fs::write(other.file().path(), format!("{}:{rest}", keys.current())).unwrap();
    let wrong = open(&other, EBAY, &sealed);
    assert!(matches!(wrong, VaultError::WrongKey { .. }), "{wrong} {name}");

    fs::remove_file(other.file().path()).unwrap();
    let gone = other.keys().unwrap_err();
    let told = [&moved, &renamed, &missing, &wrong, &gone].map(ToString::to_string);
    let mut different = told.to_vec();
    different.dedup();
    assert_eq!(different.len(), 5, "{told:#?}");
    for text in &told {
        assert!(
            text.contains("set them again") || text.contains("Put the old one back"),
            "{text}"
        );
    }
}

#[test]
fn every_changed_byte_is_seen() {
    let (_folder, vault) = vault();
    let keys = vault.keys_or_first().unwrap();
    let sealed = keys.seal(EBAY, CANARY).unwrap().text;
    for at in 0..sealed.len() {
        for other in ["A", "b", "."] {
            let mut changed = sealed.clone();
            changed.replace_range(at..=at, other);
            if changed != sealed {
                assert!(keys.open(EBAY, &changed).is_err(), "{at}");
            }
        }
        assert!(keys.open(EBAY, &sealed[..at]).is_err(), "{at}");
    }
}

#[test]
fn an_old_key_opens_and_the_first_seals() {
    let (_folder, vault) = vault();
    let old = vault.keys_or_first().unwrap();
    let sealed = old.seal(EBAY, CANARY).unwrap().text;
    let both = vault.add_key().unwrap();
    assert_eq!(both.ids().len(), 2);
    assert_eq!(both.ids()[1], old.current());
    assert_ne!(both.current(), old.current());
    assert_eq!(both.open(EBAY, &sealed).unwrap().expose_secret(), CANARY);
    let again = both.seal(EBAY, CANARY).unwrap();
    assert_eq!(again.key_id, both.current());
    assert!(matches!(
        old.open(EBAY, &again.text),
        Err(VaultError::KeyMissing { .. })
    ));
    assert_eq!(mode(vault.file().path()), 0o600);
}

#[test]
fn a_file_that_is_no_key_file_names_the_line_and_shows_none_of_it() {
    let (_folder, vault) = vault();
    vault.keys_or_first().unwrap();
    let good = fs::read_to_string(vault.file().path()).unwrap();
    let name = good.split(':').next().unwrap().to_owned();
    for (text, line) in [
        (String::new(), 1),
        ("# only words\n".to_owned(), 1),
        (format!("{good}canary"), 2),
        (format!("{good}\n\nold:canary="), 4),
        (format!("{good}Old:{}", good.split(':').nth(1).unwrap()), 2),
        (format!("{good}{name}:{}", good.split(':').nth(1).unwrap()), 2),
        ("k:Y2FuYXJ5".to_owned(), 1),
    ] {
        fs::write(vault.file().path(), &text).unwrap();
        let error = vault.keys().unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains(&format!("line {line} ")), "{text}: {told}");
        assert!(!told.contains("canary") && !told.contains("Y2FuYXJ5"), "{told}");
    }
    fs::write(
        vault.file().path(),
        format!("# the key of the shop\n\n  {}\n", good.trim()),
    )
    .unwrap();
    assert_eq!(vault.keys().unwrap().ids(), [name]);
}

#[test]
fn nothing_that_can_be_printed_shows_a_key_or_a_value() {
    let (_folder, vault) = vault();
    let keys = vault.keys_or_first().unwrap();
    let text = fs::read_to_string(vault.file().path()).unwrap();
    let key = text.trim().split(':').nth(1).unwrap().to_owned();
    let mut secrets = Secrets::default();
    secrets.set("client_secret", CANARY.into());
    let shown = format!(
        "{vault:?} {keys:?} {secrets:?} {:?}",
        keys.seal(EBAY, CANARY).unwrap()
    );
    assert!(!shown.contains(&key) && !shown.contains("canary"), "{shown}");
    assert!(shown.contains("client_secret"));
}

#[test]
fn several_secrets_are_sealed_as_one_text() {
    let mut secrets = Secrets::default();
    secrets.set("b", "2".into());
    secrets.set("a", "1\"".into());
    let text = SecretString::from(secrets.to_text().to_string());
    let back = Secrets::parse(&text).unwrap();
    assert_eq!(back.names(), ["a", "b"]);
    assert_eq!(back.get("a").unwrap().expose_secret(), "1\"");
    assert!(Secrets::parse(&"[]".into()).is_none());
}

/// A key file of which a power cut or a disk changed something opens nothing, or is the whole one; it never opens wrongly,
/// and nothing takes its place.
#[test]
fn a14_a_key_file_that_was_damaged_at_any_byte_never_opens_wrongly() {
    let (_folder, vault) = vault();
    let sealed = vault.keys_or_first().unwrap().seal(EBAY, CANARY).unwrap().text;
    let path = vault.file().path().to_owned();
    let whole = std::fs::read(&path).unwrap();
    let opens = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(keys) = vault.keys_or_first()
            && let Ok(opened) = keys.open(EBAY, &sealed)
        {
            assert_eq!(opened.expose_secret(), CANARY, "{what}");
        }
        assert_eq!(
            std::fs::read(&path).unwrap(),
            bytes,
            "{what}: it was written over"
        );
    };
    for at in 0..whole.len() {
        opens(&whole[..at], &format!("cut at {at}"));
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            opens(&damaged, &format!("bit {bit} of byte {at}"));
        }
    }
}
