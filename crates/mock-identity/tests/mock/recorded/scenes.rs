//! In which situations the mock is brought, and which it does not know.

use mock_identity::{
    AppServiceHost, ArcConfig, Endpoint, FederatedCredential, IdentityKind, MockConfig, ServiceFabricConfig,
    UserRefused,
};

pub(super) struct Scene {
    /// The recording
    pub(super) file: &'static str,
    /// What the mock must be for it
    pub(super) setup: fn(&mut MockConfig),
    /// Who fails, with what status
    pub(super) fault: Option<(Endpoint, u16)>,
    pub(super) ask: Ask,
}

/// What is sent in the place of placeholders
#[derive(Clone, Copy)]
pub(super) enum Ask {
    AsRecorded,
    /// These fields
    Form(&'static [(&'static str, &'static str)]),
    /// A token of another issuer that is good for so many seconds
    Federated(fn() -> FederatedCredential, u64),
    /// The token of a user
    OnBehalfOf,
    /// The content of the file that Arc's agent names
    KeyOfArc,
}

const fn scene(file: &'static str) -> Scene {
    Scene { file, setup: as_it_is, fault: None, ask: Ask::AsRecorded }
}

impl Scene {
    const fn with(self, setup: fn(&mut MockConfig)) -> Self {
        Self { setup, ..self }
    }

    const fn failing(self, endpoint: Endpoint, status: u16) -> Self {
        Self { fault: Some((endpoint, status)), ..self }
    }

    const fn asking(self, ask: Ask) -> Self {
        Self { ask, ..self }
    }
}

pub(super) const SCENES: &[Scene] = &[
    scene("app-service/empty-400-2022").with(without_identities),
    scene("app-service/no-msi-found-2019").with(without_identities),
    scene("app-service/service-unavailable-2020").failing(Endpoint::AppService2017, 503),
    scene("app-service/success-2017-api-doc").with(with_a_system_assigned_identity),
    scene("app-service/success-2019-api").with(with_a_system_assigned_identity),
    scene("app-service/unexpected-error-2024").failing(Endpoint::AppService, 500),
    scene("arc/challenge"),
    scene("arc/success-library").with(with_a_system_assigned_identity).asking(Ask::KeyOfArc),
    scene("automation/no-identity-doc").with(|config| {
        config.app_service.host = AppServiceHost::Automation;
        config.identities.clear();
    }),
    scene("azure-devops/method-not-allowed-2026"),
    scene("azure-devops/unauthorized-2024"),
    scene("cloud-shell/audience-not-supported-2021"),
    scene("container-apps/forbidden-2025").with(of_container_apps),
    scene("container-apps/method-not-allowed-2023").with(of_container_apps),
    scene("container-instances/default-identity-not-defined-2024").with(without_identities),
    scene("container-instances/success-doc").with(|config| config.imds.older_form = true),
    scene("entra/aadsts500011-2024").asking(Ask::Form(&[
        GRANT,
        CLIENT,
        SECRET,
        ("scope", "api://AzureADTokenExchange./default/.default"),
    ])),
    scene("entra/aadsts50076-claims-2023")
        .with(|config| config.users[0].refused = Some(UserRefused::SecondFactor))
        .asking(Ask::OnBehalfOf),
    scene("entra/aadsts50173-2021")
        .with(|config| config.users[0].refused = Some(UserRefused::SessionsRevoked))
        .asking(Ask::OnBehalfOf),
    scene("entra/aadsts65001-2024")
        .with(|config| config.users[0].refused = Some(UserRefused::Consent))
        .asking(Ask::OnBehalfOf),
    scene("entra/aadsts700016-2020")
        .with(|config| config.apps.clear())
        .asking(Ask::Form(&[GRANT, CLIENT, SECRET, SCOPE])),
    scene("entra/aadsts7000215-2023"),
    scene("entra/aadsts7000216-2025").asking(Ask::Form(&[GRANT, CLIENT, SCOPE])),
    scene("entra/aadsts7000222-2026")
        .with(|config| config.apps[0].secrets[0].expired = true)
        .asking(Ask::Form(&[GRANT, CLIENT, SECRET, SCOPE])),
    scene("entra/aadsts700024-2023").asking(Ask::Federated(trusted, 0)),
    scene("entra/aadsts70021-2022")
        .asking(Ask::Federated(
            || FederatedCredential {
                issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
                subject: "system:serviceaccount:default:workload-identity-sa".to_owned(),
                audience: "api://AzureADTokenExchange".to_owned(),
            },
            3600,
        ))
        .with(|config| config.apps[0].federated_credentials.clear()),
    scene("entra/aadsts700213-2025").asking(Ask::Federated(
        || FederatedCredential { subject: "system:serviceaccount:xxx:yyy".to_owned(), ..trusted() },
        3600,
    )),
    scene("entra/aadsts7002138-2025").asking(Ask::Federated(
        || FederatedCredential { subject: trusted().subject.to_uppercase(), ..trusted() },
        3600,
    )),
    scene("entra/aadsts90002-token-2024")
        .with(|config| of_tenant(config, OTHER_TENANT))
        .asking(Ask::Form(&[GRANT, CLIENT, SECRET, SCOPE])),
    scene("entra/client-secret-2019"),
    scene("entra/client-secret-2025"),
    scene("entra/client-secret-claims-2023"),
    scene("entra/federated-credential-2025").asking(Ask::Federated(trusted, 3600)),
    scene("gcp-metadata/no-flavor-header-2023"),
    scene("gcp-metadata/not-found-2025"),
    scene("github-actions/audience-refused-2026"),
    scene("imds/identity-not-found-2022").with(without_identities),
    scene("imds/multiple-identities-2021").with(|config| {
        let one = config.identities[0].clone();
        let ids = ["00000000-0000-0000-0000-000000000011", "00000000-0000-0000-0000-000000000012"];
        let [client_id, object_id] = ids.map(str::to_owned);
        let resource_id = format!("{}-two", one.resource_id);
        config.identities.push(mock_identity::Identity {
            name: "two".to_owned(),
            client_id,
            object_id,
            resource_id,
            ..one
        });
    }),
    scene("imds/no-metadata-header-2020"),
    scene("imds/success-2025"),
    scene("imds/success-8-hours-2019").with(|config| config.imds.older_form = true),
    scene("imds/throttled-2023").failing(Endpoint::Imds, 429),
    scene("imds/unknown-resource-2022").with(|config| of_tenant(config, "Example")),
    scene("key-vault/challenge-akv10000"),
    scene("machine-learning/invalid-secret-header-2024"),
    scene("machine-learning/token-not-found-2024").with(without_identities),
    scene("open-id/instance-discovery-2021"),
    scene("open-id/openid-configuration-2023"),
    scene("open-id/unknown-tenant-2023"),
    scene("service-fabric/secret-not-found-doc"),
    scene("service-fabric/success-doc").with(with_a_system_assigned_identity),
];

pub(super) const NOT_PLAYED: &[(&str, &str)] = &[
    ("automation/user-assigned-refused-2023", "a hybrid worker; the envelope of its words is not known"),
    ("cloud-shell/audience-not-supported-2024", "Cloud Shell at the path of IMDS"),
    ("entra/aadsts50001-2016", "no scope: today it is 900144"),
    ("entra/aadsts500133-2026", "no token of the mock expires within a test"),
    ("entra/aadsts50076-suberror-2025", "another grant; the form is that of 50076 on behalf of a user"),
    ("entra/aadsts50079-claims-2017", "an older form"),
    ("entra/aadsts50196-2021", "the mock does not look for loops"),
    ("entra/aadsts70002-two-codes-2016", "an older form"),
    ("entra/aadsts7000222-2020", "older words"),
    ("entra/aadsts7002137-2025", "the subject of a managed identity is its object id here"),
    ("entra/aadsts90002-token-2020", "older words"),
    ("entra/aadsts90061-2022", "the issuers are all the mock itself, which is there"),
    ("gcp-metadata/gke-no-flavor-header-2019", "the server of GKE"),
    ("github-actions/job-completed-2023", "an older form"),
    ("imds/docker-desktop-2023", "not IMDS"),
    ("imds/extension-no-metadata-header", "the endpoint is retired"),
    ("imds/other-cloud-2024", "not IMDS"),
    ("key-vault/challenge-2019", "an older server with older words"),
    ("key-vault/challenge-scope", "a service that is to come"),
    ("key-vault/claims-challenge", "the vault of the mock does not evaluate continuously"),
    ("key-vault/wrong-audience-2023", "half of its words; tested with the vault"),
];

/// The mock with the ids and the secrets of the recordings
pub(super) fn config() -> MockConfig {
    let mut config = MockConfig {
        tenant_id: "00000000-0000-0000-0000-000000000001".to_owned(),
        listen_tls: Some(([127, 0, 0, 1], 0).into()),
        arc: Some(ArcConfig::default()),
        service_fabric: Some(ServiceFabricConfig {
            secret: "placeholder".to_owned(),
            ..ServiceFabricConfig::default()
        }),
        ..MockConfig::default()
    };
    config.audiences.retain(|audience| audience != DATABRICKS);
    let [client, object] = [CLIENT.1, "00000000-0000-0000-0000-000000000003"].map(str::to_owned);
    config.audiences.extend([client.clone(), object.clone()]);
    config.app_service.identity_header = "placeholder".to_owned();
    config.app_service_2017.secret = "placeholder".to_owned();
    config.azure_ml.secret = "placeholder".to_owned();
    config.container_group.secret = "placeholder".to_owned();
    config.github_actions.as_mut().unwrap().request_token = "placeholder".to_owned();
    config.azure_pipelines.as_mut().unwrap().access_token = "placeholder".to_owned();
    // The only identity, so that it answers for the system-assigned one where that is asked for.
    config.identities.truncate(1);
    config.identities[0].kind = IdentityKind::UserAssigned;
    (config.identities[0].client_id, config.identities[0].object_id) = (client.clone(), object);
    config.apps.truncate(1);
    let app = &mut config.apps[0];
    app.name = "Example-App".to_owned();
    app.client_id = client;
    app.tenant_ids = vec![config.tenant_id.clone()];
    app.secrets.truncate(1);
    app.secrets[0].value = SECRET.1.to_owned();
    app.federated_credentials = vec![trusted()];
    config
}

fn trusted() -> FederatedCredential {
    FederatedCredential {
        issuer: "https://cluster.example/oidc".to_owned(),
        subject: "system:serviceaccount:default:worker".to_owned(),
        audience: "api://AzureADTokenExchange".to_owned(),
    }
}

fn as_it_is(config: &mut MockConfig) {
    let _ = config;
}

fn of_tenant(config: &mut MockConfig, tenant: &str) {
    config.apps.clear();
    config.tenant_id = tenant.to_owned();
}

fn with_a_system_assigned_identity(config: &mut MockConfig) {
    config.identities[0].kind = IdentityKind::SystemAssigned;
}

fn without_identities(config: &mut MockConfig) {
    config.identities.clear();
}

fn of_container_apps(config: &mut MockConfig) {
    config.app_service.host = AppServiceHost::ContainerApps;
}

pub(super) const GRANT: (&str, &str) = ("grant_type", "client_credentials");
pub(super) const CLIENT: (&str, &str) = ("client_id", "00000000-0000-0000-0000-000000000002");
pub(super) const SECRET: (&str, &str) = ("client_secret", "placeholder");
pub(super) const SCOPE: (&str, &str) = ("scope", "00000000-0000-0000-0000-000000000003/.default");
const OTHER_TENANT: &str = "00000000-0000-0000-0000-000000000009";
const DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
