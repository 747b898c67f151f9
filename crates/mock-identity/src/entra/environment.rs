//! How programs are pointed at the token endpoint, for each way in which an app can prove itself.

use std::path::Path;

use super::super::{Environment, app::App, federation, identity::IdentityKind, imds, platform::Platform};

/// For the first app with a secret
pub(in super::super) fn of_secret(platform: &Platform) -> Option<Environment> {
    let app = platform.config.apps.iter().find(|app| good_secret(app).is_some())?;
    let secret = good_secret(app)?.to_owned();
    of_app(platform, app, ("AZURE_CLIENT_SECRET", secret))
}

/// For the first app with a certificate, which together with its key is in `file`
pub(in super::super) fn of_certificate(platform: &Platform, file: &Path) -> Option<Environment> {
    let app = platform.config.apps.iter().find(|app| !app.certificates.is_empty())?;
    of_app(platform, app, ("AZURE_CLIENT_CERTIFICATE_PATH", file.display().to_string()))
}

/// For the first app that trusts another issuer, of which `file` has a token
pub(in super::super) fn of_federated_token(platform: &Platform, file: &Path) -> Option<Environment> {
    let app =
        platform.config.apps.iter().find(|app| federation::cluster_credential(platform, app).is_some())?;
    of_app(platform, app, ("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string()))
}

/// For the first app that trusts a managed identity of this platform, which IMDS has
pub(in super::super) fn managed_identity(platform: &Platform) -> Option<Environment> {
    let (app, identity) = platform
        .config
        .apps
        .iter()
        .find_map(|app| Some((app, federation::trusted_identity(platform, app)?)))?;
    let mut environment = imds::environment(platform);
    environment.extend([
        ("AZURE_AUTHORITY_HOST", platform.addresses.tls.clone()?),
        ("TOKEN_BROKER_FEDERATED_CLIENT_ID", app.client_id.clone()),
        ("TOKEN_BROKER_FEDERATED_TENANT_ID", app.tenant_ids.first()?.clone()),
    ]);
    if identity.kind == IdentityKind::UserAssigned {
        environment.push(("AZURE_CLIENT_ID", identity.client_id.clone()));
    }
    Some(environment)
}

fn of_app(platform: &Platform, app: &App, credential: (&'static str, String)) -> Option<Environment> {
    Some(vec![
        ("AZURE_AUTHORITY_HOST", platform.addresses.tls.clone()?),
        ("AZURE_TENANT_ID", app.tenant_ids.first()?.clone()),
        ("AZURE_CLIENT_ID", app.client_id.clone()),
        credential,
    ])
}

fn good_secret(app: &App) -> Option<&str> {
    app.secrets.iter().find(|secret| !secret.expired).map(|secret| secret.value.as_str())
}
