// @azure/identity as a peer: `measure` prints its figures, `herd` has 32 cold callers at once. The mock is in the
// environment.

import { createRequire } from "node:module";
import { batches, mostMemoryMib, SCOPE } from "./figures.mjs";

// Setup installs the packages under target/, where an import does not look.
const require = createRequire(new URL("../../target/node/", import.meta.url));
const { ManagedIdentityCredential } = require("@azure/identity");

const credential = new ManagedIdentityCredential();
const call = () => credential.getToken(SCOPE);

if (process.argv[2] === "herd") {
  await Promise.all(Array.from({ length: 32 }, call));
} else {
  await call();
  const version = require("@azure/identity/package.json").version;
  // All credentials of a process share one cache, so that a new one is not cold.
  const figures = { version, cached_us: await batches(call), first_ms: [], memory_mib: mostMemoryMib() };
  console.log(JSON.stringify(figures));
}
