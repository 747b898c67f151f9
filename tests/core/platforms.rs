//! The environments of the platforms: the source that must answer in each, and those that must not.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use token_broker::{Error, Identity, SendErrorKind, Verdict};

use crate::fake::{World, fault, json, token};
use crate::stage::{DAY, JWT, client, text, vault_for};

const ALLOWED: &str = "TOKEN_BROKER_ALLOWED_ENDPOINT";
const PINNED: &str = "TOKEN_BROKER_PINNED_THUMBPRINT";
const ID: &str = "11111111-1111-1111-1111-111111111111";

type Pairs<'a> = [(&'a str, &'a str)];

fn request_token(world: &World, environment: &Pairs<'_>, identity: Identity) -> Result<String, Error> {
    world.ask(&world.broker(environment), vault_for(identity)).map(|grant| text(&grant).to_owned())
}

fn get(world: &World, environment: &Pairs<'_>) -> Result<String, Error> {
    request_token(world, environment, Identity::Default)
}

/// The first source that would be tried, with its request; or its fault.
fn first(environment: &Pairs<'_>) -> (&'static str, String) {
    let reports = World::new().broker(environment).explain();
    let wrong = reports.iter().find(|report| report.verdict == Verdict::Misconfigured);
    // Arc's agent is found by a file, which is read when a token is requested.
    let ready =
        reports.iter().find(|report| report.verdict == Verdict::Ready && !report.reason.contains("a file"));
    match (wrong, ready) {
        (Some(report), _) => (report.source, report.reason.clone()),
        (None, Some(report)) => (report.source, report.would_send.clone().unwrap()),
        (None, None) => panic!("no source: {reports:?}"),
    }
}

// Environments as the platforms set them.

struct Recorded(Vec<(String, String)>);

impl Recorded {
    #[expect(clippy::disallowed_methods, reason = "the ban is the core's; what is recorded is in files")]
    fn read(name: &str) -> Self {
        let text = fs::read_to_string(recorded().join(format!("{name}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let pairs = file["environment"].as_object().unwrap().iter();
        Self(pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect())
    }

    fn with<'a>(&'a self, more: &Pairs<'a>) -> Vec<(&'a str, &'a str)> {
        let own = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(more.iter().copied()).collect()
    }

    fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(it, _)| it == name).unwrap().1
    }
}

fn recorded() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recorded"))
}

/// Each recorded environment, the source that must answer in it, and a part of its request or its fault.
const ENVIRONMENTS: [(&str, &str, &str); 9] = [
    (
        "workload-identity/environment",
        "workload-identity",
        "POST https://login.microsoftonline.com/00000000-0000-0000-0000-000000000001/oauth2/v2.0/token client_id=00000000-0000-0000-0000-000000000002&",
    ),
    (
        "app-service/environment-linux",
        "app-service",
        "GET http://169.254.130.3:8081/msi/token?api-version=2019-08-01&resource=AUDIENCE",
    ),
    (
        "app-service/environment-linux-private-address",
        "azure-ml",
        "MSI_ENDPOINT names the private address 172.16.2.6, as App Service on Linux did until 2021",
    ),
    (
        "container-apps/environment",
        "app-service",
        "GET http://localhost:42356/msi/token?api-version=2019-08-01",
    ),
    (
        "container-instances/environment-linux",
        "imds",
        "GET http://169.254.169.254/metadata/identity/oauth2/token?",
    ),
    (
        "container-instances/environment-windows",
        "container-instances",
        "IDENTITY_ENDPOINT names the private address 10.92.0.21, as Windows container groups of Azure Container Instances do",
    ),
    ("service-fabric/environment-doc", "service-fabric", "this host does not pin: nothing was sent"),
    ("arc/environment-windows", "azure-arc", "GET http://127.0.0.1:40342/metadata/identity/oauth2/token?"),
    (
        "machine-learning/environment",
        "azure-ml",
        "GET http://localhost:46809/MSI/token?api-version=2017-09-01&resource=AUDIENCE&clientid=00000000-0000-0000-0000-000000000002",
    ),
];

#[test]
fn each_recorded_environment_is_detected() {
    for (name, source, says) in ENVIRONMENTS {
        let recorded = Recorded::read(name);
        let (found, text) = first(&recorded.with(&[]));
        assert_eq!(found, source, "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
    }
}

#[test]
fn no_recorded_environment_is_left_out() {
    let services = fs::read_dir(recorded()).unwrap().map(|entry| entry.unwrap().path());
    let files = services.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("environment")).count(), ENVIRONMENTS.len());
}

#[test]
fn a_linux_container_group_has_the_identity_of_imds_and_its_header_is_sent_nowhere() {
    let (world, recorded) = (World::new(), Recorded::read("container-instances/environment-linux"));
    world.script([token("T1", DAY)]);
    assert_eq!(get(&world, &recorded.with(&[])).unwrap(), "T1");
    let sent = world.sent(0);
    assert!(sent.url.starts_with("http://169.254.169.254/"), "{}", sent.url);
    let header = recorded.get("IDENTITY_HEADER");
    assert!(sent.headers.values().all(|value| value != header), "{:?}", sent.headers);
}

#[test]
fn a_windows_container_group_is_asked_where_the_operator_allows_its_address() {
    let (world, recorded) = (World::new(), Recorded::read("container-instances/environment-windows"));
    let endpoint = recorded.get("IDENTITY_ENDPOINT");
    let error = get(&world, &recorded.with(&[])).unwrap_err();
    assert_eq!((error.kind(), world.requests()), ("misconfigured", 0));
    assert!(error.to_string().contains(ALLOWED), "{error}");

    let allowed = recorded.with(&[(ALLOWED, endpoint)]);
    world.script([token("T1", DAY), token("T2", DAY)]);
    assert_eq!(request_token(&world, &allowed, Identity::object_id(ID).unwrap()).unwrap(), "T1");
    let url = format!("{endpoint}&resource=https%3A%2F%2Fvault.azure.net");
    assert_eq!(world.sent(0).url, format!("{url}&principalId={ID}"));
    assert_eq!(world.sent(0).headers["secret"], "placeholder");
    assert_eq!(get(&world, &allowed).unwrap(), "T2");
    assert_eq!(world.sent(1).url, url);

    for identity in [Identity::client_id(ID), Identity::resource_id("/subscriptions/s")] {
        let error = request_token(&world, &allowed, identity.unwrap()).unwrap_err();
        assert_eq!((error.kind(), world.requests()), ("invalid-request", 2), "{error}");
        assert!(error.to_string().contains("principalId"), "{error}");
    }
}

#[test]
fn a_windows_container_group_in_a_virtual_network_has_a_link_local_address_and_needs_no_permission() {
    let (world, recorded) = (World::new(), Recorded::read("container-instances/environment-windows"));
    let endpoint = recorded.get("IDENTITY_ENDPOINT").replace("10.92.0.21", "169.254.128.1");
    let pairs: Vec<_> =
        recorded.with(&[]).into_iter().filter(|(name, _)| *name != "IDENTITY_ENDPOINT").collect();
    world.script([token("T1", DAY)]);
    assert_eq!(get(&world, &[pairs, vec![("IDENTITY_ENDPOINT", &endpoint)]].concat()).unwrap(), "T1");
}

#[test]
fn app_service_at_a_private_address_is_asked_where_the_operator_allows_it() {
    let (world, recorded) = (World::new(), Recorded::read("app-service/environment-linux-private-address"));
    let endpoint = recorded.get("MSI_ENDPOINT");
    world.script([token("T1", DAY)]);
    assert_eq!(get(&world, &recorded.with(&[(ALLOWED, endpoint)])).unwrap(), "T1");
    assert!(world.sent(0).url.starts_with(endpoint), "{}", world.sent(0).url);
    for other in ["http://172.16.2.6:8081/", "http://172.16.2.7:8081/msi/token", "*"] {
        let error = get(&world, &recorded.with(&[(ALLOWED, other)])).unwrap_err();
        assert_eq!((error.kind(), world.requests()), ("misconfigured", 1), "{other}");
    }
}

#[test]
fn service_fabric_is_asked_where_the_host_compares_its_certificate() {
    let recorded = Recorded::read("service-fabric/environment-doc");
    let (source, request) = first(&recorded.with(&[(PINNED, recorded.get("IDENTITY_SERVER_THUMBPRINT"))]));
    assert_eq!(source, "service-fabric");
    assert!(request.starts_with("GET https://localhost:2377/metadata/identity/oauth2/token?"), "{request}");
}

// Incomplete configurations.

#[test]
fn half_of_a_stronger_source_never_lets_a_weaker_one_answer() {
    const THUMBPRINT: (&str, &str) =
        ("IDENTITY_SERVER_THUMBPRINT", "abababababababababababababababababababab");
    const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "contoso.com");
    const SECRET: (&str, &str) = ("AZURE_CLIENT_SECRET", "s");
    const CERTIFICATE: (&str, &str) = ("AZURE_CLIENT_CERTIFICATE_PATH", "/a.pem");
    const ID_OF_APP: (&str, &str) = ("AZURE_CLIENT_ID", ID);
    const FILE: (&str, &str) = ("AZURE_FEDERATED_TOKEN_FILE", "/tokens/azure");
    let halves: [(&Pairs<'_>, &str); 19] = [
        (&[("TOKEN_BROKER_FEDERATED_CLIENT_ID", ID)], "TOKEN_BROKER_FEDERATED_TENANT_ID"),
        (&[("TOKEN_BROKER_FEDERATED_TENANT_ID", "contoso.com")], "TOKEN_BROKER_FEDERATED_CLIENT_ID"),
        (&[SECRET], "AZURE_TENANT_ID"),
        (&[SECRET, TENANT], "AZURE_CLIENT_ID"),
        (&[CERTIFICATE], "AZURE_TENANT_ID"),
        (&[CERTIFICATE, TENANT], "AZURE_CLIENT_ID"),
        (&[("AZURE_CLIENT_CERTIFICATE_PASSWORD", "s")], "AZURE_CLIENT_CERTIFICATE_PATH"),
        (&[SECRET, ID_OF_APP], "AZURE_TENANT_ID"),
        (&[CERTIFICATE, ID_OF_APP], "AZURE_TENANT_ID"),
        (&[FILE], "AZURE_TENANT_ID"),
        (&[FILE, ID_OF_APP], "AZURE_TENANT_ID"),
        (&[FILE, TENANT], "AZURE_CLIENT_ID"),
        (&[FILE, TENANT, ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")], "AZURE_CLIENT_ID"),
        (&[THUMBPRINT], "IDENTITY_HEADER"),
        (&[THUMBPRINT, ("IDENTITY_ENDPOINT", "https://10.0.0.4:2377/token")], "IDENTITY_HEADER"),
        (&[("IDENTITY_ENDPOINT", "http://127.0.0.1/token")], "IDENTITY_HEADER"),
        (&[("IDENTITY_HEADER", "s")], "IDENTITY_ENDPOINT"),
        (&[("MSI_SECRET", "s")], "MSI_ENDPOINT"),
        (&[("MSI_ENDPOINT", "http://127.0.0.1/token"), ("DEFAULT_IDENTITY_CLIENT_ID", ID)], "MSI_SECRET"),
    ];
    for (pairs, missing) in halves {
        let world = World::new();
        world.file("/tokens/azure", JWT);
        let error = get(&world, pairs).unwrap_err();
        assert_eq!((error.kind(), world.requests()), ("misconfigured", 0), "{pairs:?}");
        assert!(error.to_string().contains(missing), "{pairs:?}: {error}");
    }
    let world = World::new();
    let error = get(&world, &[("IMDS_ENDPOINT", "http://127.0.0.1")]).unwrap_err();
    assert_eq!((error.kind(), world.requests()), ("misconfigured", 0));
}

const AKS: &Pairs<'_> = &[
    ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ("AZURE_FEDERATED_TOKEN_FILE", "/tokens/azure"),
    ("AZURE_TENANT_ID", "22222222-2222-2222-2222-222222222222"),
];

#[test]
fn aks_without_a_client_id_is_reported_with_the_annotation_and_the_restart() {
    let world = World::new();
    world.file("/tokens/azure", JWT);
    let text = get(&world, AKS).unwrap_err().to_string();
    for part in ["azure.workload.identity/client-id", "restart the pod", "ManagedIdentityCredential"] {
        assert!(text.contains(part) && text.contains("AZURE_CLIENT_ID"), "{part}: {text}");
    }
    let (source, reason) = first(AKS);
    assert_eq!(source, "workload-identity");
    assert!(reason.contains("azure.workload.identity/client-id"), "{reason}");
}

#[test]
fn aks_without_a_client_id_serves_a_request_that_names_one_and_a_selected_managed_identity() {
    let world = World::new();
    world.file("/tokens/azure", JWT);
    let entra = json(200, r#"{"token_type":"Bearer","expires_in":3599,"access_token":"T1"}"#);
    world.script([entra, token("T2", DAY), token("T3", DAY)]);
    assert_eq!(request_token(&world, AKS, client(ID)).unwrap(), "T1");
    assert!(world.sent(0).url.starts_with("https://login.microsoftonline.com/"), "{}", world.sent(0).url);
    // An identity that is requested by its id is not replaced by another.
    assert_eq!(request_token(&world, AKS, Identity::SystemAssigned).unwrap(), "T2");
    let selected = [AKS, &[("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")]].concat();
    assert_eq!(get(&world, &selected).unwrap(), "T3");
    assert!(world.sent(2).url.starts_with("http://169.254.169.254/"), "{}", world.sent(2).url);
}

// Endpoints that are not up yet.

#[test]
fn an_endpoint_that_the_configuration_names_is_waited_for() {
    let refused = || fault(SendErrorKind::NotConnected);
    let endpoints: [&Pairs<'_>; 5] = [
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:4141")],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1:4141/token"), ("IDENTITY_HEADER", "s")],
        &[("MSI_ENDPOINT", "http://127.0.0.1:4141/token"), ("MSI_SECRET", "s")],
        &[("MSI_ENDPOINT", "http://127.0.0.1:4141/token")],
        &[
            ("IDENTITY_ENDPOINT", "https://127.0.0.1:4141/token"),
            ("IDENTITY_HEADER", "s"),
            ("IDENTITY_SERVER_THUMBPRINT", "abababababababababababababababababababab"),
            (PINNED, "abababababababababababababababababababab"),
        ],
    ];
    for pairs in endpoints {
        let world = World::new();
        world.script([refused(), refused(), token("T1", DAY)]);
        assert_eq!(get(&world, pairs).unwrap(), "T1", "{pairs:?}");
        assert_eq!(world.moments(), [0, 1000, 3000], "{pairs:?}");

        let world = World::new();
        world.script((0..4).map(|_| refused()));
        let error = get(&world, pairs).unwrap_err();
        assert_eq!((error.kind(), world.requests()), ("transient", 4), "{pairs:?}");
    }
    let world = World::new();
    world.script([refused()]);
    assert_eq!(get(&world, &[]).unwrap_err().kind(), "unavailable", "nobody says that IMDS is there");
}

// Values from env files.

#[test]
fn the_remedy_of_a_refusal_mentions_quotes_around_the_secret() {
    const APP: &Pairs<'_> = &[("AZURE_CLIENT_ID", ID), ("AZURE_TENANT_ID", "contoso.com")];
    const APP_SERVICE: (&str, &str) = ("IDENTITY_ENDPOINT", "http://127.0.0.1:4141/token");
    const MACHINE_LEARNING: (&str, &str) = ("MSI_ENDPOINT", "http://127.0.0.1:4141/token");
    let sources: [(&Pairs<'_>, &str); 3] = [
        (APP, "AZURE_CLIENT_SECRET"),
        (&[APP_SERVICE], "IDENTITY_HEADER"),
        (&[MACHINE_LEARNING], "MSI_SECRET"),
    ];
    for (pairs, variable) in sources {
        for (value, says) in [("\"sentinel\"", true), ("'sentinel'", true), ("sent\"inel", false)] {
            let world = World::new();
            world.script([json(401, r#"{"error":"invalid_client","error_description":"no"}"#)]);
            let error = get(&world, &[pairs, &[(variable, value)]].concat()).unwrap_err();
            let remedy = error.remedy().unwrap();
            assert_eq!(error.kind(), "rejected");
            assert_eq!(remedy.contains(&format!("{variable} has quotes around it")), says, "{remedy}");
            assert!(!error.to_string().contains("sentinel"), "{error}");
        }
    }
}
