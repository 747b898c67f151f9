"""Get a token with azure-identity, and say in JSON what came of it.

usage: get_token.py [--raw] CREDENTIAL SCOPE [IDENTITY_KIND ID]; get_token.mjs is the same for Node.

CREDENTIAL is `managed-identity`, `default`, `environment` (a secret or a certificate), `workload-identity`,
`identity-binding` (workload identity by a cluster's token proxy), `on-behalf-of` (with the user's token in USER_TOKEN),
`federated-identity` (a managed identity, chosen by ID, that proves the app that is named in the environment),
`azure-pipelines` (a job, for its service connection), and `gcp` here and `github` for Node (a token of that platform,
by its own client, proves the app); IDENTITY_KIND is `client_id`, `object_id` or `resource_id`. Where the mock listens
comes from the environment, as in Azure. The token itself is not printed: its claims are, verified with the keys of the
OpenID configuration at MOCK_URL. With --raw it is the token and nothing else, as soon as it is there.
"""

import json
import os
import sys

import requests
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import (
    AzurePipelinesCredential,
    ClientAssertionCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    OnBehalfOfCredential,
    WorkloadIdentityCredential,
)


# Do not ask Microsoft whether the mock is an authority.
HERE = {"disable_instance_discovery": True}


def main(kind, scope, *identity):
    try:
        token = credential(kind, *identity).get_token_info(scope)
    except CredentialUnavailableError as error:
        return {"error": "unavailable", "message": str(error)}
    except ClientAuthenticationError as error:
        return {"error": "failed", "message": str(error)}
    except requests.exceptions.SSLError as error:
        return {"error": "untrusted", "message": str(error)}
    except ServiceRequestError as error:
        # Of azure-core, around the same.
        return {"error": "untrusted" if "CERTIFICATE_VERIFY" in str(error) else "unreachable", "message": str(error)}
    except ValueError as error:
        return {"error": "misconfigured", "message": str(error)}
    return {
        "claims": verified(token.token, scope.removesuffix("/.default")),
        "expires_on": token.expires_on,
        "refresh_on": token.refresh_on,
        "token_type": token.token_type,
    }


def credential(kind, id_kind=None, identity=None):
    if kind == "environment":
        return EnvironmentCredential(**HERE)
    if kind == "workload-identity":
        return WorkloadIdentityCredential(**HERE)
    if kind == "identity-binding":
        return WorkloadIdentityCredential(enable_azure_proxy=True, **HERE)
    if kind == "on-behalf-of":
        tenant, client, secret = (os.environ[f"AZURE_{name}"] for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"))
        return OnBehalfOfCredential(
            tenant, client, client_secret=secret, user_assertion=os.environ["USER_TOKEN"], **HERE
        )
    if kind == "federated-identity":
        tenant, client = (os.environ[f"TOKEN_BROKER_FEDERATED_{name}"] for name in ("TENANT_ID", "CLIENT_ID"))
        managed = ManagedIdentityCredential(**{id_kind: identity})
        assertion = lambda: managed.get_token("api://AzureADTokenExchange/.default").token
        return ClientAssertionCredential(tenant, client, assertion, **HERE)
    if kind == "azure-pipelines":
        return AzurePipelinesCredential(
            **app(),
            service_connection_id=os.environ["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"],
            system_access_token=os.environ["SYSTEM_ACCESSTOKEN"],
            **HERE,
        )
    if kind == "gcp":
        return ClientAssertionCredential(**app(), func=google_id_token, **HERE)
    if kind == "default":
        return DefaultAzureCredential(**({"managed_identity_client_id": identity} if identity else {}), **HERE)
    if id_kind == "client_id":
        return ManagedIdentityCredential(client_id=identity)
    if id_kind:
        return ManagedIdentityCredential(identity_config={id_kind: identity})
    return ManagedIdentityCredential()


def app():
    return {name: os.environ[f"AZURE_{name.upper()}"] for name in ("tenant_id", "client_id")}


def google_id_token():
    from google.auth.transport.requests import Request
    from google.oauth2.id_token import fetch_id_token

    return fetch_id_token(Request(), "api://AzureADTokenExchange")


def verified(token, audience):
    # Not with the others: who asks for the token alone measures how soon it comes.
    import jwt

    tenant = jwt.decode(token, options={"verify_signature": False})["tid"]
    configuration = requests.get(f"{os.environ['MOCK_URL']}/{tenant}/.well-known/openid-configuration").json()
    key = jwt.PyJWKClient(configuration["jwks_uri"]).get_signing_key_from_jwt(token).key
    return jwt.decode(token, key, ["RS256"], audience=audience, issuer=configuration["issuer"])


if sys.argv[1] == "--raw":
    kind, scope, *identity = sys.argv[2:]
    print(credential(kind, *identity).get_token(scope).token, flush=True)
else:
    print(json.dumps(main(*sys.argv[1:])))
