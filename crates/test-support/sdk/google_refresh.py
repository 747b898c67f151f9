"""Refresh Google credentials, and say in JSON what came of it.

usage: google_refresh.py FILE TIMES

FILE is a configuration of credentials as `gcloud iam workload-identity-pools create-cred-config` writes it.
"""

import json
import sys

import google.auth.exceptions
import google.auth.transport.requests
from google.auth import identity_pool


def main(file, times):
    # What google.auth.default() makes of the file, but for the name of the project, for which that asks Google.
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = identity_pool.Credentials.from_file(file, scopes=scopes)
    tokens = []
    try:
        for _ in range(int(times)):
            credentials.refresh(google.auth.transport.requests.Request())
            tokens.append(credentials.token)
    except google.auth.exceptions.GoogleAuthError as error:
        return {"tokens": tokens, "error": str(error)}
    return {"tokens": tokens}


print(json.dumps(main(*sys.argv[1:])))
