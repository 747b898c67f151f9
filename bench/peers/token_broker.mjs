// token-broker-sync.wasm in Node: prints its figures. The mock and the module that jco made of it are in the environment.

import { batches, mostMemoryMib, SCOPE } from "./figures.mjs";

const { credentialsSync } = await import(process.env.BROKER_MODULE);
const call = () => credentialsSync.getToken(SCOPE);

call();
const version = `jco, Node.js ${process.versions.node}`;
const figures = { version, cached_us: await batches(call), first_ms: [], memory_mib: mostMemoryMib() };
console.log(JSON.stringify(figures));
