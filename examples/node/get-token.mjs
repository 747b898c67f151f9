import { types } from "@bytecodealliance/preview2-shim/http";
import { credentialsSync } from "./broker/token-broker-sync.js";

// The shim takes it for the longest silence, and an identity endpoint may think for longer than a second.
types.RequestOptions.prototype.setConnectTimeout = () => {};

try {
  const token = credentialsSync.getToken(process.argv[2]);
  console.log(`${token.tokenType} token until ${new Date(Number(token.expiresOn) * 1000).toISOString()}`);
} catch (error) {
  console.error(error.payload);
  process.exitCode = 1;
}
