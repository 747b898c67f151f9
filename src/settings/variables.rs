//! The environment variables that the broker reads. [`VARIABLES`] describes each of them.
#![expect(missing_docs, reason = "VARIABLES describes each of them")]

/// A variable that the broker reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name in the environment.
    pub name: &'static str,
    /// Whether the value is a secret.
    pub secret: bool,
    /// Whether the value is the path of a file that the broker reads.
    pub file: bool,
    /// Whether the value may contain line ends and tabs.
    pub lines: bool,
    /// The accepted form, the default, and the effect. Empty in a component, which shows it to nobody.
    pub about: &'static str,
}

/// All variables that the broker reads. A host need not expose others.
pub const VARIABLES: &[Variable] = &[
    lines(ALLOWED_SCOPES, "scopes or audiences separated by spaces; unset: all, set: nothing else"),
    lines(
        ALLOWED_IDENTITIES,
        "client, object or resource ids or `system-assigned`, separated by spaces; unset: all, set: nothing else",
    ),
    lines(
        INJECT,
        "`host=scope` separated by spaces: the requests to which the injector adds a token, and its scope; after a leading \
         `+` in addition to the built-in rules, else instead of them",
    ),
    plain(INJECT_OTHERS, "`pass` or `refuse` (pass): the treatment of requests without a rule"),
    plain(TIMEOUT_MS, "the timeout of one request in milliseconds, 1 to 600000 (10000)"),
    plain(BUDGET_MS, "the timeout of one call with all its retries in milliseconds, 1 to 600000 (90000)"),
    plain(LOG, "`off`, `error`, `warn`, `info` or `debug` (warn); JSON lines on stderr"),
    secret(
        STORE_KEY,
        "32 random bytes in base64, the same for all instances of a deployment, which then share tokens through the host's \
         store; during a rotation two keys separated by a comma, the new one first",
    ),
    plain(
        FEDERATED_CLIENT_ID,
        "with the next: the client id of the app registration that trusts this machine's managed identity; it is then the \
         default identity",
    ),
    plain(FEDERATED_TENANT_ID, "the tenant of that app registration"),
    plain(
        ASSERTION,
        "`github`, `azure-pipelines`, `gcp`, `url` or `variable`: the origin of the client assertion of the app registration, \
         which trusts the issuer of another platform",
    ),
    plain(
        ASSERTION_AUDIENCE,
        "with `github`, `gcp` or `url`: the value of the parameter `audience` (the cloud's own, \
         `api://AzureADTokenExchange`; with `url` no parameter)",
    ),
    plain(
        ASSERTION_URL,
        "with `url`: the URL that is asked, with its query: https, or http on loopback or link-local",
    ),
    plain(ASSERTION_METHOD, "with `url`: `GET` or `POST` (GET)"),
    lines(
        ASSERTION_HEADERS,
        "with `url`: headers of the request, one a line, `Authorization: Bearer $NAME` for example, where `$NAME` at the end \
         stands for the value of that variable",
    ),
    plain(
        ASSERTION_FIELD,
        "with `url`: the field of a JSON answer with the assertion (the whole answer is the assertion)",
    ),
    plain(ASSERTION_VARIABLE, "with `variable`: the name of the variable that contains the assertion"),
    secret(
        ENDPOINT_SECRET,
        "the secret that clients of the broker's own endpoint send as `IDENTITY_HEADER`, 16 to 1024 characters; unset: the \
         endpoint serves IMDS's protocol only, which has no secret",
    ),
    plain(
        ALLOWED_ENDPOINT,
        "an identity endpoint at a private address to which its secret may be sent over plain http: exactly the value of \
         `IDENTITY_ENDPOINT`, `MSI_ENDPOINT` or `AZURE_POD_IDENTITY_AUTHORITY_HOST`",
    ),
    plain(
        PINNED_THUMBPRINT,
        "set by a host that pins the certificate of Service Fabric's endpoint: the pinned thumbprint",
    ),
    plain(
        VERIFIED_TOKEN_PROXY,
        "set by a host that verifies the token proxy of an AKS cluster: the value of `AZURE_KUBERNETES_TOKEN_PROXY`",
    ),
    plain(
        TOKEN_CREDENTIALS,
        "`prod` (as if unset), `EnvironmentCredential`, `WorkloadIdentityCredential`, or `ManagedIdentityCredential`, with \
         which an IMDS that does not answer is retried",
    ),
    plain(
        CLIENT_ID,
        "the client id of the default identity: an app registration or a user-assigned identity",
    ),
    plain(TENANT_ID, "the tenant of the app registration: its id or one of its domains; `adfs` for an AD FS"),
    secret(CLIENT_SECRET, "the client secret of the app registration"),
    file(
        CERTIFICATE_PATH,
        "the PEM or PFX file with the certificate and the RSA key of the app registration",
    ),
    secret(
        CERTIFICATE_PASSWORD,
        "the password of the PFX or of the encrypted key in that file; a component alone does not read such files",
    ),
    plain(
        SEND_CERTIFICATE_CHAIN,
        "`1` or `true`: send the certificate chain, for apps that trust its issuer and subject",
    ),
    plain(USERNAME, "not supported, and refused with a password and a client id: the name of a user"),
    secret(PASSWORD, "not supported: the password of that user"),
    file(FEDERATED_TOKEN_FILE, "the file with the token of an issuer that the app registration trusts"),
    plain(AUTHORITY_HOST, "the https URL of the cloud's Entra endpoint (https://login.microsoftonline.com)"),
    plain(
        REGIONAL_AUTHORITY,
        "the region of the Entra endpoint for an app's tokens, `westeurope` for example; `TryAutoDetect` for that of this \
         machine",
    ),
    plain(REGION_NAME, "with `TryAutoDetect`: the region, set by App Service and Functions"),
    plain(ADDITIONAL_TENANTS, "other tenants that a request may name, separated by `;`, or `*`"),
    plain(DISABLE_MULTITENANT, "`1` or `true`: the tenant of a request is ignored"),
    plain(
        KUBERNETES_TOKEN_PROXY,
        "with AKS identity bindings: the https URL of the cluster's token proxy, which is asked instead of Entra",
    ),
    plain(KUBERNETES_SNI_NAME, "the name of the token proxy's certificate (the host of its URL)"),
    plain(
        KUBERNETES_CA_FILE,
        "the PEM file with the authorities of that certificate, read for each connection (those of the host)",
    ),
    lines(KUBERNETES_CA_DATA, "the same authorities as PEM; not with the file"),
    plain(POD_IDENTITY_HOST, "the base URL of IMDS, on loopback or link-local (http://169.254.169.254)"),
    plain(
        IDENTITY_ENDPOINT,
        "the URL of the identity endpoint of App Service, Functions, Container Apps, Automation or Arc, on loopback or \
         link-local, or of Service Fabric",
    ),
    secret(IDENTITY_HEADER, "the secret that the identity endpoint expects"),
    plain(GITHUB_URL, "with `github`: set by GitHub Actions in a job with `permissions: id-token: write`"),
    secret(GITHUB_TOKEN, "with `github`: set by GitHub Actions in the same job"),
    plain(PIPELINES_URL, "with `azure-pipelines`: set by the agent"),
    secret(PIPELINES_TOKEN, "with `azure-pipelines`: `$(System.AccessToken)`, which the step must map"),
    plain(PIPELINES_CONNECTION, "with `azure-pipelines`: the id of the service connection"),
    plain(
        GCP_HOST,
        "with `gcp`: the address of the metadata server, on loopback or link-local (169.254.169.254)",
    ),
    plain(IDENTITY_SERVER_THUMBPRINT, "the SHA-1 thumbprint of the certificate of Service Fabric's endpoint"),
    plain(
        IMDS_ENDPOINT,
        "with `IDENTITY_ENDPOINT` and without its header: this is a server with the Azure Arc agent",
    ),
    plain(
        MSI_ENDPOINT,
        "the URL of the identity endpoint of Azure Machine Learning or App Service of 2017, or without `MSI_SECRET` that of \
         Cloud Shell, on loopback or link-local",
    ),
    secret(MSI_SECRET, "the secret that this endpoint expects"),
    plain(DEFAULT_IDENTITY_CLIENT_ID, "the client id of the default identity of Azure Machine Learning"),
];

pub const ALLOWED_SCOPES: &str = "TOKEN_BROKER_ALLOWED_SCOPES";
pub const ALLOWED_IDENTITIES: &str = "TOKEN_BROKER_ALLOWED_IDENTITIES";
pub const INJECT: &str = "TOKEN_BROKER_INJECT";
pub const INJECT_OTHERS: &str = "TOKEN_BROKER_INJECT_OTHERS";
pub const TIMEOUT_MS: &str = "TOKEN_BROKER_TIMEOUT_MS";
pub const BUDGET_MS: &str = "TOKEN_BROKER_BUDGET_MS";
pub const LOG: &str = "TOKEN_BROKER_LOG";
pub const STORE_KEY: &str = "TOKEN_BROKER_STORE_KEY";
pub const FEDERATED_CLIENT_ID: &str = "TOKEN_BROKER_FEDERATED_CLIENT_ID";
pub const FEDERATED_TENANT_ID: &str = "TOKEN_BROKER_FEDERATED_TENANT_ID";
pub const ASSERTION: &str = "TOKEN_BROKER_ASSERTION";
pub const ASSERTION_AUDIENCE: &str = "TOKEN_BROKER_ASSERTION_AUDIENCE";
pub const ASSERTION_URL: &str = "TOKEN_BROKER_ASSERTION_URL";
pub const ASSERTION_METHOD: &str = "TOKEN_BROKER_ASSERTION_METHOD";
pub const ASSERTION_HEADERS: &str = "TOKEN_BROKER_ASSERTION_HEADERS";
pub const ASSERTION_FIELD: &str = "TOKEN_BROKER_ASSERTION_FIELD";
pub const ASSERTION_VARIABLE: &str = "TOKEN_BROKER_ASSERTION_VARIABLE";
pub const ENDPOINT_SECRET: &str = "TOKEN_BROKER_ENDPOINT_SECRET";
pub const ALLOWED_ENDPOINT: &str = "TOKEN_BROKER_ALLOWED_ENDPOINT";
pub const PINNED_THUMBPRINT: &str = "TOKEN_BROKER_PINNED_THUMBPRINT";
pub const VERIFIED_TOKEN_PROXY: &str = "TOKEN_BROKER_VERIFIED_TOKEN_PROXY";
pub const TOKEN_CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";
pub const CLIENT_ID: &str = "AZURE_CLIENT_ID";
pub const TENANT_ID: &str = "AZURE_TENANT_ID";
pub const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
pub const CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
pub const CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
pub const SEND_CERTIFICATE_CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
pub const USERNAME: &str = "AZURE_USERNAME";
pub const PASSWORD: &str = "AZURE_PASSWORD";
pub const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
pub const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
pub const REGIONAL_AUTHORITY: &str = "AZURE_REGIONAL_AUTHORITY_NAME";
pub const REGION_NAME: &str = "REGION_NAME";
pub const ADDITIONAL_TENANTS: &str = "AZURE_ADDITIONALLY_ALLOWED_TENANTS";
pub const DISABLE_MULTITENANT: &str = "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH";
pub const KUBERNETES_TOKEN_PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
pub const KUBERNETES_SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
pub const KUBERNETES_CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
pub const KUBERNETES_CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";
pub const POD_IDENTITY_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
pub const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
pub const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
pub const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
pub const PIPELINES_URL: &str = "SYSTEM_OIDCREQUESTURI";
pub const PIPELINES_TOKEN: &str = "SYSTEM_ACCESSTOKEN";
pub const PIPELINES_CONNECTION: &str = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID";
pub const GCP_HOST: &str = "GCE_METADATA_HOST";
pub const IDENTITY_SERVER_THUMBPRINT: &str = "IDENTITY_SERVER_THUMBPRINT";
pub const IMDS_ENDPOINT: &str = "IMDS_ENDPOINT";
pub const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
pub const MSI_SECRET: &str = "MSI_SECRET";
pub const DEFAULT_IDENTITY_CLIENT_ID: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// The variables of a proxy for https requests, which a component cannot use: it opens no connections.
pub(crate) const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The name of Google Cloud's metadata server, at 169.254.169.254.
pub const GCP_NAME: &str = "metadata.google.internal";

const fn plain(name: &'static str, about: &'static str) -> Variable {
    let about = if cfg!(target_family = "wasm") { "" } else { about };
    Variable { name, secret: false, file: false, lines: false, about }
}

const fn secret(name: &'static str, about: &'static str) -> Variable {
    Variable { secret: true, ..plain(name, about) }
}

const fn file(name: &'static str, about: &'static str) -> Variable {
    Variable { file: true, ..plain(name, about) }
}

const fn lines(name: &'static str, about: &'static str) -> Variable {
    Variable { lines: true, ..plain(name, about) }
}
