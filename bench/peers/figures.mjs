// What the programs for Node measure.

import { readFileSync } from "node:fs";

export const SCOPE = "https://vault.azure.net/.default";
const BATCH = 500;

/** Microseconds a call, of each of 21 batches. */
export async function batches(call) {
  const times = [];
  for (let batch = 0; batch < 21; batch++) {
    const start = performance.now();
    for (let nth = 0; nth < BATCH; nth++) await call();
    times.push(((performance.now() - start) / BATCH) * 1000);
  }
  return times;
}

/** The kernel's count of this program; `process.resourceUsage` counts the program that started it, too. */
export function mostMemoryMib() {
  const [, kib] = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"));
  return kib / 1024;
}
