//! The endpoints of managed identities besides IMDS and App Service.

use token_broker::{Identity, RawRequest, SendErrorKind, Verdict};

use crate::fake::{fault, json, token};
use crate::stage::*;

#[test]
fn machine_learning_is_asked_in_the_older_protocol() {
    let (world, broker) = stage(
        &with(MSI, &[("DEFAULT_IDENTITY_CLIENT_ID", "compute")]),
        [json(200, r#"{"access_token":"T1","expires_on":1760086400}"#), token("T2", DAY)],
    );
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let sent = world.sent(0);
    assert_eq!(
        sent.url,
        "http://localhost:50342/oauth2/token?api-version=2017-09-01&resource=https%3A%2F%2Fvault.azure.net&clientid=compute"
    );
    assert!(sent.headers["secret"] == "msi-secret" && sent.headers["secret"].is_sensitive());
    world.ask(&broker, vault_for(client("x"))).unwrap();
    assert!(world.sent(1).url.ends_with("&clientid=x"), "{}", world.sent(1).url);
    for identity in [Identity::object_id("o"), Identity::resource_id("/s/r")] {
        let request = vault_for(identity.unwrap());
        assert_eq!(world.ask(&broker, request).unwrap_err().kind(), "invalid-request");
    }
    assert_eq!(world.requests(), 2);
}

#[test]
fn cloud_shell_gets_a_form_and_has_one_identity() {
    let (world, broker) = stage(&MSI[..1], [token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let sent = world.sent(0);
    assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "http://localhost:50342/oauth2/token"));
    assert_eq!(
        (sent.body.as_str(), &sent.headers["metadata"]),
        ("resource=https%3A%2F%2Fvault.azure.net", &"true".parse().unwrap())
    );
    let named = vault_for(client("x"));
    assert_eq!(world.ask(&broker, named).unwrap_err().kind(), "invalid-request");
}

#[test]
fn service_fabric_is_asked_only_where_the_host_pins_its_certificate() {
    let (world, broker) = stage(FABRIC, []);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("unavailable", 0));
    assert!(error.to_string().contains("TOKEN_BROKER_PINNED_THUMBPRINT"), "{error}");
    assert_eq!(report(&broker, "service-fabric").verdict, Verdict::Misconfigured);

    let broker = world.broker(&with(FABRIC, &[PIN]));
    world.script([token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let sent = world.sent(0);
    assert_eq!(
        sent.url,
        "https://10.0.0.4:2377/metadata/identity/oauth2/token?api-version=2019-07-01-preview&resource=https%3A%2F%2Fvault.azure.net"
    );
    assert_eq!(sent.headers["secret"], "fabric-secret");
    assert_eq!(world.ask(&broker, vault_for(client("x"))).unwrap_err().kind(), "invalid-request");
}

#[test]
fn service_fabric_is_told_which_token_was_refused() {
    let (world, broker) = stage(
        &with(FABRIC, &[PIN]),
        [token("test_token", DAY), token("T2", DAY), token("T3", DAY), token("T4", DAY)],
    );
    world.get(&broker, VAULT).unwrap();
    let claims = Some(r#"{"access_token":{"nbf":{"essential":true,"value":"1563308371"}}}"#.to_owned());
    world.ask(&broker, RawRequest { claims: claims.clone(), ..raw(VAULT) }).unwrap();
    let refused = "&token_sha256_to_refresh=cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
    assert!(world.sent(1).url.ends_with(refused), "{}", world.sent(1).url);
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    world.ask(&broker, RawRequest { enable_cae: true, ..raw(VAULT) }).unwrap();
    assert!(world.sent(2).url.ends_with("&xms_cc=CP1"), "{}", world.sent(2).url);
    world.ask(&broker, RawRequest { enable_cae: true, claims, ..raw(VAULT) }).unwrap();
    let url = world.sent(3).url;
    assert!(url.contains("token_sha256_to_refresh=") && url.ends_with("&xms_cc=CP1"));
}

#[test]
fn a_service_fabric_application_without_an_identity_is_not_asked_about_twice() {
    let (world, broker) = stage(
        &with(FABRIC, &[PIN]),
        [json(404, r#"{"error":{"correlationId":"c","code":"ManagedIdentityNotFound","message":"none"}}"#)],
    );
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("rejected", 1));
    assert_eq!(error.failures()[0].code.as_deref(), Some("ManagedIdentityNotFound"));
}

#[test]
fn arc_is_shown_the_key_that_it_named() {
    let (world, broker) = stage(ARC, [challenge(KEY_FILE), token("T1", DAY)]);
    world.file(KEY_FILE, "the-key");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let url = "http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&resource=https%3A%2F%2Fvault.azure.net";
    assert_eq!((world.sent(0).url.as_str(), world.sent(1).url.as_str()), (url, url));
    assert!(!world.sent(0).headers.contains_key("authorization"));
    assert!(world.sent(1).headers["authorization"] == "Basic the-key");
    assert_eq!(world.sent(1).headers["metadata"], "true");
    assert_eq!(world.reads(), [format!("{KEY_FILE} Refuse")]);
}

#[test]
fn a_file_that_is_not_the_agents_is_neither_read_nor_sent() {
    for realm in ["/etc/passwd", "/var/opt/azcmagent/tokens/../../../../etc/a.key", "path/to/secret.key", ""]
    {
        let (world, broker) = stage(ARC, [challenge(realm)]);
        assert_eq!(world.error(&broker, VAULT).kind(), "protocol", "{realm}");
        assert_eq!((world.requests(), world.reads().len()), (1, 0), "{realm}");
    }
    let (world, broker) = stage(ARC, [json(401, "{}")]);
    assert_eq!(world.error(&broker, VAULT).kind(), "protocol");
}

#[test]
fn a_key_of_4096_bytes_is_sent_and_no_longer_or_broken_one() {
    for (key, sent) in
        [("k".repeat(4096), 2), ("k".repeat(4097), 1), (String::new(), 1), ("a\nb".to_owned(), 1)]
    {
        let (world, broker) = stage(ARC, [challenge(KEY_FILE), token("T1", DAY)]);
        world.file(KEY_FILE, &key);
        assert_eq!(world.get(&broker, VAULT).is_ok(), sent == 2, "{}", key.len());
        assert_eq!(world.requests(), sent);
    }
    let (world, broker) = stage(ARC, [challenge(KEY_FILE)]);
    let error = world.error(&broker, VAULT);
    assert!(error.kind() == "protocol" && error.to_string().contains("himds"), "{error}");
}

#[test]
fn arc_must_confirm_a_user_assigned_identity() {
    for (echo, taken) in [
        (r#""client_id":"ABC""#, true),
        (r#""client_id":"other""#, false),
        (r#""object_id":"abc""#, false),
        (r#""client_id":1"#, false),
        (r#""x":1"#, false),
    ] {
        let (world, broker) = stage(ARC, []);
        world.file(KEY_FILE, "the-key");
        let body = format!(r#"{{"access_token":"T1","expires_in":"3600",{echo}}}"#);
        world.script([challenge(KEY_FILE), json(200, &body)]);
        let outcome = kind(world.ask(&broker, vault_for(client("abc"))));
        assert_eq!(outcome, if taken { "a token" } else { "protocol" }, "{echo}");
        assert!(world.sent(0).url.ends_with("&client_id=abc"));
    }
}

#[test]
fn arc_shows_by_its_agents_file_that_it_is_here() {
    let (world, broker) = stage(&[], [challenge(KEY_FILE), token("T1", DAY)]);
    world.file("/opt/azcmagent/bin/himds", "ELF and so on");
    world.file(KEY_FILE, "the-key");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert!(world.sent(0).url.starts_with("http://127.0.0.1:40342/metadata/identity/oauth2/token?"));
}

#[test]
fn a_link_out_of_the_guests_directory_is_reported_without_advice_on_the_file_format() {
    for (environment, path) in [(CERTIFICATE, "/app.pem"), (WORKLOAD, "/tokens/azure")] {
        let (world, broker) = stage(environment, []);
        world.link_out(path);
        let error = world.error(&broker, VAULT).to_string();
        assert!(error.contains("symbolic link leads out of the directory"), "{error}");
        assert!(error.contains(path) && !error.contains("PEM") && world.requests() == 0, "{error}");
    }
}

#[test]
fn an_unreadable_agents_file_is_distinguished_from_a_missing_one() {
    for (broken, says) in [(false, "there is no file"), (true, "cannot be read: permission denied")] {
        let (world, broker) = stage(&[], []);
        if broken {
            world.broken_file("/opt/azcmagent/bin/himds", "permission denied");
        }
        world.script([fault(SendErrorKind::NotConnected)]);
        let error = world.error(&broker, VAULT);
        let agent = error.failures().iter().find(|failure| failure.source == "azure-arc").unwrap();
        assert!(agent.message.contains(says), "{error}");
    }
}

#[test]
fn an_agent_that_asks_again_and_again_is_not_answered_again() {
    let (world, broker) = stage(ARC, [challenge(KEY_FILE), challenge(KEY_FILE)]);
    world.file(KEY_FILE, "the-key");
    assert_eq!(world.error(&broker, VAULT).kind(), "rejected");
    assert_eq!(world.requests(), 2);
}
