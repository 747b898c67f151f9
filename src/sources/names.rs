//! The names of the sources, as [`SourceReport::source`](crate::SourceReport::source) and
//! [`Failure::source`](crate::Failure::source) have them.
#![expect(missing_docs, reason = "each is the name that it says")]

use super::{
    app_service, arc, cloud_shell, container_instances, entra, imds, issuer, machine_learning, service_fabric,
};

pub const FEDERATED_IDENTITY: &str = entra::FEDERATED_IDENTITY.name;
pub const CLIENT_SECRET: &str = entra::SECRET.name;
pub const CLIENT_CERTIFICATE: &str = entra::CERTIFICATE.name;
pub const WORKLOAD_IDENTITY: &str = entra::WORKLOAD_IDENTITY.name;
pub const FEDERATED_ASSERTION: &str = entra::FEDERATED_ASSERTION.name;
pub const SERVICE_FABRIC: &str = service_fabric::SOURCE.name;
pub const CONTAINER_INSTANCES: &str = container_instances::SOURCE.name;
pub const APP_SERVICE: &str = app_service::SOURCE.name;
pub const MACHINE_LEARNING: &str = machine_learning::SOURCE.name;
pub const CLOUD_SHELL: &str = cloud_shell::SOURCE.name;
pub const AZURE_ARC: &str = arc::SOURCE.name;
pub const ASSERTION_ISSUER: &str = issuer::SOURCE.name;
pub const IMDS: &str = imds::SOURCE.name;
