// What both node and the page do with MQTT.js: connect, subscribe, publish, and get everything back.

const PAYLOADS = { short: "hello", empty: "", long: "0123456789".repeat(30_000) };

/** Resolves to a list of what came back, a text each; rejects when the connection fails or ends. */
export function exchange(mqtt, url, protocolVersion, more = {}) {
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(url, { protocolVersion, reconnectPeriod: 0, ...more });
    const received = [];
    const wanted = Object.keys(PAYLOADS).length * 3;
    const fail = (why) => {
      client.end(true);
      reject(new Error(why));
    };
    client.on("error", (error) => fail(`error: ${error.message}`));
    client.on("close", () => fail("closed by the broker"));
    client.on("message", (topic, payload, packet) => {
      const whole = payload.toString() === PAYLOADS[topic.split("/")[1]];
      received.push(`${topic} qos=${packet.qos} whole=${whole}`);
      if (received.length === wanted) {
        client.removeAllListeners("close");
        client.end(false, () => resolve(received.sort()));
      }
    });
    client.on("connect", async () => {
      try {
        await client.subscribeAsync("exchange/#", { qos: 2 });
        for (const [name, payload] of Object.entries(PAYLOADS)) {
          for (const qos of [0, 1, 2]) {
            await client.publishAsync(`exchange/${name}`, payload, { qos });
          }
        }
      } catch (error) {
        fail(error.message);
      }
    });
  });
}
