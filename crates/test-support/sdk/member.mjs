// A process of a fleet with @azure/identity: it says `ready`, reads scopes, and prints what came of each, as `fleet` does.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// Setup installs the packages under target/, where an import does not look.
const require = createRequire(new URL("../../../target/node/", import.meta.url));
const { ManagedIdentityCredential } = require("@azure/identity");

const credential = new ManagedIdentityCredential();
console.log("ready");
for await (const scope of createInterface({ input: process.stdin })) {
  const got = { token: null, error: null };
  try {
    got.token = (await credential.getToken(scope)).token;
  } catch (error) {
    got.error = error.message;
  }
  console.log(JSON.stringify(got));
}
