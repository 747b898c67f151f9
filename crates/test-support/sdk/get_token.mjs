// Get a token with @azure/identity, and say in JSON what came of it: as get_token.py does, with the same arguments.
//
// usage: get_token.mjs [--raw] CREDENTIAL SCOPE [IDENTITY_KIND ID]

import { createPublicKey } from "node:crypto";
import { createRequire } from "node:module";

// Setup installs the packages under target/, where an import does not look.
const PACKAGES = new URL("../../../target/node/", import.meta.url);
const require = createRequire(PACKAGES);
const {
  AzurePipelinesCredential,
  ClientAssertionCredential,
  DefaultAzureCredential,
  EnvironmentCredential,
  ManagedIdentityCredential,
  OnBehalfOfCredential,
  WorkloadIdentityCredential,
} = require("@azure/identity");

// Do not ask Microsoft whether the mock is an authority.
const HERE = { disableInstanceDiscovery: true };
const { env } = process;

async function main(kind, scope, ...identity) {
  let token;
  try {
    token = await credential(kind, ...identity).getToken(scope);
  } catch (error) {
    const named = KINDS[error.name];
    if (!named) throw error;
    return { error: named, message: error.message };
  }
  return {
    claims: await verified(token.token, scope.replace(/\/\.default$/, "")),
    expires_on: seconds(token.expiresOnTimestamp),
    refresh_on: seconds(token.refreshAfterTimestamp),
    token_type: token.tokenType,
  };
}

const KINDS = {
  CredentialUnavailableError: "unavailable",
  AuthenticationError: "failed",
  AggregateAuthenticationError: "failed",
  AuthenticationRequiredError: "failed",
};

function credential(kind, idKind, identity) {
  switch (kind) {
    case "environment":
      return new EnvironmentCredential(HERE);
    case "workload-identity":
      return new WorkloadIdentityCredential(HERE);
    case "on-behalf-of":
      return new OnBehalfOfCredential({
        tenantId: env.AZURE_TENANT_ID,
        clientId: env.AZURE_CLIENT_ID,
        clientSecret: env.AZURE_CLIENT_SECRET,
        userAssertionToken: env.USER_TOKEN,
        ...HERE,
      });
    case "federated-identity":
      return federated(new ManagedIdentityCredential(chosen(idKind, identity)));
    case "azure-pipelines":
      return new AzurePipelinesCredential(
        env.AZURE_TENANT_ID,
        env.AZURE_CLIENT_ID,
        env.AZURESUBSCRIPTION_SERVICE_CONNECTION_ID,
        env.SYSTEM_ACCESSTOKEN,
        HERE,
      );
    case "github":
      return new ClientAssertionCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, githubIdToken, HERE);
    case "default":
      return new DefaultAzureCredential({ managedIdentityClientId: identity, ...HERE });
    default:
      return new ManagedIdentityCredential(chosen(idKind, identity));
  }
}

function federated(managed) {
  const assertion = async () => (await managed.getToken("api://AzureADTokenExchange/.default")).token;
  const { TOKEN_BROKER_FEDERATED_TENANT_ID: tenant, TOKEN_BROKER_FEDERATED_CLIENT_ID: client } = env;
  return new ClientAssertionCredential(tenant, client, assertion, HERE);
}

async function githubIdToken() {
  // It has no form that `require` takes.
  const { getIDToken } = await import(new URL("node_modules/@actions/core/lib/core.js", PACKAGES));
  // It tells the runner by stdout to hide the token.
  const write = process.stdout.write;
  process.stdout.write = () => true;
  try {
    return await getIDToken("api://AzureADTokenExchange");
  } finally {
    process.stdout.write = write;
  }
}

function chosen(idKind, identity) {
  const names = { client_id: "clientId", object_id: "objectId", resource_id: "resourceId" };
  return idKind ? { [names[idKind]]: identity } : {};
}

async function verified(token, audience) {
  // Not with the others: who asks for the token alone measures how soon it comes.
  const jwt = require("jsonwebtoken");
  const { header, payload } = jwt.decode(token, { complete: true });
  const configuration = await json(`${env.MOCK_URL}/${payload.tid}/.well-known/openid-configuration`);
  const { keys } = await json(configuration.jwks_uri);
  const key = createPublicKey({ key: keys.find(({ kid }) => kid === header.kid), format: "jwk" });
  return jwt.verify(token, key, { algorithms: ["RS256"], audience, issuer: configuration.issuer });
}

async function json(url) {
  return (await fetch(url)).json();
}

function seconds(milliseconds) {
  return milliseconds === undefined ? null : Math.floor(milliseconds / 1000);
}

const [, , ...args] = process.argv;
if (args[0] === "--raw") {
  const [, kind, scope, ...identity] = args;
  console.log((await credential(kind, ...identity).getToken(scope)).token);
} else {
  console.log(JSON.stringify(await main(...args)));
}
