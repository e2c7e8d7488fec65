// node publish.mjs URL TOPIC READING SENDER_KEY [TOPIC_KEY]: publishes a sealed reading.

import { readFileSync } from "node:fs";
import mqtt from "mqtt";
import { seal } from "./envelope.mjs";

const [url, topic, reading, ...files] = process.argv.slice(2);
const [sender, topicKey] = files.map((file) => JSON.parse(readFileSync(file, "utf8")));

const envelope = await seal(new TextEncoder().encode(reading), topic, sender, topicKey);
const client = await mqtt.connectAsync(url, { protocolVersion: 5 });
await client.publishAsync(topic, Buffer.from(envelope), { qos: 1 });
await client.endAsync();
