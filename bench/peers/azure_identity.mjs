// What @azure/identity costs: `cached`, `first` or `herd`, with the mock in the environment.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Setup installs the packages under target/, where an import does not look.
const require = createRequire(new URL("../../target/node/", import.meta.url));
const { ManagedIdentityCredential } = require("@azure/identity");

const SCOPE = "https://vault.azure.net/.default";
const BATCH = 500;

const credential = new ManagedIdentityCredential();

// What `process.resourceUsage` says is that of the program which started this one, if that is more.
function mostMemoryMib() {
  const [, kib] = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"));
  return kib / 1024;
}

const modes = {
  async cached() {
    await credential.getToken(SCOPE);
    const batches = [];
    for (let batch = 0; batch < 21; batch++) {
      const start = performance.now();
      for (let call = 0; call < BATCH; call++) await credential.getToken(SCOPE);
      batches.push(((performance.now() - start) / BATCH) * 1000);
    }
    const version = require("@azure/identity/package.json").version;
    const memory = mostMemoryMib();
    console.log(JSON.stringify({ version, cached_us: batches.sort((a, b) => a - b)[10], memory_mib: memory }));
  },
  async first() {
    console.log((await credential.getToken(SCOPE)).token);
  },
  async herd() {
    await Promise.all(Array.from({ length: 32 }, () => credential.getToken(SCOPE)));
  },
};

await modes[process.argv[2]]();
