/** What a client may ask of streams, against the real binary. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Client, ConnectionError, EventParser, MemoryStore, Problem, type StreamRecord, type SubscribedEvent } from "@odradek/client";
import { Server } from "./server.js";

const KEY = Buffer.alloc(32, 7);
let server: Server;
let guarded: Server;
let client: Client;
let keys: string;

before(async () => {
  keys = await mkdtemp(join(tmpdir(), "odradek-keys-"));
  await writeFile(join(keys, "keys.json"), JSON.stringify({ keys: [{ kty: "oct", alg: "HS256", k: KEY.toString("base64url") }] }));
  server = await Server.start(["odradek.gateway.long.poll.ms=1000"]);
  guarded = await Server.start([`odradek.gateway.tokens.keys.file=${join(keys, "keys.json")}`]);
  await server.topic("rides");
  await server.topic("texts", "odradek.stream.content.type=text/plain");
  await guarded.topic("rides");
  client = new Client({ url: server.url });
});

after(async () => {
  await server?.end();
  await guarded?.end();
  await rm(keys, { recursive: true });
});

async function values<T>(records: AsyncIterable<StreamRecord<T>>, count: number): Promise<(T | undefined)[]> {
  const all: (T | undefined)[] = [];
  if (count === 0) return all;
  for await (const { value } of records) if (all.push(value) === count) break;
  return all;
}

test("a stream is created once, appended to, read and told of", async () => {
  const stream = client.stream<unknown>("rides", "u 42/ä?");
  assert.equal(await stream.create({ values: [0] }), true);
  const { next } = await stream.appendAll([{ eta: 7 }, [1, 2], null]);
  assert.equal((await stream.info()).next, next);
  const read = [];
  for await (const chunk of stream.read()) read.push(...chunk.values);
  assert.deepEqual(read, [0, { eta: 7 }, [1, 2], null]);
  assert.equal(await client.stream("rides", "twice").create(), true);
  assert.equal(await client.stream("rides", "twice").create(), false);
});

test("an append that a producer sends again is taken once", async () => {
  const stream = client.stream<number>("rides", "once");
  await stream.create();
  const producer = { id: "phone", epoch: 0, seq: 0 };
  assert.equal((await stream.append(1, { producer })).isRepetition, false);
  assert.equal((await stream.append(1, { producer })).isRepetition, true);
  await assert.rejects(stream.append(2, { producer: { ...producer, seq: 2 } }), (error: unknown) => {
    assert.ok(error instanceof Problem);
    assert.deepEqual([error.status, error.kind, error.expectedSeq], [409, "sequence-gap", 1]);
    return true;
  });
  assert.deepEqual((await stream.readOnce()).values, [1]);
});

test("a problem says which it is, and nobody who answers is no problem", async () => {
  const missing = client.stream("rides", "missing");
  await assert.rejects(missing.readOnce(), { name: "Problem", status: 404, kind: "stream-not-found" });
  await assert.rejects(client.stream("nowhere", "a").create(), { kind: "topic-not-found" });
  const nobody = new Client({ url: "http://127.0.0.1:1" });
  await assert.rejects(nobody.stream("rides", "a").readOnce(), ConnectionError);
});

test("a key that an address cannot have is refused, not sent to another", () => {
  for (const key of ["..", "a/../b", ".", "", "-/p/0", "__ds/x"]) assert.throws(() => client.stream("rides", key), RangeError);
});

test("texts and bytes come as they were, over events and long polls", async () => {
  const text = client.stream<string>("texts", "t", { contentType: "text/plain" });
  const bytes = client.stream<Uint8Array>("rides", "b", { contentType: "application/octet-stream" });
  await text.create();
  await bytes.create();
  await text.append("one\ntwo ä");
  await bytes.append(Uint8Array.of(0, 255, 10));
  for (const live of ["sse", "long-poll"] as const) {
    assert.deepEqual(await values(text.follow({ live }), 1), ["one\ntwo ä"]);
    assert.deepEqual(await values(bytes.follow({ live }), 1), [Uint8Array.of(0, 255, 10)]);
  }
});

test("a follower ends with its stream, and with its signal", async () => {
  for (const live of ["sse", "long-poll"] as const) {
    const stream = client.stream<number>("rides", `closed-${live}`);
    await stream.create({ values: [1] });
    setTimeout(() => void stream.append(2, { close: true }), 200);
    const all = [];
    for await (const { value } of stream.follow({ live })) all.push(value);
    assert.deepEqual(all, [1, 2]);
    const endless = client.stream<number>("rides", `endless-${live}`);
    await endless.create();
    const aborted = endless.follow({ live, signal: AbortSignal.timeout(200) }).next();
    await assert.rejects(aborted, { name: "TimeoutError" });
  }
});

test("from now on is from the moment of the call", async () => {
  const stream = client.stream<number>("rides", "now");
  await stream.create({ values: [1] });
  const next = stream.follow({ from: "now" }).next();
  await pause(300);
  await stream.append(2);
  assert.equal((await next).value?.value, 2);
});

test("a reader that remembers goes on behind the last record that it took", async () => {
  const stream = client.stream<number>("rides", "resumed");
  await stream.create({ values: [1, 2, 3, 4] });
  const resume = { store: new MemoryStore(), name: "reader" };
  assert.deepEqual(await values(stream.follow({ resume }), 3), [1, 2, 3]);
  // The third was left in its midst.
  assert.deepEqual(await values(stream.follow({ resume }), 2), [3, 4]);
});

test("of two readers of one name the second waits for the first", async () => {
  const stream = client.stream<number>("rides", "shared");
  await stream.create({ values: [1, 2] });
  const resume = { store: new MemoryStore(), name: "reader" };
  const first = stream.follow({ resume });
  assert.equal((await first.next()).value?.value, 1);
  const second = stream.follow({ resume }).next();
  assert.equal((await first.next()).value?.value, 2);
  assert.equal(await Promise.race([second, pause(200, "waits")]), "waits");
  await first.return();
  assert.equal((await second as IteratorResult<StreamRecord<number>>).value.value, 2);
});

test("a subscription follows several, waits for those that come, and remembers", async () => {
  const list = [{ topic: "rides", key: "s1" }, { topic: "rides", key: "s2" }];
  const resume = { store: new MemoryStore(), name: "both" };
  const take = async (count: number): Promise<unknown[]> => {
    const all: unknown[] = [];
    for await (const event of client.subscribe(list, { resume })) {
      if (event.is !== "record") continue;
      all.push([event.stream, event.value]);
      if (all.length > count) return all.slice(0, -1);
    }
    return all;
  };
  const [one, two] = [client.stream<number>("rides", "s1"), client.stream<number>("rides", "s2")];
  await one.create({ values: [1, 2] });
  const first = take(2);
  await pause(200);
  await two.create({ values: [3] });
  assert.deepEqual(await first, [[0, 1], [0, 2]]);
  await one.close();
  await two.close();
  const rest: SubscribedEvent[] = [];
  for await (const event of client.subscribe(list, { resume })) rest.push(event);
  assert.deepEqual(rest.flatMap((event) => (event.is === "record" ? [event.value] : [])), [3]);
  assert.deepEqual(rest.flatMap((event) => (event.is === "end" ? [event.stream] : [])).sort(), [0, 1]);
});

test("events are the same wherever their bytes are cut", () => {
  const text = "\uFEFFretry: 5\r\n\r\n: sign of life\nid: 1\ndata:a\ndata: b\n\nevent: delete\rid: 2\rdata\r\rid: 3\n\ndata: cut off";
  const expected = [
    { event: "", data: "a\nb", id: "1" },
    { event: "delete", data: "", id: "2" },
    { event: "", data: "", id: "3" },
  ];
  for (let at = 0; at <= text.length; at += 1) {
    const parser = new EventParser();
    assert.deepEqual([...parser.push(text.slice(0, at)), ...parser.push(text.slice(at))], expected, `cut at ${at}`);
  }
  const parser = new EventParser();
  assert.deepEqual([...text].flatMap((unit) => parser.push(unit)), expected);
});

test("the last value is told, and each other one as it comes", async () => {
  const stream = client.stream<number>("rides", "latest");
  assert.equal(await client.latest("rides", "latest"), undefined);
  const told = client.watchLatest<number>("rides", "latest");
  assert.equal((await told.next()).value, undefined);
  const first = told.next();
  await stream.create();
  await stream.append(1);
  assert.equal((await first).value?.value, 1);
  await stream.append(2);
  assert.equal((await told.next()).value?.value, 2);
  assert.equal((await client.latest<number>("rides", "latest"))?.value, 2);
  const gone = told.next();
  await stream.delete();
  assert.equal((await gone).value, undefined);
  await told.return();
});

function token(seconds: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const grants = [{ do: ["read", "append", "create"], topic: "*", key: "*" }];
  const said = `${part({ alg: "HS256" })}.${part({ sub: "u42", exp: Math.floor(Date.now() / 1000) + seconds, od: grants })}`;
  return `${said}.${createHmac("sha256", KEY).update(said).digest("base64url")}`;
}

test("a token is asked for once, before it ends, and when it is refused", async () => {
  const reasons: string[] = [];
  // The first has ended though it does not say so to whom cannot read it; the second is about to end; the third lasts.
  const tokens = ["x.y.z", token(5), token(3600)];
  const guardedClient = new Client({
    url: guarded.url,
    token: (reason) => {
      reasons.push(reason);
      return tokens.shift();
    },
  });
  const stream = guardedClient.stream<number>("rides", "u42");
  await stream.create({ values: [1] });
  assert.deepEqual(reasons, ["first", "refused"]);
  await Promise.all([stream.append(2), stream.append(3)]);
  assert.deepEqual(reasons, ["first", "refused", "expired"]);
  assert.equal((await values(stream.follow(), 3)).length, 3);
  await assert.rejects(new Client({ url: guarded.url }).stream("rides", "u42").readOnce(), { status: 401, kind: "no-token" });
});
