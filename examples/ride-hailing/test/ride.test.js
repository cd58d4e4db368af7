// Phones of riders and drivers against all of the sample, of which parts are down, are killed, and come back.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "../platform.js";

const data = join(import.meta.dirname, "../.data/test");
let platform, Client, MemoryStore;

before(async () => {
  for (const kept of ["odradek", "postgres"]) rmSync(join(data, kept), { recursive: true, force: true });
  platform = new Platform(data, { gateway: await freePort(), web: await freePort() });
  platform.install();
  await platform.start();
  ({ Client, MemoryStore } = await import("../../../clients/typescript/dist/index.js"));
});

after(() => platform?.end());

// The runner ends what takes too long so.
process.once("SIGTERM", () => process.exit(1));

function freePort() {
  return new Promise((resolve) => {
    const held = createServer().listen(0, () => {
      const { port } = held.address();
      held.close(() => resolve(port));
    });
  });
}

/** A phone: what it has is a cookie, a token, a queue, and what it heard. */
class Phone {
  heard = [];
  #end = new AbortController();

  static async open(role) {
    const phone = new Phone();
    const session = await fetch(`${platform.web}/session?role=${role}`);
    const cookie = session.headers.get("set-cookie").split(";")[0];
    const { id, gateway } = await session.json();
    const token = async () => (await fetch(`${platform.web}/token?role=${role}`, { headers: { cookie } })).text();
    const client = new Client({ url: gateway, token });
    const backoff = { firstMs: 50, mostMs: 500 };
    const queue = client.queue({ store: new MemoryStore(), backoff });
    const [says, hears] = role === "rider" ? ["ride-requests", "rides"] : ["driver-status", "driver-jobs"];
    const stream = client.stream(hears, id);
    await stream.create();
    phone.reading = (async () => {
      for await (const { value } of stream.follow({ backoff, signal: phone.#end.signal })) phone.heard.push(value);
    })().catch((error) => phone.#end.signal.aborted || console.error(error));
    return Object.assign(phone, { id, client, queue, says: (value) => queue.append(client.stream(says, id), value) });
  }

  hears(count, limitMs = 60_000) {
    return until(() => this.heard.length >= count && this.heard, limitMs);
  }

  async close() {
    this.#end.abort();
    await this.queue.close();
    await this.reading;
  }
}

async function until(what, limitMs) {
  for (const end = Date.now() + limitMs; ; await pause(20)) {
    const value = what();
    if (value) return value;
    assert.ok(Date.now() < end, `in vain for ${limitMs} ms`);
  }
}

const place = { x: 1, y: 2 };

test("a ride is asked for, matched, driven and done", async () => {
  const [rider, driver] = [await Phone.open("rider"), await Phone.open("driver")];
  await driver.says({ free: true, place });
  await rider.says({ ride: "first", place });
  const [job] = await driver.hears(1);
  assert.deepEqual(job, { ride: "first", rider: rider.id });
  // Whoever became free here might be given a ride of the next test.
  await driver.says({ free: false, place, done: job });
  assert.deepEqual(await rider.hears(3), [
    { ride: "first", state: "asked" },
    { ride: "first", state: "matched", driver: driver.id },
    { ride: "first", state: "done" },
  ]);
  for (const phone of [rider, driver]) await phone.close();
});

test("a service that is down finds its requests waiting", async () => {
  const [rider, driver] = [await Phone.open("rider"), await Phone.open("driver")];
  for (const name of ["booking", "matching", "notification"]) await platform.stop(name, "SIGKILL");
  await platform.stop("postgres");
  await driver.says({ free: true, place });
  await (await rider.says({ ride: "waits", place })).sent();
  await pause(500);
  assert.deepEqual(rider.heard, []);
  await platform.startOne("booking");
  assert.deepEqual(await rider.hears(1), [{ ride: "waits", state: "asked" }]);
  await platform.startOne("postgres");
  await platform.startOne("matching");
  assert.equal((await rider.hears(2))[1].driver, driver.id);
  assert.deepEqual(driver.heard, []);
  await platform.startOne("notification");
  assert.deepEqual(await driver.hears(1), [{ ride: "waits", rider: rider.id }]);
  for (const phone of [rider, driver]) await phone.close();
});

test("whatever is killed, each ride is asked for once and matched with one driver", async () => {
  const open = (role) => Promise.all(Array.from({ length: 8 }, () => Phone.open(role)));
  const [riders, drivers] = [await open("rider"), await open("driver")];
  for (const driver of drivers) await driver.says({ free: true, place });
  for (const [at, rider] of riders.entries()) {
    await rider.says({ ride: `killed-${at}`, place });
    const name = [undefined, "matching", "odradek", undefined, "booking", "odradek", "notification"][at];
    if (name === undefined) continue;
    await pause(100);
    await platform.stop(name, "SIGKILL");
    await platform.startOne(name);
  }
  for (const rider of riders) await rider.hears(2);
  for (const driver of drivers) await driver.hears(1);
  await pause(1000);
  for (const { heard } of riders) {
    assert.equal(heard.filter(({ state }) => state === "asked").length, 1);
    // A match may be told again by who was killed before it had written down that it was; it is the same one.
    assert.equal(new Set(heard.filter(({ state }) => state === "matched").map(({ driver }) => driver)).size, 1);
  }
  const rides = drivers.map(({ heard }) => [...new Set(heard.map(({ ride }) => ride))]);
  assert.deepEqual(rides.flat().sort(), riders.map((_, at) => `killed-${at}`));
  for (const phone of [...riders, ...drivers]) await phone.close();
});

test("a phone may read and write its own keys only", async () => {
  const rider = await Phone.open("rider");
  await assert.rejects(rider.client.stream("rides", "rider-other").readOnce(), { status: 403 });
  await assert.rejects(rider.client.stream("driver-jobs", rider.id).create(), { status: 403 });
  await rider.close();
});
