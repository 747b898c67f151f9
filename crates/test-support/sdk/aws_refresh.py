"""Credentials of AWS from botocore, which the environment configures: a line of JSON for each line of the input."""

import json
import sys

import botocore.exceptions
import botocore.session

# One for all lines, as in a program that runs for long.
credentials = botocore.session.get_session().get_credentials()
print(json.dumps({"method": credentials and credentials.method}), flush=True)
for _ in sys.stdin:
    try:
        frozen = credentials.get_frozen_credentials()
        print(json.dumps({"access_key": frozen.access_key, "session_token": frozen.token}), flush=True)
    except (botocore.exceptions.ClientError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
