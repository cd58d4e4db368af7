/**
 * Appends that wait for the network: kept in a store first, then sent, the appends of each stream in their order, each taken once by the
 * server, over reloads, crashes and lost answers. What is kept and what becomes of it `outbox` says; this sends.
 */
import { Backoff, onOnline, type BackoffOptions } from "./backoff.js";
import type { Connection } from "./connection.js";
import { encode } from "./form.js";
import { Outbox, type Claim, type Refused } from "./outbox.js";
import { isPassing, isSurelyNotTaken, OdradekError, Problem } from "./problem.js";
import { Stream } from "./stream.js";
import type { News, Store } from "./store.js";

export interface QueueOptions {
  /** Where appends are kept. One store for each server and user. */
  store: Store;
  /** How many may wait; an append beyond them is a `QueueFullError`. */
  entriesMax?: number;
  /** Whether a stream that there is not is created. */
  createsStreams?: boolean;
  backoff?: BackoffOptions;
  /** Is told what the server will not take; it is kept until `forget`. */
  onRefused?: (refused: Refused) => void;
  /** Is told of each failure that passes, and how long that stream waits. */
  onRetry?: (error: unknown, waitMs: number) => void;
  /** Is told of what must not happen: the store fails. The queue has stopped then, and has lost nothing that it kept. */
  onFailure?: (error: unknown) => void;
}

/** An append that is kept. */
export interface Kept {
  /** By which it is known in the store. */
  id: number;
  /** Resolves when the server has it on stable storage, and rejects if it will not take it. While there is no network it waits. */
  sent(signal?: AbortSignal): Promise<{ next: string | undefined }>;
}

/** So many streams are sent to at once, and looked at. */
const STREAMS_AT_ONCE = 4;
const STREAMS_LOOKED_AT = 1024;

interface Waiting {
  resolve: (sent: { next: string | undefined }) => void;
  reject: (error: unknown) => void;
}

/** How a stream fares. */
interface Course {
  isBusy: boolean;
  notBeforeMs: number;
  /** Until then not even news of the network make it try. */
  askedUntilMs: number;
  backoff: Backoff;
}

export class OfflineQueue {
  readonly #connection: Connection;
  readonly #options: QueueOptions;
  readonly #outbox: Outbox;
  readonly #end = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  readonly #courses = new Map<string, Course>();
  readonly #running: Promise<void>;
  readonly #stops: (() => void)[];
  #wake: () => void = () => undefined;
  #isWoken = false;

  /** Begins to send what the store has. */
  constructor(connection: Connection, options: QueueOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#outbox = new Outbox(options.store, options.entriesMax ?? 10_000);
    this.#stops = [options.store.watch((news) => this.#onNews(news)), onOnline(() => this.#onOnline())];
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#end.signal.aborted) this.#fail(error);
    });
  }

  /** Keeps an append; when it resolves, no crash and no reload takes it away. Calls are kept in their order. */
  async append<T>(stream: Stream<T>, value: T): Promise<Kept> {
    this.#end.signal.throwIfAborted();
    const { path, topic, key, contentType } = stream;
    const body = encode(contentType, value);
    return this.#kept(await this.#outbox.keep(path, { topic, key, contentType, body, keptAtMs: Date.now() }));
  }

  #kept(id: number): Kept {
    const sent = new Promise<{ next: string | undefined }>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    // Whoever does not ask is told by onRefused.
    sent.catch(() => undefined);
    this.#options.store.tell({ is: "added" });
    return { id, sent: (signal) => orAbort(sent, signal) };
  }

  /** How many wait, of all tabs. */
  size(): Promise<number> {
    return this.#outbox.count();
  }

  /** Resolves when nothing waits. */
  async drained(signal?: AbortSignal): Promise<void> {
    for (;;) {
      let stop = () => {};
      const news = new Promise<void>((resolve) => (stop = this.#options.store.watch(() => resolve())));
      try {
        signal?.throwIfAborted();
        this.#end.signal.throwIfAborted();
        if ((await this.size()) === 0) return;
        await orAbort(orAbort(news, signal), this.#end.signal);
      } finally {
        stop();
      }
    }
  }

  /** What the server did not take, the oldest first. */
  refused(most = 1000): Promise<Refused[]> {
    return this.#outbox.listRefused(most);
  }

  /** Takes a refused append away for good. */
  async forget(id: number): Promise<void> {
    await this.#outbox.forget(id);
  }

  /** Appends a refused one again, behind all that wait. If it `mayBeThere`, it may be there twice then. */
  async retry(id: number): Promise<Kept | undefined> {
    const again = await this.#outbox.retry(id);
    return again === undefined ? undefined : this.#kept(again);
  }

  /** Stops sending; what waits stays in the store. */
  async close(): Promise<void> {
    this.#end.abort(new OdradekError("the queue was closed"));
    for (const stop of this.#stops) stop();
    this.#wake();
    await this.#running;
    for (const { reject } of this.#waiting.values()) reject(this.#end.signal.reason);
    this.#waiting.clear();
  }

  async #run(): Promise<void> {
    const signal = this.#end.signal;
    // Two that send do no harm, but there is no use in it.
    const give = await this.#options.store.lock("queue sender", signal);
    const busy = new Set<Promise<void>>();
    try {
      while (!signal.aborted) {
        this.#isWoken = false;
        const paths = await this.#outbox.paths(STREAMS_LOOKED_AT);
        for (const path of this.#courses.keys()) {
          if (!paths.includes(path) && this.#courses.get(path)?.isBusy === false) this.#courses.delete(path);
        }
        for (const path of this.#due(paths)) {
          const work = this.#send(path).catch((error: unknown) => this.#fail(error));
          busy.add(work);
          void work.then(() => busy.delete(work));
        }
        await this.#pause();
      }
    } finally {
      await Promise.all(busy);
      give();
    }
  }

  /** Streams that may be sent to now, those that waited longest first. */
  #due(paths: string[]): string[] {
    for (const path of paths) {
      if (this.#courses.has(path)) continue;
      const backoff = new Backoff(this.#options.backoff);
      this.#courses.set(path, { isBusy: false, notBeforeMs: 0, askedUntilMs: 0, backoff });
    }
    const free = STREAMS_AT_ONCE - [...this.#courses.values()].filter((course) => course.isBusy).length;
    const notBefore = (path: string) => this.#courses.get(path)?.notBeforeMs ?? 0;
    const due = paths.filter((path) => this.#courses.get(path)?.isBusy === false && notBefore(path) <= Date.now());
    return due.sort((one, other) => notBefore(one) - notBefore(other)).slice(0, Math.max(0, free));
  }

  /** Until something is to be done. */
  async #pause(): Promise<void> {
    if (this.#isWoken || this.#end.signal.aborted) return;
    const idle = [...this.#courses.values()].filter((course) => !course.isBusy);
    const next = Math.min(...idle.map((course) => course.notBeforeMs));
    // Streams that are due and found no place go on when another one is done.
    const isFull = this.#courses.size - idle.length >= STREAMS_AT_ONCE;
    await new Promise<void>((resolve) => {
      const timer = next === Infinity || isFull ? undefined : setTimeout(resolve, Math.max(0, next - Date.now()));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #send(path: string): Promise<void> {
    const course = this.#courses.get(path);
    if (course === undefined) return;
    course.isBusy = true;
    try {
      const claim = await this.#outbox.claim(path);
      if (claim === undefined) return;
      try {
        const next = await this.#post(claim);
        this.#options.store.tell({ is: "sent", ids: await this.#outbox.sent(claim), offset: next });
        course.backoff.reset();
        course.notBeforeMs = 0;
      } catch (error) {
        if (this.#end.signal.aborted && error === this.#end.signal.reason) return;
        await this.#onFailure(claim, error, course);
      }
    } finally {
      course.isBusy = false;
      this.#wakeUp();
    }
  }

  async #post(claim: Claim): Promise<string | undefined> {
    const [first] = claim.entries;
    if (first === undefined) throw new OdradekError("a claim of nothing");
    const stream = new Stream(this.#connection, first.topic, first.key, { contentType: first.contentType });
    const { producer: id, epoch, seq } = claim.place;
    const options = { producer: { id, epoch, seq }, signal: this.#end.signal };
    try {
      return (await stream.appendBody(claim.body, options)).next;
    } catch (error) {
      const isMissing = error instanceof Problem && error.kind === "stream-not-found";
      if (!isMissing || this.#options.createsStreams === false) throw error;
    }
    await stream.create({ signal: this.#end.signal });
    return (await stream.appendBody(claim.body, options)).next;
  }

  async #onFailure(claim: Claim, error: unknown, course: Course): Promise<void> {
    if (isPassing(error)) {
      if (isSurelyNotTaken(error) && !claim.mayBeThere) await this.#outbox.release(claim);
      const askedMs = error instanceof Problem ? (error.retryAfterMs ?? 0) : 0;
      const waitMs = course.backoff.next(askedMs);
      [course.notBeforeMs, course.askedUntilMs] = [Date.now() + waitMs, Date.now() + askedMs];
      this.#options.onRetry?.(error, waitMs);
      return;
    }
    if (!(error instanceof Problem)) throw error;
    const isForgotten = error.kind === "sequence-gap" || error.kind === "epoch-begins-with-0";
    const isAnothers = error.kind === "stale-epoch" && !claim.mayBeThere;
    if (isForgotten || isAnothers) {
      await this.#outbox.beginAnew(claim, isAnothers);
      course.notBeforeMs = Date.now() + course.backoff.next();
      return;
    }
    const { status, kind, detail } = error;
    const verdict = await this.#outbox.refused(claim, { status, kind, detail });
    if (verdict.is === "again" || verdict.ids.length === 0) return;
    this.#options.store.tell({ is: "refused", ids: verdict.ids, status, kind, detail, mayBeThere: claim.mayBeThere });
    for (const entry of claim.entries.filter(({ id }) => verdict.ids.includes(id))) {
      this.#options.onRefused?.({ ...entry, problem: { status, kind, detail }, mayBeThere: claim.mayBeThere });
    }
  }

  #onNews(news: News): void {
    if (news.is === "added") {
      this.#wakeUp();
      return;
    }
    for (const id of news.ids) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (news.is === "sent") waiting?.resolve({ next: news.offset });
      else waiting?.reject(new Problem(news));
    }
  }

  #onOnline(): void {
    for (const course of this.#courses.values()) {
      course.notBeforeMs = Math.min(course.notBeforeMs, course.askedUntilMs);
    }
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#isWoken = true;
    this.#wake();
  }

  #fail(error: unknown): void {
    if (this.#end.signal.aborted) return;
    this.#end.abort(error);
    this.#wake();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#options.onFailure?.(error);
  }
}

function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
