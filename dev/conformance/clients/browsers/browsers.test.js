// Pages of a real browser against the real binary: EventSource, fetch, reconnecting, offline and back, reloads, several tabs.
// CLIENT is the directory of the built client, ODRADEK_BIN the binary; the browser is the `chromium` of the PATH.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const client = process.env.CLIENT;
const { Client } = await import(pathToFileURL(`${client}/dist/index.js`).href);
const { Server } = await import(pathToFileURL(`${client}/build/test/server.js`).href);
const { FlakyProxy } = await import(pathToFileURL(`${client}/build/test/flaky-proxy.js`).href);

let server, files, proxy, browser, context, streams = 0;

before(async () => {
  const executablePath = execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
  browser = await chromium.launch({ executablePath });
  server = await Server.start([]);
  await server.topic("rides");
  files = createServer(async (request, response) => {
    const name = /^\/client\/([\w-]+\.js)$/.exec(request.url)?.[1];
    response.setHeader("content-type", name ? "text/javascript" : "text/html");
    response.end(name ? await readFile(`${client}/dist/${name}`) : "<!doctype html><title>a page</title>");
  });
  await new Promise((resolve) => files.listen(0, "127.0.0.1", resolve));
});

after(async () => {
  await browser?.close();
  await server?.end();
  files?.close();
});

beforeEach(async () => {
  context = await browser.newContext();
  proxy = await FlakyProxy.start(server.port, 11);
  proxy.mood = "calm";
});

afterEach(async () => {
  await context.close();
  await proxy.end();
});

/** A page of another origin than the server's, with the client and what it is asked about. */
async function open(key) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error}`));
  await page.goto(`http://127.0.0.1:${files.address().port}/`);
  await page.evaluate(async ([url, key]) => {
    const { Client, IndexedDbStore } = await import("/client/index.js");
    window.client = new Client({ url });
    window.stream = window.client.stream("rides", key);
    window.store = await IndexedDbStore.open("test");
    window.got = [];
  }, [proxy.url, key]);
  return page;
}

/** Begins to send what the page's store has. */
function queue(page, options = { backoff: { firstMs: 5, mostMs: 100 } }) {
  return page.evaluate((options) => {
    window.queue = window.client.queue({ store: window.store, ...options });
  }, options);
}

/** A stream of its own for each test. */
async function fresh() {
  streams += 1;
  const stream = new Client({ url: server.url }).stream("rides", `page-${streams}`);
  await stream.create();
  return stream;
}

async function all(stream) {
  const values = [];
  for await (const chunk of stream.read()) values.push(...chunk.values);
  return values;
}

const counted = (count, first = 0) => Array.from({ length: count }, (_, at) => first + at);

async function until(what, limitMs = 20_000) {
  for (const end = Date.now() + limitMs; ; await pause(10)) {
    const value = await what();
    if (value) return value;
    assert.ok(Date.now() < end, `in vain: ${what}`);
  }
}

const got = (page, count) => until(() => page.evaluate((count) => window.got.length >= count && window.got, count));

test("an EventSource follows, and over a killed server misses and doubles nothing", async () => {
  const stream = await fresh();
  const page = await open(stream.key);
  await page.evaluate((url) => {
    const source = new EventSource(url);
    source.onmessage = ({ data }) => window.got.push(JSON.parse(data));
  }, `${server.url}${stream.path}`);
  for (const at of counted(5)) {
    await stream.append(at);
    await got(page, at + 1);
  }
  await server.kill();
  await server.startAgain();
  for (const at of counted(5, 5)) {
    await stream.append(at);
    await got(page, at + 1);
  }
  assert.deepEqual(await page.evaluate(() => window.got), counted(10));
});

test("an EventSource follows several streams on one connection", async () => {
  const [one, two] = [await fresh(), await fresh()];
  const page = await open(one.key);
  await page.evaluate((url) => {
    const source = new EventSource(url);
    source.onmessage = ({ data }) => data && window.got.push([JSON.parse(data).stream, JSON.parse(data).value]);
  }, `${server.url}/v1/subscribe?stream=${one.path.slice(3)}&stream=${two.path.slice(3)}`);
  await one.append(1);
  await got(page, 1);
  await two.append(2);
  assert.deepEqual(await got(page, 2), [[0, 1], [1, 2]]);
});

test("the client subscribes with QUERY from a page of another origin", async () => {
  const stream = await fresh();
  const page = await open(stream.key);
  await page.evaluate(async () => {
    void (async () => {
      for await (const event of window.client.subscribe([{ topic: "rides", key: window.stream.key }])) {
        if (event.is === "record") window.got.push(event.value);
      }
    })();
  });
  await stream.append("a");
  assert.deepEqual(await got(page, 1), ["a"]);
});

test("a reader whose connections are cut again and again has each record once", async () => {
  const stream = await fresh();
  const page = await open(stream.key);
  proxy.mood = "flaky";
  await page.evaluate(async () => {
    void (async () => {
      const backoff = { firstMs: 5, mostMs: 50 };
      for await (const { value } of window.stream.follow({ backoff })) window.got.push(value.at);
    })();
  });
  for (const at of counted(100)) await stream.append({ at, text: "x".repeat(300) });
  assert.deepEqual(await got(page, 100), counted(100));
  assert.ok(proxy.cuts.answer > 5, JSON.stringify(proxy.cuts));
});

test("what is appended through a network that cuts is taken once and in order", async () => {
  const stream = await fresh();
  const page = await open(stream.key);
  proxy.mood = "flaky";
  await queue(page);
  await page.evaluate(async () => {
    for (let at = 0; at < 100; at += 1) {
      await window.queue.append(window.stream, at);
      if (at % 2 === 0) await window.queue.drained();
    }
    await window.queue.drained();
  });
  assert.deepEqual(await all(stream), counted(100));
  assert.ok(proxy.cuts.request > 3 && proxy.cuts.answer > 3, JSON.stringify(proxy.cuts));
});

test("offline and back: what was appended meanwhile is sent at once, what came is read", async () => {
  const stream = await fresh();
  const page = await open(stream.key);
  // Without the news that the network is back the next try would be after a minute.
  const backoff = { firstMs: 120_000, mostMs: 120_000 };
  await queue(page, { backoff });
  await page.evaluate((backoff) => {
    void (async () => {
      for await (const { value } of window.stream.follow({ backoff })) window.got.push(value);
    })();
  }, backoff);
  await stream.append("first");
  await got(page, 1);
  await context.setOffline(true);
  // Chromium leaves connections that are open alone.
  proxy.cutAll();
  await page.evaluate(async () => {
    for (let at = 0; at < 20; at += 1) await window.queue.append(window.stream, at);
  });
  await pause(500);
  assert.equal(await page.evaluate(() => window.queue.size()), 20);
  await stream.append("meanwhile");
  await context.setOffline(false);
  await page.evaluate(() => window.queue.drained());
  assert.deepEqual(await got(page, 22), ["first", "meanwhile", ...counted(20)]);
  assert.deepEqual(await all(stream), ["first", "meanwhile", ...counted(20)]);
});

test("what was appended offline is sent by the page after a reload", async () => {
  const stream = await fresh();
  const page = await open(stream.key);
  proxy.mood = "away";
  await queue(page);
  await page.evaluate(async () => {
    for (let at = 0; at < 20; at += 1) await window.queue.append(window.stream, at);
  });
  await page.close();
  const again = await open(stream.key);
  assert.deepEqual(await all(stream), []);
  await queue(again);
  proxy.mood = "flaky";
  await again.evaluate(async () => {
    await window.queue.append(window.stream, 20);
    await window.queue.drained();
  });
  assert.deepEqual(await all(stream), counted(21));
});

test("tabs that append at once and are closed in the midst lose and double nothing", async () => {
  const stream = await fresh();
  proxy.mood = "flaky";
  const kept = [];
  const tabs = [];
  for (const tab of [0, 1, 2]) {
    const page = await open(stream.key);
    await queue(page);
    await page.exposeFunction("kept", (value) => void kept.push(value));
    tabs.push(page);
    await page.evaluate((tab) => {
      void (async () => {
        for (let at = 0; at < 60; at += 1) {
          await window.queue.append(window.stream, [tab, at]);
          await window.kept([tab, at]);
        }
        window.isDone = true;
      })();
    }, tab);
  }
  // The first one sends; it is closed while it does.
  await until(() => kept.length > 30);
  await tabs[0].close();
  await tabs[1].waitForFunction(() => window.isDone);
  await tabs[2].waitForFunction(() => window.isDone);
  await tabs[2].evaluate(() => window.queue.drained());
  const taken = await all(stream);
  for (const tab of [0, 1, 2]) {
    const mine = taken.filter(([by]) => by === tab).map(([, at]) => at);
    assert.deepEqual(mine, counted(mine.length), `tab ${tab}`);
    const told = kept.filter(([by]) => by === tab).length;
    // The tab that was closed may have kept one more than it told.
    assert.ok(tab === 0 ? [told, told + 1].includes(mine.length) : mine.length === 60, `tab ${tab}: ${mine.length} of ${told}`);
  }
});

test("the promise of an append is kept in the tab that did not send it", async () => {
  const stream = await fresh();
  const [sends, waits] = [await open(stream.key), await open(stream.key)];
  await queue(sends);
  await sends.evaluate(async () => (await window.queue.append(window.stream, 1)).sent());
  await queue(waits);
  const { next } = await waits.evaluate(async () => (await window.queue.append(window.stream, 2)).sent());
  assert.equal(next, (await stream.info()).next);
});

test("a reader goes on behind a reload where it was, and tabs of one name take turns", async () => {
  const stream = await fresh();
  const took = [];
  const read = async (name) => {
    const page = await open(stream.key);
    await page.exposeFunction("took", (value) => void took.push([name, value]));
    await page.evaluate(() => {
      void (async () => {
        const resume = { store: window.store, name: "map" };
        for await (const { value } of window.stream.follow({ resume, backoff: { firstMs: 5 } })) await window.took(value);
      })();
    });
    return page;
  };
  const one = await read("one");
  for (const at of counted(5)) await stream.append(at);
  await until(() => took.length === 5);
  const two = await read("two");
  for (const at of counted(5, 5)) await stream.append(at);
  await until(() => took.length === 10);
  await pause(200);
  await one.close();
  for (const at of counted(5, 10)) await stream.append(at);
  await until(() => took.length === 15);
  await pause(200);
  await two.close();
  for (const at of counted(5, 15)) await stream.append(at);
  await read("three");
  await until(() => took.length === 20);
  await pause(200);
  assert.deepEqual(took.map(([, value]) => value), counted(20));
  assert.deepEqual([...new Set(took.map(([name]) => name))], ["one", "two", "three"]);
});

test("a page of an origin that is not listed reads and appends nothing", async () => {
  const stream = await fresh();
  const page = await context.newPage();
  await page.route("http://stranger.example/", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto("http://stranger.example/");
  const outcome = await page.evaluate(async (url) => {
    const attempts = [fetch(url), fetch(url, { method: "POST", mode: "no-cors", body: "1" })];
    return (await Promise.allSettled(attempts)).map(({ status, value }) => (status === "rejected" ? "refused" : value.type));
  }, `${server.url}${stream.path}`);
  assert.equal(outcome[0], "refused");
  assert.deepEqual(await all(stream), []);
});
