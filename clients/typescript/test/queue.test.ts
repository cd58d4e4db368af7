/** The offline queue and readers that resume, through a network that cuts, a server that is killed, and processes that end at once. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, appendFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client, MemoryStore, QueueFullError, type Refused, type Store } from "@odradek/client";
import { FileStore } from "@odradek/client/node";
import { FlakyProxy } from "./flaky-proxy.js";
import { Server } from "./server.js";

const BACKOFF = { firstMs: 5, mostMs: 50 };
let server: Server;
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "odradek-queue-"));
  server = await Server.start(["odradek.gateway.long.poll.ms=1000"]);
  await server.topic("rides");
});

after(async () => {
  await server?.end();
  await rm(directory, { recursive: true });
});

/** All that the stream has, past any proxy. */
async function all(key: string): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const chunk of new Client({ url: server.url }).stream("rides", key).read()) values.push(...chunk.values);
  return values;
}

function counted(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at);
}

for (const seed of [1, 2, 3]) {
  test(`through a network that cuts nothing is lost or doubled, and the order is kept (seed ${seed})`, async () => {
    const proxy = await FlakyProxy.start(server.port, seed);
    const client = new Client({ url: proxy.url });
    const queue = client.queue({ store: new MemoryStore(), backoff: BACKOFF });
    const streams = ["a", "b"].map((name) => client.stream<number>("rides", `cut-${seed}-${name}`));
    for (const at of counted(150)) {
      for (const stream of streams) await queue.append(stream, at);
      // One by one, so that there are many requests.
      if (at % 3 === 0) await queue.drained();
    }
    await queue.drained();
    await queue.close();
    for (const stream of streams) assert.deepEqual(await all(stream.key), counted(150));
    assert.ok(proxy.cuts.request > 10 && proxy.cuts.answer > 20, JSON.stringify(proxy.cuts));
    await proxy.end();
  });

  test(`a reader that is cut off again and again has each record once (seed ${seed})`, async () => {
    for (const live of ["sse", "long-poll"] as const) {
      const proxy = await FlakyProxy.start(server.port, seed * 7);
      const direct = new Client({ url: server.url }).stream<{ at: number; text: string }>("rides", `read-${seed}-${live}`);
      await direct.create();
      const read: (number | undefined)[] = [];
      // An answer to a poll is one for all that there is: where that is much, it would never come through.
      const [batch, rest] = live === "sse" ? [1, 0] : [4, 30];
      const writing = (async () => {
        for (let at = 0; at < 200; at += batch) {
          while (live === "long-poll" && read.length < at) await pause(1);
          await pause(rest);
          const values = counted(batch).map((more) => ({ at: at + more, text: "x".repeat(300) }));
          await direct.appendAll(values, { close: at + batch === 200 });
        }
      })();
      const stream = new Client({ url: proxy.url }).stream<{ at: number }>("rides", direct.key);
      for await (const { value } of stream.follow({ live, backoff: BACKOFF })) read.push(value?.at);
      await writing;
      assert.deepEqual(read, counted(200));
      assert.ok(proxy.cuts.answer > 10, JSON.stringify(proxy.cuts));
      await proxy.end();
    }
  });
}

test("a network that is silent and does not end is left after a while", async () => {
  const proxy = await FlakyProxy.start(server.port, 1);
  proxy.mood = "calm";
  const direct = new Client({ url: server.url }).stream<number>("rides", "silent");
  await direct.create();
  const client = new Client({ url: proxy.url, timeoutMs: 200, silenceMs: 200 });
  const queue = client.queue({ store: new MemoryStore(), backoff: BACKOFF });
  const stream = client.stream<number>("rides", direct.key);
  const read: (number | undefined)[] = [];
  const end = new AbortController();
  const reading = (async () => {
    for await (const { value } of stream.follow({ backoff: BACKOFF, signal: end.signal })) read.push(value);
  })();
  await (await queue.append(stream, 0)).sent();
  proxy.mood = "deaf";
  const kept = await queue.append(stream, 1);
  await assert.rejects(stream.readOnce(), { name: "ConnectionError" });
  await pause(500);
  proxy.mood = "calm";
  await kept.sent();
  while (read.length < 2) await pause(5);
  assert.deepEqual(read, [0, 1]);
  end.abort(new Error("enough"));
  await assert.rejects(reading, /enough/);
  await queue.close();
  await proxy.end();
});

test("what is queued offline is sent when the network is back, and the tries in between become rare", async () => {
  const proxy = await FlakyProxy.start(server.port, 1);
  proxy.mood = "away";
  const waits: number[] = [];
  const client = new Client({ url: proxy.url });
  const backoff = { firstMs: 10, mostMs: 200 };
  const queue = client.queue({ store: new MemoryStore(), backoff, onRetry: (_, waitMs) => waits.push(waitMs) });
  const stream = client.stream<number>("rides", "offline");
  const kept = [];
  for (const at of counted(500)) kept.push(await queue.append(stream, at));
  await pause(1000);
  assert.equal(await queue.size(), 500);
  assert.ok(waits.length > 3 && waits.length < 20 && Math.max(...waits) >= 100, String(waits));
  await assert.rejects(kept[0]!.sent(AbortSignal.timeout(10)), { name: "TimeoutError" });
  proxy.mood = "calm";
  const sent = await Promise.all(kept.map((one) => one.sent()));
  assert.ok(sent.every(({ next }) => next !== undefined));
  assert.deepEqual(await all("offline"), counted(500));
  await queue.close();
  await proxy.end();
});

test("over kill -9 of the server nothing is lost or doubled", async () => {
  const client = new Client({ url: server.url });
  const queue = client.queue({ store: new MemoryStore(), backoff: BACKOFF });
  const stream = client.stream<number>("rides", "killed");
  const read: (number | undefined)[] = [];
  let starting = Promise.resolve();
  await stream.create();
  const reading = (async () => {
    for await (const { value } of stream.follow({ backoff: BACKOFF })) if (read.push(value!) === 400) return;
  })();
  for (const at of counted(400)) {
    await queue.append(stream, at);
    if (at % 10 === 0) await pause(2);
    if (at === 100 || at === 250) {
      await starting;
      await server.kill();
      starting = pause(100).then(() => server.startAgain());
    }
  }
  await starting;
  await queue.drained();
  await reading;
  assert.deepEqual(await all("killed"), counted(400));
  assert.deepEqual(read, counted(400));
  await queue.close();
});

/** A store without locks: two queues send at the same time, as in pages without HTTPS. */
function withoutLocks(store: Store): Store {
  const unlocked = Object.create(store) as Store;
  unlocked.transaction = (work) => store.transaction(work);
  unlocked.lock = async () => () => undefined;
  unlocked.tell = (news) => store.tell(news);
  unlocked.watch = (listener) => store.watch(listener);
  return unlocked;
}

test("two that send from one store at once, without a lock, lose and double nothing", async () => {
  const proxy = await FlakyProxy.start(server.port, 99);
  const client = new Client({ url: proxy.url });
  const store = withoutLocks(new MemoryStore());
  const queues = [client.queue({ store, backoff: BACKOFF }), client.queue({ store, backoff: BACKOFF })];
  const stream = client.stream<number>("rides", "two");
  for (const at of counted(200)) {
    const kept = await queues[at % 2]!.append(stream, at);
    if (at % 2 === 0) await kept.sent();
  }
  await Promise.all(queues.map((queue) => queue.drained()));
  assert.deepEqual(await all("two"), counted(200));
  for (const queue of queues) await queue.close();
  await proxy.end();
});

test("where there are no locks a reader takes over from another of its name", async () => {
  const stream = new Client({ url: server.url }).stream<number>("rides", "over");
  await stream.create({ values: [1, 2, 3] });
  const resume = { store: withoutLocks(new MemoryStore()), name: "reader" };
  const first = stream.follow({ resume });
  await first.next();
  assert.equal((await first.next()).value?.value, 2);
  const second = stream.follow({ resume });
  // The second was not taken yet: nobody knows whether the first was done with it.
  assert.equal((await second.next()).value?.value, 2);
  await assert.rejects(first.next(), { name: "TakenOverError" });
  assert.equal((await second.next()).value?.value, 3);
  await second.return();
});

test("a process that is killed again and again loses and doubles nothing that it kept", async () => {
  const proxy = await FlakyProxy.start(server.port, 5);
  const journal = join(directory, "journal");
  const program = fileURLToPath(new URL("./queueing-process.js", import.meta.url));
  let kept = 0;
  for (let round = 0; round < 6; round += 1) {
    const child = spawn(process.execPath, [program, proxy.url, journal, "process"], { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    child.stdout.on("data", (bytes: Buffer) => (told += bytes.toString()));
    const ended = new Promise((resolve) => child.once("close", resolve));
    await pause(350 + round * 60);
    child.kill("SIGKILL");
    await ended;
    kept = Math.max(kept, ...told.split("\n").slice(0, -1).map((line) => Number(line) + 1));
  }
  const store = await FileStore.open(journal);
  const queue = new Client({ url: proxy.url }).queue({ store, backoff: BACKOFF });
  await queue.drained();
  await queue.close();
  await store.close();
  assert.ok(kept > 100, `only ${kept}`);
  const taken = await all("process");
  // The last one may have been kept without being told.
  assert.ok(taken.length === kept || taken.length === kept + 1, `${taken.length} of ${kept}`);
  assert.deepEqual(taken, counted(taken.length));
  await proxy.end();
});

test("a journal is one process's, forgets a half line, and is written anew", async () => {
  const path = join(directory, "small");
  const store = await FileStore.open(path);
  await assert.rejects(FileStore.open(path), /open/);
  for (const at of counted(1500)) {
    await store.transaction(async (transaction) => {
      await transaction.put("key", at);
      await transaction.put("bytes", Uint8Array.of(0, 255));
    });
  }
  await assert.rejects(store.transaction(async (transaction) => {
    await transaction.put("key", "never");
    throw new Error("no");
  }), /no/);
  await store.close();
  assert.ok((await readFile(path, "utf8")).split("\n").length < 1100);
  await appendFile(path, '[["key",');
  const again = await FileStore.open(path);
  await again.transaction(async (transaction) => {
    assert.equal(await transaction.get("key"), 1499);
    assert.deepEqual(await transaction.list("a", "z", 9), [["bytes", Uint8Array.of(0, 255)], ["key", 1499]]);
  });
  await again.close();
});

test("what the server will not take is kept apart, and what is behind it goes on", async () => {
  const client = new Client({ url: server.url });
  const refused: Refused[] = [];
  const queue = client.queue({ store: new MemoryStore(), backoff: BACKOFF, onRefused: (one) => refused.push(one) });
  const stream = client.stream<string>("rides", "refusing");
  const large = "x".repeat(2 * 1024 * 1024);
  const kept = [];
  for (const value of ["a", "b", large, "c"]) kept.push(await queue.append(stream, value));
  await assert.rejects(kept[2]!.sent(), { name: "Problem", status: 413 });
  await queue.drained();
  assert.deepEqual(await all("refusing"), ["a", "b", "c"]);
  assert.deepEqual(refused.map(({ id, problem }) => [id, problem.kind]), [[kept[2]!.id, "too-large"]]);
  assert.equal((await queue.refused())[0]?.mayBeThere, false);
  await stream.close();
  await assert.rejects((await queue.append(stream, "d")).sent(), { kind: "stream-closed" });
  await queue.forget(kept[2]!.id);
  const [last] = await queue.refused();
  assert.equal(last?.problem.kind, "stream-closed");
  await stream.delete();
  await (await queue.retry(last!.id))?.sent();
  assert.deepEqual(await all("refusing"), ["d"]);
  assert.deepEqual(await queue.refused(), []);
  await queue.close();
});

test("a stream that was deleted and made anew is appended to in a new epoch", async () => {
  const client = new Client({ url: server.url });
  const queue = client.queue({ store: new MemoryStore(), backoff: BACKOFF });
  const stream = client.stream<number>("rides", "anew");
  for (const at of [1, 2, 3]) await (await queue.append(stream, at)).sent();
  await stream.delete();
  await stream.create();
  for (const at of [4, 5]) await (await queue.append(stream, at)).sent();
  assert.deepEqual(await all("anew"), [4, 5]);
  await queue.close();
});

test("a queue is full where it is told to be", async () => {
  const client = new Client({ url: "http://127.0.0.1:1" });
  const queue = client.queue({ store: new MemoryStore(), entriesMax: 2 });
  const stream = client.stream<number>("rides", "full");
  await queue.append(stream, 1);
  await queue.append(stream, 2);
  await assert.rejects(queue.append(stream, 3), QueueFullError);
  await queue.close();
  await assert.rejects(queue.append(stream, 3), /closed/);
});

test("a server that asks to be left alone is left alone", async () => {
  const asked: number[] = [];
  const answers = [
    new Response("{}", { status: 503, headers: { "retry-after": "1" } }),
    new Response(null, { status: 200, headers: { ratelimit: '"address";r=0;t=1' } }),
    new Response(null, { status: 200 }),
  ];
  const fake = (async () => {
    asked.push(Date.now());
    return answers.shift()!;
  }) as typeof fetch;
  const client = new Client({ url: "http://streams.example", fetch: fake });
  const queue = client.queue({ store: new MemoryStore(), backoff: BACKOFF });
  const stream = client.stream<number>("rides", "asked");
  await (await queue.append(stream, 1)).sent();
  await (await queue.append(stream, 2)).sent();
  assert.equal(asked.length, 3);
  assert.ok(asked[1]! - asked[0]! >= 1000, "Retry-After");
  assert.ok(asked[2]! - asked[1]! >= 990, "RateLimit");
  await queue.close();
});
