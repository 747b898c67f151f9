// Read a secret with @azure/keyvault-secrets, and say in JSON what came of it.
//
// usage: get_secret.mjs VAULT_URL NAME

import { createRequire } from "node:module";

// Setup installs the packages under target/, where an import does not look.
const require = createRequire(new URL("../../../target/node/", import.meta.url));
const { ManagedIdentityCredential } = require("@azure/identity");
const { SecretClient } = require("@azure/keyvault-secrets");

async function main(vaultUrl, name) {
  // The mock is not under vault.azure.net, which the client would check.
  const options = { disableChallengeResourceVerification: true };
  const client = new SecretClient(vaultUrl, new ManagedIdentityCredential(), options);
  try {
    const { value, properties } = await client.getSecret(name);
    return { name: properties.name, value, version: properties.version };
  } catch (error) {
    if (error.name !== "RestError") throw error;
    return { error: error.code, status: error.statusCode };
  }
}

console.log(JSON.stringify(await main(...process.argv.slice(2))));
