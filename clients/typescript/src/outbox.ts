/**
 * What a queue has in its store, and every change of it, each one transaction: an append is kept, claimed, settled. It sends nothing.
 *
 * An append gets its place in the sequence of a producer before it is sent for the first time, and keeps it until it is known what
 * became of it. So whoever sends it, how often, after a reload or in two tabs at once: the server takes it once. Where it is not
 * known whether one was taken that will not be sent again, the producer begins another epoch, for its place must not be another's.
 */
import { randomId } from "./memory.js";
import { QueueFullError, type ProblemData } from "./problem.js";
import type { Store, Transaction } from "./store.js";
import { isJson, join } from "./form.js";
import { streamPath } from "./stream.js";

/** An append that is kept. */
export interface Entry {
  id: number;
  topic: string;
  key: string;
  contentType: string;
  body: string | Uint8Array;
  keptAtMs: number;
  /** Its place, once it has one. */
  place?: Place;
  /** Others with it were refused: which one it was is to be seen. */
  isAlone?: true;
}

export interface Place {
  producer: string;
  epoch: number;
  seq: number;
}

/** An append that the server will not take; it waits to be looked at. */
export interface Refused extends Entry {
  problem: ProblemData;
  /** An earlier try may have been taken nevertheless: its answer was lost. */
  mayBeThere: boolean;
}

/** Appends of one stream that are sent as one, under one place. */
export interface Claim {
  path: string;
  entries: Entry[];
  place: Place;
  body: string | Uint8Array;
  /** It was sent before, and what became of it is not known. */
  mayBeThere: boolean;
}

/** What became of a refused claim. */
export type Verdict = { is: "again" } | { is: "refused"; ids: number[] };

interface Sender {
  id: string;
  epoch: number;
  next: number;
}

interface Totals {
  lastId: number;
  count: number;
}

const TOTALS = "queue totals";
/** No path has a space, and so the entries of a stream stand together. */
const ENTRIES = "queue entry ";
const SENDERS = "queue sender ";
const REFUSED = "queue refused ";

/** One request has so many at most. */
export const BATCH_MAX = { entries: 256, characters: 128 * 1024 };

export class Outbox {
  readonly #store: Store;
  readonly #entriesMax: number;

  constructor(store: Store, entriesMax: number) {
    [this.#store, this.#entriesMax] = [store, entriesMax];
  }

  /** Keeps an append behind all that are kept. */
  keep(path: string, what: Omit<Entry, "id">): Promise<number> {
    return this.#store.transaction((transaction) => this.#put(transaction, path, what));
  }

  /** Keeps a refused append anew; its new id, if it was there. */
  retry(id: number): Promise<number | undefined> {
    return this.#store.transaction(async (transaction) => {
      const refused = (await transaction.get(refusedKey(id))) as Refused | undefined;
      if (refused === undefined) return undefined;
      await transaction.delete(refusedKey(id));
      const { topic, key, contentType, body, keptAtMs } = refused;
      return this.#put(transaction, streamPath(topic, key), { topic, key, contentType, body, keptAtMs });
    });
  }

  /** How many wait. */
  async count(): Promise<number> {
    return this.#store.transaction(async (transaction) => (await totalsOf(transaction)).count);
  }

  /** The paths of all streams for which appends wait. */
  async paths(most: number): Promise<string[]> {
    return this.#store.transaction(async (transaction) => {
      const paths: string[] = [];
      let from = ENTRIES;
      while (paths.length < most) {
        const [first] = await transaction.list(from, after(ENTRIES), 1);
        if (first === undefined) break;
        const path = first[0].slice(ENTRIES.length, first[0].lastIndexOf(" "));
        paths.push(path);
        from = after(`${ENTRIES}${path} `);
      }
      return paths;
    });
  }

  /** What is to be sent next to a stream: what has a place already, or the oldest, which get one now. */
  claim(path: string): Promise<Claim | undefined> {
    return this.#store.transaction(async (transaction) => {
      const prefix = `${ENTRIES}${path} `;
      const all = (await transaction.list(prefix, after(prefix), BATCH_MAX.entries)).map(([, value]) => value as Entry);
      const [first] = all;
      if (first === undefined) return undefined;
      if (first.place !== undefined) {
        const place = first.place;
        const entries = all.filter((entry) => entry.place !== undefined && isSame(entry.place, place));
        return { path, entries, place, body: bodyOf(entries), mayBeThere: true };
      }
      const sender = await senderOf(transaction, path);
      const place: Place = { producer: sender.id, epoch: sender.epoch, seq: sender.next };
      const entries = batch(all).map((entry) => ({ ...entry, place }));
      await transaction.put(SENDERS + path, sender);
      for (const entry of entries) await transaction.put(entryKey(path, entry.id), entry);
      return { path, entries, place, body: bodyOf(entries), mayBeThere: false };
    });
  }

  /** It was surely not taken, and may go with others the next time. */
  release(claim: Claim): Promise<void> {
    return this.#store.transaction((transaction) => unplace(transaction, claim, false));
  }

  /** It was taken. The ids are those that nobody has settled yet. */
  sent(claim: Claim): Promise<number[]> {
    return this.#store.transaction(async (transaction) => {
      const ids = await this.#remove(transaction, claim);
      const sender = await senderOf(transaction, claim.path);
      if (isNext(sender, claim.place)) await transaction.put(SENDERS + claim.path, { ...sender, next: sender.next + 1 });
      return ids;
    });
  }

  /** The server will not take it. Where one of several may be why, they are tried one by one. */
  refused(claim: Claim, problem: ProblemData): Promise<Verdict> {
    return this.#store.transaction(async (transaction) => {
      if (claim.entries.length > 1 && !claim.mayBeThere) {
        await unplace(transaction, claim, true);
        return { is: "again" };
      }
      const ids = await this.#remove(transaction, claim);
      for (const entry of claim.entries.filter(({ id }) => ids.includes(id))) {
        const refused: Refused = { ...entry, problem, mayBeThere: claim.mayBeThere };
        await transaction.put(refusedKey(entry.id), refused);
      }
      if (claim.mayBeThere) await beginEpoch(transaction, claim);
      return { is: "refused", ids };
    });
  }

  /** The server knows this producer no more, or only of a former life of the stream: it begins anew, with the same appends. */
  beginAnew(claim: Claim, asAnother: boolean): Promise<void> {
    return this.#store.transaction(async (transaction) => {
      if (asAnother) {
        const sender = await senderOf(transaction, claim.path);
        const isOurs = sender.id === claim.place.producer;
        if (isOurs) await transaction.put(SENDERS + claim.path, { id: randomId(), epoch: 0, next: 0 } satisfies Sender);
      } else {
        await beginEpoch(transaction, claim);
      }
      await unplace(transaction, claim, false);
    });
  }

  /** What the server did not take, the oldest first. */
  listRefused(most: number): Promise<Refused[]> {
    return this.#store.transaction(async (transaction) => {
      const all = await transaction.list(REFUSED, after(REFUSED), most);
      return all.map(([, value]) => value as Refused);
    });
  }

  /** Takes a refused append away. */
  forget(id: number): Promise<void> {
    return this.#store.transaction((transaction) => transaction.delete(refusedKey(id)));
  }

  async #put(transaction: Transaction, path: string, what: Omit<Entry, "id">): Promise<number> {
    const totals = await totalsOf(transaction);
    if (totals.count >= this.#entriesMax) throw new QueueFullError(`${totals.count} appends wait already`);
    const id = totals.lastId + 1;
    await transaction.put(TOTALS, { lastId: id, count: totals.count + 1 } satisfies Totals);
    await transaction.put(entryKey(path, id), { ...what, id } satisfies Entry);
    return id;
  }

  async #remove(transaction: Transaction, claim: Claim): Promise<number[]> {
    const ids = [];
    for (const { id } of await stillClaimed(transaction, claim)) {
      await transaction.delete(entryKey(claim.path, id));
      ids.push(id);
    }
    const totals = await totalsOf(transaction);
    await transaction.put(TOTALS, { ...totals, count: totals.count - ids.length } satisfies Totals);
    return ids;
  }
}

/** Those that another tab has not settled, or given another place, meanwhile. */
async function stillClaimed(transaction: Transaction, claim: Claim): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const { id } of claim.entries) {
    const entry = (await transaction.get(entryKey(claim.path, id))) as Entry | undefined;
    if (entry?.place !== undefined && isSame(entry.place, claim.place)) entries.push(entry);
  }
  return entries;
}

async function unplace(transaction: Transaction, claim: Claim, isAlone: boolean): Promise<void> {
  for (const { place: _, ...entry } of await stillClaimed(transaction, claim)) {
    await transaction.put(entryKey(claim.path, entry.id), isAlone ? { ...entry, isAlone: true as const } : entry);
  }
}

async function beginEpoch(transaction: Transaction, claim: Claim): Promise<void> {
  const sender = await senderOf(transaction, claim.path);
  if (!isNext(sender, claim.place)) return;
  await transaction.put(SENDERS + claim.path, { ...sender, epoch: sender.epoch + 1, next: 0 } satisfies Sender);
}

async function senderOf(transaction: Transaction, path: string): Promise<Sender> {
  const known = (await transaction.get(SENDERS + path)) as Sender | undefined;
  return known ?? { id: randomId(), epoch: 0, next: 0 };
}

async function totalsOf(transaction: Transaction): Promise<Totals> {
  return ((await transaction.get(TOTALS)) as Totals | undefined) ?? { lastId: 0, count: 0 };
}

/** The first, and those right behind it that fit into one request of JSON. */
function batch(all: Entry[]): Entry[] {
  const [first] = all;
  if (first === undefined || !isJson(first.contentType)) return all.slice(0, 1);
  const taken: Entry[] = [];
  let characters = 0;
  for (const entry of all) {
    characters += entry.body.length;
    const fits = characters <= BATCH_MAX.characters && entry.contentType === first.contentType && entry.place === undefined;
    const isAlone = first.isAlone === true || entry.isAlone === true;
    if (taken.length > 0 && (!fits || isAlone)) break;
    taken.push(entry);
  }
  return taken;
}

function bodyOf(entries: Entry[]): string | Uint8Array {
  const [first] = entries;
  if (first !== undefined && !isJson(first.contentType)) return first.body;
  return join(entries.map((entry) => entry.body as string));
}

function isSame(one: Place, other: Place): boolean {
  return one.producer === other.producer && one.epoch === other.epoch && one.seq === other.seq;
}

function isNext(sender: Sender, place: Place): boolean {
  return sender.id === place.producer && sender.epoch === place.epoch && sender.next === place.seq;
}

function entryKey(path: string, id: number): string {
  return `${ENTRIES}${path} ${id.toString().padStart(16, "0")}`;
}

function refusedKey(id: number): string {
  return `${REFUSED}${id.toString().padStart(16, "0")}`;
}

/** Before this is all that begins with `prefix`. */
function after(prefix: string): string {
  return `${prefix}\uFFFF`;
}
