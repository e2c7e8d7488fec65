//! What a file says is what comes out.

use super::{File, load};
use crate::Config;
use crate::auth::{Access, AclRule, Auth, Permission};
use crate::egress::{Egress, Holder, SubscriberKey};
use crate::encryption::{Bind, DerivedAlgorithm, KeySource, OnRefusal, Payload, Policy, Sender, TopicKey};
use crate::listener::{Listener, Tls};
use crate::storage::{Durability, Storage};
use sealmq_protocol::TopicFilter;
use std::path::Path;

const EXAMPLE: &str = r#"
data_dir = "/var/lib/sealmq"
[[listener]]
bind = "0.0.0.0:1883"
[[listener]]
bind = "0.0.0.0:8883"
[listener.tls]
cert = "server.pem"
key = "server.key"
client_ca = "ca.pem"            # optional
[auth]
allow_anonymous = true
password_file = "passwd"        # optional: user:hash lines, argon2id, made by `sealmq passwd`
[[sender]]
id = "dev-7"
key = "keys/dev-7.pub.jwk"
topics = ["plant/7/#"]
bind = "client-id"
[[topic_key]]
id = "plant-1"
key = "keys/plant-1.jwk"
topics = ["plant/#"]
not_after = 2030-01-01T00:00:00Z
[[policy]]
topics = ["plant/#"]
payload = "sealed"              # plain | stamped | sealed | end-to-end
on_refusal = "drop"             # drop | disconnect
[limits]
connections_max = 100000
"#;

fn filters(texts: &[&str]) -> Vec<TopicFilter> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_example_loads_with_exactly_its_values() {
    let file = File::new(EXAMPLE);
    let config = file.load(&[]).unwrap();
    let listeners = vec![
        Listener::plaintext("0.0.0.0:1883".parse().unwrap()),
        Listener {
            tls: Some(Tls {
                cert: file.path("server.pem"),
                key: file.path("server.key"),
                client_ca: Some(file.path("ca.pem")),
            }),
            ..Listener::plaintext("0.0.0.0:8883".parse().unwrap())
        },
    ];
    let sender = Sender {
        id: "dev-7".to_owned(),
        key: file.path("keys/dev-7.pub.jwk"),
        topics: filters(&["plant/7/#"]),
        not_before: None,
        not_after: None,
        bind: Some(Bind::ClientId),
    };
    let topic_key = TopicKey {
        id: "plant-1".to_owned(),
        source: KeySource::Key(file.path("keys/plant-1.jwk")),
        topics: filters(&["plant/#"]),
        not_before: None,
        not_after: Some(1_893_456_000),
    };
    let policy = Policy {
        topics: filters(&["plant/#"]),
        payload: Payload::Sealed,
        on_refusal: OnRefusal::Drop,
        egress: Egress::Secure,
    };
    let expected = Config {
        data_dir: "/var/lib/sealmq".into(),
        listeners,
        auth: Auth { password_file: Some(file.path("passwd")), ..Auth::default() },
        senders: vec![sender],
        topic_keys: vec![topic_key],
        policies: vec![policy],
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn a_master_is_read_with_what_its_keys_are_for() {
    let entry = |lines: &str| format!("[[topic_key]]\nid = \"k\"\ntopics = [\"a\"]\n{lines}\n");
    for (lines, algorithm) in [
        ("master = \"keys/plant.master\"", None),
        ("master = \"keys/plant.master\"\nalgorithm = \"X25519\"", Some(DerivedAlgorithm::X25519)),
        (
            "master = \"keys/plant.master\"\nalgorithm = \"ChaCha20/Poly1305\"",
            Some(DerivedAlgorithm::ChaCha20Poly1305),
        ),
    ] {
        let file = super::with_listener(&entry(lines));
        let source = file.load(&[]).unwrap().topic_keys.remove(0).source;
        let master = file.path("keys/plant.master");
        assert_eq!((source.file(), source.setting()), (&*master, "master"));
        assert_eq!(source, KeySource::Master { file: master, algorithm });
    }
}

#[test]
fn acl_rules_come_in_order_with_allow_as_default() {
    let text = r##"
        [[acl]]
        user = "ann"
        client = "c1"
        access = "publish"
        permission = "deny"
        topics = ["a", "b/%u/+"]
        [[acl]]
        access = "all"
        topics = ["#"]
    "##;
    let expected = [
        AclRule {
            user: Some("ann".to_owned()),
            client: Some("c1".to_owned()),
            access: Access::Publish,
            permission: Permission::Deny,
            topics: filters(&["a", "b/%u/+"]),
        },
        AclRule {
            user: None,
            client: None,
            access: Access::All,
            permission: Permission::Allow,
            topics: filters(&["#"]),
        },
    ];
    assert_eq!(load(text).unwrap().acl, expected);
}

#[test]
fn every_payload_and_refusal_has_its_name() {
    for (name, payload) in [
        ("plain", Payload::Plain),
        ("stamped", Payload::Stamped),
        ("sealed", Payload::Sealed),
        ("end-to-end", Payload::EndToEnd),
    ] {
        let text = format!("[[policy]]\ntopics = [\"a\"]\npayload = \"{name}\"\non_refusal = \"disconnect\"");
        let policy = load(&text).unwrap().policies[0].clone();
        assert_eq!((policy.payload, policy.on_refusal), (payload, OnRefusal::Disconnect));
    }
}

#[test]
fn every_egress_and_holder_has_its_name() {
    for (name, egress) in [("secure", Egress::Secure), ("secure-or-sealed", Egress::SecureOrSealed)] {
        let text = format!("[[policy]]\ntopics = [\"a\"]\npayload = \"sealed\"\negress = \"{name}\"");
        assert_eq!(load(&text).unwrap().policies[0].egress, egress);
    }
    let entry = |holder: &str| format!("[[subscriber_key]]\n{holder} = \"a\"\nkey = \"/k\"\n");
    let loaded = load(&(entry("client") + &entry("user"))).unwrap().subscriber_keys;
    let holders = [Holder::Client("a".to_owned()), Holder::User("a".to_owned())];
    let expected = holders.map(|holder| SubscriberKey { holder, key: "/k".into() });
    assert_eq!(loaded, expected);
}

#[test]
fn sizes_are_numbers_or_texts_with_a_unit() {
    for text in ["1048576", "\"1 MiB\"", "\"1024KiB\"", "0x100000", "1_048_576"] {
        let config = load(&format!("mqtt.packet_bytes_max = {text}")).unwrap();
        assert_eq!(config.mqtt.packet_bytes_max, 1 << 20, "{text}");
    }
}

#[test]
fn the_store_is_as_the_file_says() {
    let text = r#"
        [storage]
        durability = "async"
        async_interval_ms = 60000
        path = "fast/store"
        queued_bytes_max = "2 GiB"
        cache_bytes = "1 TiB"
        pending_bytes_max = "64 KiB"
        ballast_bytes = "1 GiB"
        queue_qos0 = true
        [[listener]]
        bind = "127.0.0.1:1883"
    "#;
    let file = File::new(text);
    let expected = Storage {
        durability: Durability::Async,
        async_interval_ms: 60_000,
        path: Some(file.path("fast/store")),
        queued_bytes_max: 2 << 30,
        cache_bytes: 1 << 40,
        pending_bytes_max: 64 << 10,
        ballast_bytes: 1 << 30,
        queue_qos0: true,
    };
    assert_eq!(file.load(&[]).unwrap().storage, expected);
}

#[test]
fn every_durability_has_its_name() {
    for durability in [Durability::Sync, Durability::Async, Durability::Memory] {
        let config = load(&format!("storage.durability = \"{}\"", durability.name())).unwrap();
        assert_eq!(config.storage.durability, durability);
    }
}

#[test]
fn the_store_lies_in_the_data_folder_unless_it_has_a_path() {
    let folder = |config: &Config| config.storage.folder(&config.data_dir);
    assert_eq!(folder(&load("").unwrap()), Path::new("sealmq-data/store"));
    let file = super::with_listener("data_dir = \"data\"");
    assert_eq!(folder(&file.load(&[]).unwrap()), file.path("data/store"));
    let file = super::with_listener("data_dir = \"data\"\nstorage.path = \"fast\"");
    assert_eq!(folder(&file.load(&[]).unwrap()), file.path("fast"));
    assert_eq!(folder(&load("storage.path = \"/srv/mq\"").unwrap()), Path::new("/srv/mq"));
}

#[test]
fn the_identity_lies_in_the_data_folder_unless_it_has_a_file() {
    let file = |config: &Config| config.identity.file(&config.data_dir);
    assert_eq!(file(&load("").unwrap()), Path::new("sealmq-data/keys/identity.jwk"));
    let own = super::with_listener("data_dir = \"data\"\nidentity.key = \"own.jwk\"\nidentity.id = \"mq\"");
    let config = own.load(&[]).unwrap();
    assert_eq!((file(&config), config.identity.id.as_str()), (own.path("own.jwk"), "mq"));
}

#[test]
fn absolute_paths_stay_and_relative_ones_are_the_files() {
    let file = super::with_listener("data_dir = \"../data\"\nauth.password_file = \"/etc/passwd\"");
    let config = file.load(&[]).unwrap();
    assert_eq!(config.data_dir, file.path("../data"));
    assert_eq!(config.auth.password_file.as_deref(), Some(Path::new("/etc/passwd")));
}

#[test]
fn a_default_data_folder_is_in_the_current_folder() {
    assert_eq!(load("").unwrap().data_dir, Path::new("sealmq-data"));
}

#[test]
fn port_0_and_both_families_may_stand_together() {
    let bind = |bind: &str| format!("[[listener]]\nbind = \"{bind}\"\n");
    let text: String = ["127.0.0.1:0", "127.0.0.1:0", "0.0.0.0:1883", "[::]:1883"].map(bind).concat();
    assert_eq!(File::new(&text).load(&[]).unwrap().listeners.len(), 4);
}

#[test]
fn origins_come_out_as_browsers_send_them() {
    let read = |origins: &str| {
        let text = format!("[[listener]]\nbind = \"[::]:8083\"\nwebsocket = true\norigins = [{origins}]");
        File::new(&text).load(&[]).map(|config| config.listeners[0].origins.clone().unwrap())
    };
    for (written, sent) in [
        ("https://App.Example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("app+x://host", "app+x://host"),
        ("*", "*"),
    ] {
        assert_eq!(read(&format!("{written:?}")).unwrap(), [sent]);
    }
    assert_eq!(read("").unwrap(), [""; 0]);
    for wrong in
        ["app.example", "https://", "https://a/", "https://a:b", "https://a b", "://a", "https://[a]"]
    {
        assert!(read(&format!("{wrong:?}")).is_err(), "{wrong}");
    }
}
