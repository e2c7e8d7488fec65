// node subscribe.mjs URL FILTER COUNT SENDER_PUBLIC_KEY [TOPIC_KEY...]: opens what comes in envelopes, prints
// it, and ends after COUNT messages (0: never).

import { readFileSync } from "node:fs";
import mqtt from "mqtt";
import { Opener } from "./envelope.mjs";

const [url, filter, count, ...files] = process.argv.slice(2);
const keys = files.map((file) => JSON.parse(readFileSync(file, "utf8")));
const opener = new Opener(...keys);
let left = Number(count);
let last = Promise.resolve();

const client = await mqtt.connectAsync(url, { protocolVersion: 5 });
client.on("message", (topic, payload) => {
  // One after another: what is new is decided in the order of arrival.
  last = last.then(async () => {
    try {
      const plaintext = await opener.open(new Uint8Array(payload), topic);
      console.log(topic, new TextDecoder().decode(plaintext));
      left -= 1;
    } catch (error) {
      console.error(`${topic}: ${error.message}`);
    }
    if (left === 0) {
      client.end();
    }
  });
});
await client.subscribeAsync(filter, { qos: 1 });
console.error("subscribed");
