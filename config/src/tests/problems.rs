//! Each kind of problem, with its exact text.

use super::{File, with_listener};

/// Loads a file of exactly this text; the problems, without the folder.
fn problems(text: &str) -> String {
    let file = File::new(text);
    let folder = format!("{}/", file.folder.path().display());
    file.load(&[]).unwrap_err().to_string().replace(&folder, "")
}

/// The same, after one right listener on the lines 1 and 2.
fn after_listener(text: &str) -> String {
    problems(&format!("listener = [{{ bind = \"127.0.0.1:1883\" }}]\n\n{text}"))
}

fn each(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(after_listener(text), *expected, "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let error = crate::Config::load(Some("no/such.toml".as_ref()), std::iter::empty()).unwrap_err();
    let expected =
        "no/such.toml: No such file or directory (os error 2); allowed: a readable TOML file in UTF-8";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn no_toml() {
    assert_eq!(problems("a = 1\n[limits\n"), "sealmq.toml:2:8: no TOML: unclosed table, expected `]`");
    assert_eq!(problems("a = 1\na = 2\n"), "sealmq.toml:2:1: no TOML: duplicate key");
    assert_eq!(
        problems("limits.connections_max = 99999999999999999999"),
        "sealmq.toml:1: limits.connections_max: found 99999999999999999999; allowed: integers of 64 bits"
    );
    assert_eq!(
        problems("\"a[99999999999]\" = 1"),
        "sealmq.toml:1: a[99999999999]: unknown key; allowed: names without dots and brackets in quotes"
    );
}

#[test]
fn unknown_keys_name_the_right_one() {
    each(&[
        (
            "[limits]\nallow_mqtt31 = true",
            "sealmq.toml:4: limits.allow_mqtt31: unknown key; did you mean mqtt.allow_mqtt31?",
        ),
        (
            "session_expiry_max_s = 5",
            "sealmq.toml:3: session_expiry_max_s: unknown key; did you mean mqtt.session_expiry_max_s?",
        ),
        (
            "[[listeners]]\nbind = \"127.0.0.1:1\"",
            "sealmq.toml:3: listeners: unknown key; did you mean [[listener]]?",
        ),
        ("[limit]", "sealmq.toml:3: limit: unknown key; did you mean [limits]?"),
        (
            "[limits]\nmax_connections = 5",
            "sealmq.toml:4: limits.max_connections: unknown key; did you mean limits.connections_max?",
        ),
        (
            "[limits]\nconection_max = 5",
            "sealmq.toml:4: limits.conection_max: unknown key; did you mean limits.connections_max?",
        ),
        (
            "[limits]\nallow_mqt31 = true",
            "sealmq.toml:4: limits.allow_mqt31: unknown key; did you mean mqtt.allow_mqtt31?",
        ),
        ("tls = {}", "sealmq.toml:3: tls: unknown key; did you mean [listener.tls]?"),
        (
            "[encryption]\nxyz = 1",
            "sealmq.toml:4: encryption.xyz: unknown key; allowed here: max_clock_skew_s, timed_stamps_max, derived_keys_max, unchecked_max",
        ),
    ]);
    assert_eq!(
        problems(
            "[[listener]]\nbind = \"[::]:1\"\n[[listener]]\nbind = \"[::]:2\"\n[listener.tls]\ncert = \"c\"\nkey = \"k\"\ncerts = 1"
        ),
        "sealmq.toml:8: listener[1].tls.certs: unknown key; did you mean listener.tls.cert?"
    );
}

#[test]
fn bounds_of_what_waits_to_be_examined() {
    each(&[
        (
            "limits.unchecked_bytes_max = 1023",
            "sealmq.toml:3: limits.unchecked_bytes_max: found 1023; allowed: 1 KiB to 1 TiB",
        ),
        (
            "limits.examined_batch_bytes_max = \"2 TiB\"",
            "sealmq.toml:3: limits.examined_batch_bytes_max: found \"2 TiB\"; allowed: 1 KiB to 1 TiB",
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind_or_size() {
    each(&[
        ("data_dir = \"\"", "sealmq.toml:3: data_dir: found \"\"; allowed: a path"),
        (
            "auth.allow_anonymous = \"true\"",
            "sealmq.toml:3: auth.allow_anonymous: found \"true\"; allowed: true or false",
        ),
        (
            "limits.connections_max = 0",
            "sealmq.toml:3: limits.connections_max: found 0; allowed: 1 to 10,000,000",
        ),
        (
            "limits.connections_max = -1",
            "sealmq.toml:3: limits.connections_max: found -1; allowed: 1 to 10,000,000",
        ),
        (
            "limits.connections_max = \"5\"",
            "sealmq.toml:3: limits.connections_max: found \"5\"; allowed: 1 to 10,000,000",
        ),
        (
            "limits.connect_timeout_s = 1.5",
            "sealmq.toml:3: limits.connect_timeout_s: found 1.5; allowed: 1 to 3,600 seconds",
        ),
        (
            "mqtt.packet_bytes_max = 268435461",
            "sealmq.toml:3: mqtt.packet_bytes_max: found 268435461; allowed: 64 B to 268,435,460 B",
        ),
        (
            "mqtt.packet_bytes_max = \"1 mib\"",
            "sealmq.toml:3: mqtt.packet_bytes_max: found \"1 mib\"; allowed: 64 B to 268,435,460 B",
        ),
        (
            "limits.queue_full = \"block\"",
            "sealmq.toml:3: limits.queue_full: found \"block\"; allowed: \"drop-newest\", \"drop-oldest\"",
        ),
        ("limits = 5", "sealmq.toml:3: limits: found 5; allowed: a table"),
        (
            "[acl]\nuser = \"u\"",
            "sealmq.toml:3: acl: found a table; allowed: a list of tables, each headed by [[acl]]",
        ),
        ("acl = [5]", "sealmq.toml:3: acl[0]: found 5; allowed: a table"),
        (
            "auth.client_id_prefixes = [\"a\", \"\"]",
            "sealmq.toml:3: auth.client_id_prefixes: found a list; allowed: a list of texts, none empty",
        ),
        (
            "telemetry.log = \"verbose\"",
            "sealmq.toml:3: telemetry.log: found \"verbose\"; allowed: error, warn, info, debug, trace or off, or a list such as \"info,sealmq=debug\"",
        ),
        (
            "storage.durability = \"disk\"",
            "sealmq.toml:3: storage.durability: found \"disk\"; allowed: \"sync\", \"async\", \"memory\"",
        ),
    ]);
}

#[test]
fn the_store_has_its_bounds() {
    each(&[
        (
            "storage.async_interval_ms = 60001",
            "sealmq.toml:3: storage.async_interval_ms: found 60001; allowed: 1 to 60,000 milliseconds",
        ),
        ("storage.path = \"\"", "sealmq.toml:3: storage.path: found \"\"; allowed: a path"),
        (
            "storage.cache_bytes = \"1023 KiB\"",
            "sealmq.toml:3: storage.cache_bytes: found \"1023 KiB\"; allowed: 1 MiB to 1 TiB",
        ),
        (
            "storage.pending_bytes_max = 65535",
            "sealmq.toml:3: storage.pending_bytes_max: found 65535; allowed: 64 KiB to 1 TiB",
        ),
        (
            "storage.ballast_bytes = \"2 GiB\"",
            "sealmq.toml:3: storage.ballast_bytes: found \"2 GiB\"; allowed: 0 B to 1 GiB",
        ),
        ("storage.queue_qos0 = 1", "sealmq.toml:3: storage.queue_qos0: found 1; allowed: true or false"),
    ]);
}

#[test]
fn an_interval_needs_a_durability_that_keeps_to_it() {
    let problem = |line: usize, found: &str| {
        format!(
            "sealmq.toml:{line}: storage.async_interval_ms: found {found}; allowed: with storage.durability = \"async\" only"
        )
    };
    each(&[
        ("[storage]\nasync_interval_ms = 1000", &problem(4, "1000 with storage.durability = \"sync\"")),
        (
            "[storage]\ndurability = \"memory\"\nasync_interval_ms = 5",
            &problem(5, "5 with storage.durability = \"memory\""),
        ),
        (
            "storage = { async_interval_ms = 5, durability = \"sync\" }",
            &problem(3, "5 with storage.durability = \"sync\""),
        ),
        // Only one thing is wrong here, and it is not the interval.
        (
            "[storage]\ndurability = \"asynch\"\nasync_interval_ms = 5",
            "sealmq.toml:4: storage.durability: found \"asynch\"; allowed: \"sync\", \"async\", \"memory\"",
        ),
    ]);
}

#[test]
fn listeners() {
    assert_eq!(
        problems("data_dir = \"d\""),
        "sealmq.toml: listener: missing; allowed: at least one [[listener]] with a bind address"
    );
    assert_eq!(
        problems("[[listener]]\nbind = \"localhost:1883\""),
        "sealmq.toml:2: listener[0].bind: found \"localhost:1883\"; allowed: an address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\""
    );
    assert_eq!(
        problems("[[listener]]\nbind = \"0.0.0.0:1883\"\n[[listener]]\nbind = \"127.0.0.1:1883\""),
        "sealmq.toml:4: listener[1].bind: found 127.0.0.1:1883; allowed: an address that listener[0] does not take already"
    );
    assert_eq!(
        problems("[[listener]]\nbind = \"127.0.0.1:1\"\norigins = [\"*\"]"),
        "sealmq.toml:3: listener[0].origins: found origins of a listener that no web page can reach; allowed: with websocket = true only"
    );
    assert_eq!(
        problems("[[listener]]\nbind = \"127.0.0.1:1\"\nwebsocket = true\norigins = [\"app.example\"]"),
        "sealmq.toml:4: listener[0].origins[0]: found \"app.example\"; allowed: an origin, such as \"https://app.example:8443\", or \"*\" for any"
    );
    assert_eq!(
        problems("[[listener]]\n[listener.tls]\nkey = \"k\""),
        "sealmq.toml:1: listener[0].bind: missing; allowed: an address and a port, such as \"0.0.0.0:1883\" or \"[::]:1883\"\n\
         sealmq.toml:2: listener[0].tls.cert: missing; allowed: a path"
    );
}

#[test]
fn times() {
    let key = "[[topic_key]]\nid = \"k\"\nkey = \"f\"\ntopics = [\"a\"]\n";
    let allowed = "allowed: a time since 1970 with its zone, such as 2030-01-01T00:00:00Z";
    assert_eq!(
        after_listener(&format!("{key}not_after = 2030-01-01")),
        format!("sealmq.toml:7: topic_key[0].not_after: found \"2030-01-01\"; {allowed}")
    );
    assert_eq!(
        after_listener(&format!("{key}not_after = 5")),
        format!("sealmq.toml:7: topic_key[0].not_after: found 5; {allowed}")
    );
    assert_eq!(
        after_listener(&format!("{key}not_before = 2030-01-01T00:00:00Z\nnot_after = 2030-01-01T00:00:00Z")),
        "sealmq.toml:8: topic_key[0].not_after: found a time not after not_before; allowed: a later one"
    );
}

#[test]
fn a_topic_key_has_one_source() {
    let key = |lines: &str| format!("[[topic_key]]\nid = \"k\"\ntopics = [\"a\"]\n{lines}");
    each(&[
        (
            &key(""),
            "sealmq.toml:3: topic_key[0].key: missing; allowed: a path; or a master, from which each topic gets a key of its own",
        ),
        (
            &key("key = \"f\"\nmaster = \"g\""),
            "sealmq.toml:7: topic_key[0].master: found both key and master; allowed: one of them",
        ),
        (
            &key("key = \"f\"\nalgorithm = \"X25519\""),
            "sealmq.toml:7: topic_key[0].algorithm: found one beside a key; allowed: with master only; a key's file says its own",
        ),
        (
            &key("master = \"f\"\nalgorithm = \"AES\""),
            "sealmq.toml:7: topic_key[0].algorithm: found \"AES\"; allowed: \"A128GCM\", \"A256GCM\", \"ChaCha20/Poly1305\", \"X25519\"",
        ),
        // Only one thing is wrong here.
        (&key("key = 5"), "sealmq.toml:6: topic_key[0].key: found 5; allowed: a path"),
    ]);
}

#[test]
fn topics_and_ids() {
    let sender =
        |id: &str, topics: &str| format!("[[sender]]\nid = \"{id}\"\nkey = \"f\"\ntopics = {topics}\n");
    each(&[
        (
            &sender("s", "[]"),
            "sealmq.toml:6: sender[0].topics: found an empty list; allowed: a list of at least one topic filter",
        ),
        (
            &sender("s", "\"a\""),
            "sealmq.toml:6: sender[0].topics: found \"a\"; allowed: a list of at least one topic filter",
        ),
        (
            &sender("s", "[\"a\", 5]"),
            "sealmq.toml:6: sender[0].topics[1]: found 5; allowed: a topic filter, a text with at least one character",
        ),
        (
            &sender("", "[\"a\"]"),
            "sealmq.toml:4: sender[0].id: found \"\"; allowed: a text of 1 to 255 bytes",
        ),
        (
            &(sender("s", "[\"a\"]") + &sender("s", "[\"b\"]")),
            "sealmq.toml:8: sender[1].id: found \"s\"; allowed: one that sender[0] does not have already",
        ),
    ]);
    let long = after_listener(&sender(&"x".repeat(256), "[\"a\"]"));
    let shown = "x".repeat(80);
    assert_eq!(
        long,
        format!("sealmq.toml:4: sender[0].id: found \"{shown}\"...; allowed: a text of 1 to 255 bytes")
    );
    assert_eq!(
        after_listener(&sender("s", "[\"a/#/b\"]")),
        format!(
            "sealmq.toml:6: sender[0].topics[0]: found \"a/#/b\"; {}",
            "a/#/b".parse::<sealmq_protocol::TopicFilter>().unwrap_err()
        )
    );
}

#[test]
fn what_does_not_fit_together() {
    let key = "[[topic_key]]\nid = \"k\"\nkey = \"f\"\ntopics = [\"a\"]\n";
    let policy = "[[policy]]\ntopics = [\"a\"]\npayload = \"plain\"\n";
    each(&[
        (
            &key.repeat(2),
            "sealmq.toml:8: topic_key[1].id: found \"k\"; allowed: one that topic_key[0] does not have already",
        ),
        (
            "[identity]\nid = \"dev\"\n[[sender]]\nid = \"dev\"\nkey = \"f\"\ntopics = [\"a\"]",
            "sealmq.toml:4: identity.id: found \"dev\"; allowed: one that sender[0] does not have",
        ),
        (
            &format!("{policy}egress = \"secure\""),
            "sealmq.toml:6: policy[0].egress: found an egress of what is not confidential; allowed: with payload = \"sealed\" only",
        ),
        (
            "[[subscriber_key]]\nkey = \"f\"\n[[subscriber_key]]\nclient = \"a\"\nuser = \"a\"\nkey = \"f\"",
            "sealmq.toml:3: subscriber_key[0].client: found neither client nor user; allowed: either client or user\nsealmq.toml:7: subscriber_key[1].user: found a user beside a client; allowed: either client or user",
        ),
        (
            &"[[subscriber_key]]\nclient = \"a\"\nkey = \"f\"\n".repeat(2),
            "sealmq.toml:7: subscriber_key[1].client: found \"a\"; allowed: one that subscriber_key[0] does not have already",
        ),
        (
            &policy.repeat(2),
            "sealmq.toml:7: policy[1].topics[0]: found \"a\"; allowed: a filter that does not stand in policy[0].topics[0] already, for the first one counts",
        ),
        (
            "[[acl]]\naccess = \"all\"\ntopics = [\"home/x%u/#\"]",
            "sealmq.toml:5: acl[0].topics[0]: found \"home/x%u/#\"; allowed: %u and %c as a whole level, as in home/%u/#",
        ),
        (
            "auth.allow_anonymous = false",
            "sealmq.toml:3: auth.allow_anonymous: found false without auth.password_file or a sender, so that nobody could connect; allowed: true, or false with auth.password_file or a [[sender]]",
        ),
    ]);
}

#[test]
fn several_problems_come_in_the_order_of_the_file() {
    let error = after_listener(
        "[telemetry]\nlog_json = 1\n[limits]\nsessions_max = 0\nfoo = 1\n[[acl]]\naccess = \"read\"",
    );
    let keys: Vec<_> = error.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        keys,
        ["telemetry.log_json", "limits.sessions_max", "limits.foo", "acl[0].topics", "acl[0].access"]
    );
}

#[test]
fn texts_for_clients_have_a_form_in_mqtt() {
    for key in ["response_information", "server_reference"] {
        let allowed = "allowed: a text of 1 to 65,535 bytes";
        for (value, found) in [("", "\"\""), ("a\\u0000b", "\"a\\0b\"")] {
            let file = with_listener(&format!("[mqtt]\n{key} = \"{value}\""));
            let error = file.load(&[]).unwrap_err().to_string();
            assert!(error.contains(&format!("mqtt.{key}: found {found}; {allowed}")), "{error}");
        }
        let long = "x".repeat(65_536);
        let error = with_listener(&format!("[mqtt]\n{key} = \"{long}\"")).load(&[]).unwrap_err().to_string();
        assert!(error.contains(allowed) && error.len() < 1_000, "{error}");
    }
}
