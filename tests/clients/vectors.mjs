// node vectors.mjs FILE: vectors of sealed and stamped payloads, opened by docs/clients/javascript/envelope.mjs.
// Prints a line for each that holds, and fails with those that do not. What that module does not do, by its own
// words, is passed over: ChaCha20-Poly1305, numbers out of order, and until when a topic key is valid.

import { readFileSync } from "node:fs";
import { Opener } from "../../docs/clients/javascript/envelope.mjs";

const PASSED_OVER = [
  "sealed, ChaCha20-Poly1305",
  "sealed, X25519 with ChaCha20-Poly1305",
  "counters may arrive out of order inside the window",
  "a content key past its time",
];

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const base64 = (hex) => Buffer.from(hex, "hex").toString("base64url");
const text = (hex) => Buffer.from(hex, "hex").toString();

const { keyring, vectors } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const [first] = keyring.senders;
const sender = { kty: "OKP", crv: "Ed25519", kid: text(first.kid_hex), x: base64(first.ed25519_public_hex) };
const ours = keyring.topic_keys.filter((key) => key.alg !== "ChaCha20/Poly1305");
const topicKeys = ours.map((key) => {
  const kid = text(key.kid_hex);
  if (key.secret_hex) {
    return { kty: "oct", alg: key.alg, kid, k: base64(key.secret_hex) };
  }
  return { kty: "OKP", crv: "X25519", kid, x: base64(key.x25519_public_hex), d: base64(key.x25519_secret_hex) };
});

async function outcome(vector) {
  const opener = new Opener(sender, ...(vector.mode === "stamped" ? [] : topicKeys));
  Date.now = () => vector.now * 1000;
  for (const earlier of vector.after_hex ?? []) {
    await opener.open(bytes(earlier), vector.topic);
  }
  try {
    return Buffer.from(await opener.open(bytes(vector.payload_hex), vector.topic)).toString("hex");
  } catch {
    return undefined;
  }
}

for (const vector of vectors) {
  if (vector.mode === "end-to-end" || PASSED_OVER.includes(vector.name)) {
    continue;
  }
  if ((await outcome(vector)) === vector.plaintext_hex) {
    console.log("holds:", vector.name);
  } else {
    console.error("broken:", vector.name);
    process.exitCode = 1;
  }
}
