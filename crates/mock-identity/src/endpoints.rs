//! The list of the endpoints, one file each.

mod app_service;
mod app_service_2017;
mod arc;
mod azure_ml;
mod azure_pipelines;
mod cloud_shell;
mod container_group;
pub(crate) mod entra;
pub(crate) mod gcp_metadata;
mod github_actions;
mod imds;
mod key_vault;
mod msi_2017;
mod open_id;
mod service_fabric;
pub(crate) mod token_proxy;

// What every endpoint uses; its file imports it from here.
use crate::{
    call::Call,
    endpoint::Endpoint,
    identity::{IdKind, Identity, Selector},
    issuer::Issued,
    listener::Listener,
    platform::Platform,
    reply::Reply,
    spec::{Environment, Setup, Spec},
};

/// All of them, in the order of the start page
pub(crate) static ALL: [&Spec; 16] = [
    &imds::SPEC,
    &app_service::SPEC,
    &app_service_2017::SPEC,
    &azure_ml::SPEC,
    &cloud_shell::SPEC,
    &container_group::SPEC,
    &arc::SPEC,
    &service_fabric::SPEC,
    &github_actions::SPEC,
    &azure_pipelines::SPEC,
    &gcp_metadata::SPEC,
    &token_proxy::SPEC,
    &entra::SPEC,
    &open_id::SPEC,
    &key_vault::SPEC,
    &UNKNOWN,
];

/// The endpoint of a path, given by its segments
pub(crate) fn at(listener: Listener, segments: &[&str]) -> &'static Spec {
    ALL.into_iter().find(|spec| spec.matches(listener, segments)).unwrap_or(&UNKNOWN)
}

pub(crate) fn spec(endpoint: Endpoint) -> &'static Spec {
    ALL.into_iter().find(|spec| spec.endpoint == endpoint).unwrap_or(&UNKNOWN)
}

const UNKNOWN: Spec = Spec { listeners: &[], ..Spec::of(Endpoint::Unknown) };

/// The parameters by which one or another endpoint chooses an identity
const IDS: [&str; 6] = ["client_id", "clientid", "object_id", "principal_id", "msi_res_id", "mi_res_id"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::segments;

    fn named(path: &str, listener: Listener) -> Endpoint {
        at(listener, &segments(path)).endpoint
    }

    #[test]
    fn a_trailing_slash_does_not_change_the_endpoint() {
        for (path, endpoint) in [
            ("/metadata/identity/oauth2/token/", Endpoint::Imds),
            ("/arc/metadata/identity/oauth2/token/", Endpoint::Arc),
            ("/container-group/metadata/identity/oauth2/token/", Endpoint::ContainerGroup),
            ("/msi/token/", Endpoint::AppService),
            ("/2017/msi/token/", Endpoint::AppService2017),
            ("/msi/auth/", Endpoint::AzureMl),
            ("/oauth2/token/", Endpoint::CloudShell),
            ("/t/oauth2/v2.0/token/", Endpoint::Entra),
            ("/adfs/oauth2/token/", Endpoint::Entra),
            ("/secrets/MySecret/", Endpoint::KeyVault),
            ("/t/v2.0/.well-known/openid-configuration", Endpoint::OpenId),
            ("/common/discovery/instance/", Endpoint::OpenId),
            ("/63//idtoken/run/job/", Endpoint::GithubActions),
            ("/o/p/_apis/distributedtask/hubs/build/plans/1/jobs/2/oidctoken/", Endpoint::AzurePipelines),
            ("/computeMetadata/v1/instance/service-accounts/default/identity/", Endpoint::GcpMetadata),
            ("/metadata/instance", Endpoint::Unknown),
        ] {
            assert_eq!(named(path, Listener::Tls), endpoint, "{path}");
            assert_eq!(named(path.trim_end_matches('/'), Listener::Tls), endpoint, "{path}");
        }
    }

    #[test]
    fn a_slash_too_many_is_another_path() {
        for path in [
            "//metadata/identity/oauth2/token",
            "/metadata//identity/oauth2/token",
            "/msi/token//",
            "//t/oauth2/v2.0/token",
            "/63///idtoken/run/job",
        ] {
            assert_eq!(named(path, Listener::Tls), Endpoint::Unknown, "{path}");
        }
        assert!(segments("/").is_empty() && segments("").is_empty());
    }

    #[test]
    fn a_slash_too_few_is_another_path() {
        assert_eq!(named("/63/idtoken/run/job", Listener::Tls), Endpoint::Unknown);
    }

    #[test]
    fn the_endpoint_of_a_path_depends_on_the_listener() {
        for (listener, path, endpoint) in [
            (Listener::Plain, "/t/oauth2/v2.0/token", Endpoint::Unknown),
            (Listener::Plain, "/adfs/oauth2/token", Endpoint::Unknown),
            (Listener::Plain, "/metadata/identity/oauth2/token", Endpoint::Imds),
            (Listener::Pinned, "/metadata/identity/oauth2/token", Endpoint::ServiceFabric),
            (Listener::Pinned, "/msi/token", Endpoint::Unknown),
            (Listener::TokenProxy, "/token-proxy/t/oauth2/v2.0/token", Endpoint::TokenProxy),
            (Listener::TokenProxy, "/t/oauth2/v2.0/token", Endpoint::Unknown),
            (Listener::Tls, "/token-proxy/t/oauth2/v2.0/token", Endpoint::Unknown),
        ] {
            assert_eq!(named(path, listener), endpoint, "{listener:?} {path}");
        }
    }

    #[test]
    fn every_path_leads_to_the_endpoint_that_names_it() {
        for spec in ALL {
            for (path, listener) in
                spec.paths.iter().flat_map(|path| spec.listeners.iter().map(move |it| (path, it)))
            {
                assert_eq!(named(path, *listener), spec.endpoint, "{listener:?} {path}");
            }
        }
    }
}
