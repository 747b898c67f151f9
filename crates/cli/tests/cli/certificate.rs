//! Certificates with their keys as a portal or OpenSSL writes them.

use std::path::{Path, PathBuf};

use mock_identity::{Credential, MockConfig};
use tempfile::NamedTempFile;

use crate::harness::{Cli, VAULT};

/// A file beside the host crate's tests; `make.sh` there says how it was made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/environment/certificates").join(name)
}

/// The command for an app that knows the certificate of the fixtures, and the file of Entra's authority.
async fn of_app(file: &str) -> (Cli, NamedTempFile) {
    let plain = std::fs::read_to_string(fixture("plain.pem")).unwrap();
    let leaf = plain.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap();
    let leaf = format!("-----BEGIN CERTIFICATE-----{leaf}");
    let mut config = MockConfig::default();
    config.listen_tls = Some(config.listen);
    config.apps.iter_mut().filter(|app| app.name == "billing").for_each(|app| {
        app.certificates = vec![leaf.clone()];
    });
    let cli = Cli::at(config).await;
    let roots = NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), cli.mock.ca_pem().unwrap()).unwrap();
    let environment = cli.mock.app_env(Credential::Certificate(&fixture(file)));
    (cli.with_all(&environment).with("SSL_CERT_FILE", roots.path().to_str().unwrap()), roots)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pfx_and_an_encrypted_key_get_tokens_as_they_are() {
    for (file, password) in [
        ("modern.pfx", "secret word"),
        ("legacy.pfx", "secret word"),
        ("without-password.pfx", ""),
        ("encrypted.pem", "secret word"),
        ("plain.pem", ""),
    ] {
        let (cli, _roots) = of_app(file).await;
        let cli = cli.with("AZURE_CLIENT_CERTIFICATE_PASSWORD", password);
        let token = cli.prints(&["get", "--scope", VAULT, "--output", "token"]).await;
        assert!(cli.mock.verify(token.trim(), "https://vault.azure.net").is_ok(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_before_anything_is_sent_and_not_repeated() {
    for (file, password, why) in [
        ("modern.pfx", "", "AZURE_CLIENT_CERTIFICATE_PASSWORD is not set"),
        ("modern.pfx", "sentinel", "AZURE_CLIENT_CERTIFICATE_PASSWORD does not open"),
        ("encrypted.pem", "sentinel", "AZURE_CLIENT_CERTIFICATE_PASSWORD does not open"),
        ("traditional.pem", "sentinel", "openssl pkcs8 -topk8"),
        ("cut.pfx", "sentinel", "is not whole PKCS#12"),
    ] {
        let (cli, _roots) = of_app(file).await;
        let (code, line) = cli.with("AZURE_CLIENT_CERTIFICATE_PASSWORD", password).refusal().await;
        assert!(code == 3 && line.contains(why) && line.contains(file), "{code} {line}");
        assert!(!line.contains("sentinel"), "{line}");
    }
}
