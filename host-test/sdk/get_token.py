"""Get a token with azure-identity, and say in JSON what came of it.

usage: get_token.py CREDENTIAL SCOPE [IDENTITY_KIND ID]

CREDENTIAL is `managed-identity` or `default`; IDENTITY_KIND is `client_id`, `object_id` or `resource_id`. Where the
mock listens comes from the environment, as in Azure. The token itself is not printed: its claims are, verified with
the keys of the OpenID configuration at MOCK_URL.
"""

import json
import os
import sys

import jwt
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential, ManagedIdentityCredential


def main(kind, scope, *identity):
    try:
        token = credential(kind, *identity).get_token_info(scope)
    except CredentialUnavailableError as error:
        return {"error": "unavailable", "message": str(error)}
    except ClientAuthenticationError as error:
        return {"error": "failed", "message": str(error)}
    return {
        "claims": verified(token.token, scope.removesuffix("/.default")),
        "expires_on": token.expires_on,
        "refresh_on": token.refresh_on,
        "token_type": token.token_type,
    }


def credential(kind, id_kind=None, identity=None):
    if kind == "default":
        return DefaultAzureCredential(**({"managed_identity_client_id": identity} if identity else {}))
    if id_kind == "client_id":
        return ManagedIdentityCredential(client_id=identity)
    if id_kind:
        return ManagedIdentityCredential(identity_config={id_kind: identity})
    return ManagedIdentityCredential()


def verified(token, audience):
    tenant = jwt.decode(token, options={"verify_signature": False})["tid"]
    configuration = requests.get(f"{os.environ['MOCK_URL']}/{tenant}/.well-known/openid-configuration").json()
    key = jwt.PyJWKClient(configuration["jwks_uri"]).get_signing_key_from_jwt(token).key
    return jwt.decode(token, key, ["RS256"], audience=audience, issuer=configuration["issuer"])


print(json.dumps(main(*sys.argv[1:])))
