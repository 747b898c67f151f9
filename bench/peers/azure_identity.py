"""What azure-identity costs: `cached`, `first` or `herd`, with the mock in the environment."""

import json
import statistics
import sys
import threading
import time

from azure.identity import ManagedIdentityCredential, __version__

SCOPE = "https://vault.azure.net/.default"
BATCH = 500


def cached():
    credential = ManagedIdentityCredential()
    credential.get_token(SCOPE)
    batches = []
    for _ in range(21):
        start = time.perf_counter()
        for _ in range(BATCH):
            credential.get_token(SCOPE)
        batches.append((time.perf_counter() - start) / BATCH)
    memory = most_memory_mib()
    figures = {"version": __version__, "cached_us": statistics.median(batches) * 1e6, "memory_mib": memory}
    print(json.dumps(figures))


def most_memory_mib():
    """The kernel's count of this program; what `getrusage` says is that of the program which started it, if that is more."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def first():
    print(ManagedIdentityCredential().get_token(SCOPE).token, flush=True)


def herd():
    credential = ManagedIdentityCredential()
    barrier = threading.Barrier(32)

    def call():
        barrier.wait()
        credential.get_token(SCOPE)

    callers = [threading.Thread(target=call) for _ in range(32)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


{"cached": cached, "first": first, "herd": herd}[sys.argv[1]]()
