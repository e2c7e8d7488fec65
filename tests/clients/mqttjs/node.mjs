// node node.mjs URL PROTOCOL_VERSION [CA_FILE]: the exchange from node; prints what came back.

import { readFileSync } from "node:fs";
import mqtt from "mqtt";
import { exchange } from "./exchange.mjs";

const [url, version, caFile] = process.argv.slice(2);
const tls = caFile ? { ca: readFileSync(caFile) } : {};
try {
  console.log((await exchange(mqtt, url, Number(version), tls)).join("\n"));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
