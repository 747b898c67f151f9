// What token-broker-sync.wasm costs in Node: `cached`, `first` or `herd`, with the mock and the module that jco made of it
// in the environment.

import { readFileSync } from "node:fs";

const SCOPE = "https://vault.azure.net/.default";
const BATCH = 500;

const { credentialsSync } = await import(process.env.BROKER_MODULE);

// What `process.resourceUsage` says is that of the program which started this one, if that is more.
function mostMemoryMib() {
  const [, kib] = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"));
  return kib / 1024;
}

const modes = {
  cached() {
    credentialsSync.getToken(SCOPE);
    const batches = [];
    for (let batch = 0; batch < 21; batch++) {
      const start = performance.now();
      for (let call = 0; call < BATCH; call++) credentialsSync.getToken(SCOPE);
      batches.push(((performance.now() - start) / BATCH) * 1000);
    }
    const memory = mostMemoryMib();
    const version = `on Node.js ${process.versions.node}`;
    console.log(JSON.stringify({ version, cached_us: batches.sort((a, b) => a - b)[10], memory_mib: memory }));
  },
  first() {
    console.log(credentialsSync.getToken(SCOPE).token);
  },
  // No two of its calls are under way at once.
  herd() {
    for (let call = 0; call < 32; call++) credentialsSync.getToken(SCOPE);
  },
};

modes[process.argv[2]]();
