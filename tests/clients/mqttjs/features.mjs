// node features.mjs URL CHECK: one check of what MQTT 5 adds; prints that it was made, and fails with the
// first thing that is otherwise. User and password of `authentication` are `anna` and `secret`.

import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { on, once } from "node:events";
import mqtt from "mqtt";

const [url, name] = process.argv.slice(2);

/** A client that is connected; `prepare` gets it before. `next` gives its messages one after another. */
async function open(clientId, properties = {}, more = {}, prepare = () => {}) {
  const client = mqtt.connect(url, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    clientId,
    properties,
    ...more,
  });
  prepare(client);
  const messages = on(client, "message", { close: ["close"] });
  const next = async () => {
    const { done, value } = await messages.next();
    assert(!done, `${clientId} is closed`);
    const [topic, payload, packet] = value;
    return { topic, payload: payload.toString(), properties: packet.properties };
  };
  const [connack] = await once(client, "connect");
  return { client, connack, next };
}

/** The same, subscribed to `filter` with QoS 2. */
async function subscribed(filter, ...args) {
  const opened = await open(...args);
  await opened.client.subscribeAsync(filter, { qos: 2 });
  return opened;
}

/** Calls `seen` with each packet of this kind that goes (`packetsend`) or comes (`packetreceive`). */
function follow(client, event, cmd, seen) {
  client.on(event, (packet) => packet.cmd === cmd && seen(packet));
}

/** Numbers as texts. */
const numbers = (count) => Array.from({ length: count }, (_, n) => String(n));

/** A client of SCRAM-SHA-256 (RFC 7677), without channel binding. */
function scram(user, password) {
  const mac = (key, text) => createHmac("sha256", key).update(text).digest();
  const base64 = (bytes) => Buffer.from(bytes).toString("base64");
  const first = `n=${user},r=${randomBytes(18).toString("base64")}`;
  const answer = (challenge) => {
    const [, nonce, salt, rounds] = /^r=(.*),s=(.*),i=(\d+)$/.exec(challenge);
    const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(rounds), 32, "sha256");
    const bare = `c=${base64("n,,")},r=${nonce}`;
    const text = [first, challenge, bare].join(",");
    const key = mac(salted, "Client Key");
    const mask = mac(createHash("sha256").update(key).digest(), text);
    const proof = base64(key.map((byte, n) => byte ^ mask[n]));
    const expected = `v=${base64(mac(mac(salted, "Server Key"), text))}`;
    return { proof: `${bare},p=${proof}`, expected };
  };
  return { first: `n,,${first}`, answer };
}

const checks = {
  async properties() {
    const sent = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 3600,
      contentType: "text/plain",
      responseTopic: "re/ply",
      correlationData: Buffer.from([0, 255, 1]),
      userProperties: { b: ["1", "3", "1"], a: "2", c: "" },
    };
    const watcher = await open("watcher");
    const subscription = { qos: 1, properties: { subscriptionIdentifier: 7 } };
    await watcher.client.subscribeAsync("a", subscription);
    const { client } = await open("publisher");
    await client.publishAsync("a", "hello", { qos: 1, properties: sent });
    const { properties } = await watcher.next();
    const { userProperties, messageExpiryInterval, subscriptionIdentifier, ...rest } = properties;
    const { userProperties: pairs, messageExpiryInterval: lifetime_s, ...same } = sent;
    // An object keeps the order in which its names came.
    assert.deepEqual(Object.entries(userProperties), Object.entries(pairs));
    assert(messageExpiryInterval > lifetime_s - 100 && messageExpiryInterval <= lifetime_s);
    assert.equal(subscriptionIdentifier, 7);
    assert.deepEqual(rest, same);
  },

  async shared_subscription() {
    const sent = numbers(20);
    const filter = "$share/group/a";
    const members = [await subscribed(filter, "one"), await subscribed(filter, "two")];
    const got = members.map(() => []);
    const all = new Promise((resolve) => {
      members.forEach(({ client }, n) =>
        client.on("message", (_topic, payload) => {
          got[n].push(payload.toString());
          if (got.flat().length === sent.length) {
            resolve();
          }
        }),
      );
    });
    const { client } = await open("publisher");
    for (const text of sent) {
      await client.publishAsync("a", text, { qos: 1 });
    }
    await all;
    assert.deepEqual(got.flat().sort(), sent.sort());
    assert(got.every((part) => part.length > 0), JSON.stringify(got));
  },

  async will_delay() {
    const watcher = await subscribed("will/#", "watcher");
    const mortal = (id) => {
      const will = { topic: `will/${id}`, payload: "gone", qos: 1, properties: { willDelayInterval: 1 } };
      return open(id, { sessionExpiryInterval: 60 }, { clean: false, will });
    };
    const lose = async ({ client }) => {
      client.stream.destroy();
      await once(client, "close");
    };
    await lose(await mortal("cancelled"));
    const back = await mortal("cancelled");
    assert(back.connack.sessionPresent);
    const kept = await mortal("kept");
    const before = performance.now();
    await lose(kept);
    // The other one would have been due before.
    assert.equal((await watcher.next()).topic, "will/kept");
    assert(performance.now() - before > 900, "the will did not wait");
  },

  async topic_alias() {
    const sent = numbers(10);
    let [received, unnamed] = [0, 0];
    const watcher = await subscribed("a/long/topic", "watcher", { topicAliasMaximum: 10 });
    follow(watcher.client, "packetreceive", "publish", (packet) => {
      received += packet.topic === "" && packet.properties.topicAlias > 0;
    });
    const { client, connack } = await open("publisher", {}, { autoAssignTopicAlias: true });
    assert(connack.properties.topicAliasMaximum > 0);
    follow(client, "packetsend", "publish", (packet) => {
      unnamed += packet.topic === "" && packet.properties.topicAlias > 0;
    });
    for (const text of sent) {
      await client.publishAsync("a/long/topic", text, { qos: 1 });
      const message = await watcher.next();
      assert.deepEqual([message.topic, message.payload], ["a/long/topic", text]);
    }
    // Each side names the topic once.
    assert.deepEqual([unnamed, received], [sent.length - 1, sent.length - 1]);
  },

  async receive_maximum() {
    const sent = numbers(20);
    // MQTT.js itself ends a connection on which there are more.
    const watcher = await subscribed("a", "watcher", { receiveMaximum: 2 });
    let [inFlight, most] = [0, 0];
    follow(watcher.client, "packetreceive", "publish", () => (most = Math.max(most, ++inFlight)));
    follow(watcher.client, "packetsend", "pubcomp", () => inFlight--);
    const { client } = await open("publisher");
    await Promise.all(sent.map((text) => client.publishAsync("a", text, { qos: 2 })));
    for (const text of sent) {
      assert.equal((await watcher.next()).payload, text);
    }
    assert.equal(most, 2);
  },

  async session() {
    const resumed = (expiry) => open("c", { sessionExpiryInterval: expiry }, { clean: false });
    const first = await resumed(60);
    assert(!first.connack.sessionPresent);
    await first.client.subscribeAsync("a", { qos: 1 });
    await first.client.endAsync();
    const { client } = await open("publisher");
    await client.publishAsync("a", "waited", { qos: 1 });
    const second = await resumed(60);
    assert(second.connack.sessionPresent);
    assert.equal((await second.next()).payload, "waited");
    // Its last word is that nothing is to be kept any more.
    await second.client.endAsync(false, { properties: { sessionExpiryInterval: 0 } });
    const third = await resumed(0);
    assert(!third.connack.sessionPresent);
  },

  async nobody_subscribed() {
    const { client } = await open("publisher");
    const codes = [];
    for (const answer of ["puback", "pubrec"]) {
      follow(client, "packetreceive", answer, ({ reasonCode }) => codes.push([answer, reasonCode]));
    }
    await client.publishAsync("a", "1", { qos: 1 });
    await client.publishAsync("a", "2", { qos: 2 });
    assert.deepEqual(codes, [["puback", 0x10], ["pubrec", 0x10]]);
  },

  async authentication() {
    const authenticationMethod = "SCRAM-SHA-256";
    const logIn = async (password) => {
      const { first, answer } = scram("anna", password);
      const data = (text) => ({ authenticationMethod, authenticationData: Buffer.from(text) });
      let expected;
      const { client, connack } = await open("c", data(first), {}, (begun) => {
        begun.handleAuth = ({ properties }, done) => {
          const answered = answer(properties.authenticationData.toString());
          expected = answered.expected;
          done(null, { cmd: "auth", reasonCode: 0x18, properties: data(answered.proof) });
        };
      });
      assert.equal(connack.properties.authenticationMethod, authenticationMethod);
      assert.equal(connack.properties.authenticationData.toString(), expected);
      await client.publishAsync("a", "1", { qos: 1 });
    };
    await logIn("secret");
    await assert.rejects(logIn("another"), { code: 0x87 });
  },
};

try {
  await checks[name]();
  console.log(`checked: ${name}`);
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
