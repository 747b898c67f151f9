"""Read a secret with azure-keyvault-secrets, and say in JSON what came of it.

usage: get_secret.py VAULT_URL NAME
"""

import json
import sys

from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient


def main(vault_url, name):
    # The mock is not under vault.azure.net, which the client would check.
    client = SecretClient(vault_url, ManagedIdentityCredential(), verify_challenge_resource=False)
    try:
        secret = client.get_secret(name)
    except HttpResponseError as error:
        return {"error": error.error.code, "status": error.status_code}
    return {"name": secret.name, "value": secret.value, "version": secret.properties.version}


print(json.dumps(main(*sys.argv[1:])))
