// node browser.mjs URL PROTOCOL_VERSION FOLDER [PAGE]: the exchange from a page in headless Chromium, whose
// profile is made in the folder; prints the origin of the page, and then what came back. Another page may be
// put in its place: one that posts {"received": [TEXT, ...]} or {"error": TEXT} to "result".

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const [url, version, folder, other] = process.argv.slice(2);
const mqtt = dirname(createRequire(import.meta.url).resolve("mqtt/package.json"));
const files = {
  "/": ["text/html", other ?? new URL("page.html", import.meta.url)],
  "/envelope.mjs": ["text/javascript", new URL("../../../docs/clients/javascript/envelope.mjs", import.meta.url)],
  "/exchange.mjs": ["text/javascript", new URL("exchange.mjs", import.meta.url)],
  "/mqtt.min.js": ["text/javascript", join(mqtt, "dist", "mqtt.min.js")],
};

let chromium;

/** Ends Chromium with all its processes, and this one. */
function end(code) {
  chromium.removeAllListeners("exit");
  try {
    process.kill(-chromium.pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
  process.exit(code);
}
process.on("SIGTERM", () => {
  console.error("the page says nothing");
  end(1);
});

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (request.method === "POST" && pathname === "/result") {
    let body = "";
    for await (const part of request) {
      body += part;
    }
    response.end();
    const { received, error } = JSON.parse(body);
    console.log(`origin ${request.headers.origin}`);
    if (error) {
      console.error(error);
      end(1);
    } else {
      console.log(received.join("\n"));
      end(0);
    }
    return;
  }
  const [type, file] = files[pathname] ?? [];
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
});

server.listen(0, "127.0.0.1", () => {
  const page = new URL(`http://127.0.0.1:${server.address().port}/`);
  page.search = new URLSearchParams({ url, version });
  chromium = spawn(
    process.env.CHROMIUM ?? "chromium",
    [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // The broker's certificate is the tests' own.
      "--ignore-certificate-errors",
      // Keeps it open until it is told to end.
      "--remote-debugging-port=0",
      `--user-data-dir=${mkdtempSync(join(folder, "chromium-"))}`,
      page.href,
    ],
    // A group of its own, so that all of it can be ended.
    { stdio: ["ignore", "ignore", "pipe"], detached: true },
  );
  let said = "";
  chromium.stderr.on("data", (part) => (said = (said + part).slice(-10_000)));
  chromium.on("error", (error) => {
    console.error(`cannot run chromium: ${error.message}`);
    process.exit(1);
  });
  chromium.on("exit", (code) => {
    console.error(`chromium ended with ${code} before the page was done:\n${said}`);
    end(1);
  });
});
