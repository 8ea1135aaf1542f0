//! The rights that a check needs in Kubernetes, beside those that everybody has.

use crate::clients::KubernetesRef;
use crate::decode::values::{Namespace, ObjectName};

/// A right in one namespace of a cluster: a line of a Role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right<'a> {
    /// The cluster.
    pub cluster: &'a KubernetesRef,
    /// The namespace.
    pub namespace: &'a Namespace,
    /// What may be done.
    pub access: Access,
    /// The only object that it is needed for. None if it is needed for all objects.
    pub name: Option<&'a ObjectName>,
}

/// What may be done with which resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read an `ExternalSecret`.
    GetExternalSecret,
    /// Read the secret that an `ExternalSecret` creates.
    GetSecret,
    /// Read an Argo CD application.
    GetApplication,
    /// List pods.
    ListPods,
    /// Read a `Deployment`.
    GetDeployment,
    /// Read a `StatefulSet`.
    GetStatefulSet,
}

impl Access {
    /// The API group, the resource and the verb.
    #[must_use]
    pub const fn rule(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::GetExternalSecret => ("external-secrets.io", "externalsecrets", "get"),
            Self::GetSecret => ("", "secrets", "get"),
            Self::GetApplication => ("argoproj.io", "applications", "get"),
            Self::ListPods => ("", "pods", "list"),
            Self::GetDeployment => ("apps", "deployments", "get"),
            Self::GetStatefulSet => ("apps", "statefulsets", "get"),
        }
    }
}
