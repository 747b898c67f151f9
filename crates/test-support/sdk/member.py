"""A process of a fleet with azure-identity: it says `ready`, reads scopes, and prints what came of each, as `fleet` does."""

import json
import sys

from azure.identity import ManagedIdentityCredential

credential = ManagedIdentityCredential()
print("ready", flush=True)
for scope in sys.stdin:
    got = {"token": None, "error": None}
    try:
        got["token"] = credential.get_token(scope.strip()).token
    except Exception as error:
        got["error"] = str(error)
    print(json.dumps(got), flush=True)
