"""azure-identity as a peer: `measure` prints its figures, `herd` has 32 cold callers at once, and `member N` is a process
of a fleet with N credentials, which speaks as the program `fleet` does. The mock is in the environment."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from azure.identity import ManagedIdentityCredential, __version__

SCOPE = "https://vault.azure.net/.default"
BATCH = 500


def measure():
    credential = ManagedIdentityCredential()
    credential.get_token(SCOPE)
    cached, first = [], []
    for _ in range(21):
        start = time.perf_counter()
        for _ in range(BATCH):
            credential.get_token(SCOPE)
        cached.append((time.perf_counter() - start) / BATCH * 1e6)
    memory = most_memory_mib()
    for _ in range(101):
        start = time.perf_counter()
        ManagedIdentityCredential().get_token(SCOPE)
        first.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"version": __version__, "cached_us": cached, "first_ms": first, "memory_mib": memory}))


def most_memory_mib():
    """The kernel's count of this program; `getrusage` counts the program that started it, too."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def herd():
    credential = ManagedIdentityCredential()
    barrier = threading.Barrier(32)

    def call(_):
        barrier.wait()
        credential.get_token(SCOPE)

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(call, range(32)))


def member(instances):
    credentials = [ManagedIdentityCredential() for _ in range(instances)]

    def call(credential):
        try:
            return {"token": credential.get_token(SCOPE).token}
        except Exception as error:
            return {"token": None, "error": str(error)}

    with ThreadPoolExecutor(instances) as threads:
        print("ready", flush=True)
        for _ in sys.stdin:
            for got in threads.map(call, credentials):
                print(json.dumps(got), flush=True)


if sys.argv[1] == "member":
    member(int(sys.argv[2]))
else:
    {"measure": measure, "herd": herd}[sys.argv[1]]()
