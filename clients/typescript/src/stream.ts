/** One key of a topic as a stream: what may be asked of it, and a reader that follows it over whatever happens to the network. */
import { Backoff, sleepOrOnline, type BackoffOptions } from "./backoff.js";
import type { Answer, Connection, EventStream, Request } from "./connection.js";
import { decodeAll, decodeEvent, encode, isJson, join, JSON_TYPE } from "./form.js";
import { ReaderMemory, type Resume } from "./memory.js";
import { ConnectionError, isPassing, Problem } from "./problem.js";

/** A place in a stream: a text that the server gave, `-1` for the begin, `now` for the end. */
export type Offset = string;

/** Who appends, and the how many-th append of this epoch it is: sent again, it is taken once. */
export interface Producer {
  id: string;
  epoch: number;
  seq: number;
}

export interface AppendOptions {
  producer?: Producer;
  /** Nothing can be appended afterwards. */
  close?: boolean;
  /** Only if the stream ends there; else `other-offset`. */
  expectedOffset?: Offset;
  signal?: AbortSignal;
}

/** What an append came to. */
export interface Appended {
  /** Behind what was appended. */
  next: Offset | undefined;
  /** It had been taken before. */
  isRepetition: boolean;
}

export interface CreateOptions<T> {
  /** First records. */
  values?: T[];
  close?: boolean;
  /** It ends after so long without use. */
  ttlSeconds?: number;
  signal?: AbortSignal;
}

/** What a stream is now. */
export interface StreamInfo {
  contentType: string | undefined;
  next: Offset;
  isClosed: boolean;
}

/** What one answer has. */
export interface Chunk<T> {
  values: T[];
  /** Behind them. */
  next: Offset;
  isUpToDate: boolean;
  /** Nothing will ever come behind them. */
  isClosed: boolean;
}

/** A record as followers get it. */
export interface StreamRecord<T> {
  /** A deletion has none. */
  value: T | undefined;
  isDeletion: boolean;
  /** The place behind it: who begins there gets what follows. In the midst of the answer to a long poll there is none. */
  next: Offset | undefined;
}

export interface FollowOptions {
  /** Where to begin if nothing is remembered; the default is `-1`. */
  from?: Offset;
  /** Remembers each record that was taken, and goes on behind it the next time. */
  resume?: Resume;
  /** `long-poll` for networks that hold events back. A reader that is ended in the midst of an answer gets all of it again then. */
  live?: "sse" | "long-poll";
  /** What to do where retention has passed the place: fail with `offset-gone` (the default), or go on with what is kept. */
  gone?: "fail" | "earliest";
  backoff?: BackoffOptions;
  /** Is told of each failure that passes, and how long the reader waits. */
  onRetry?: (error: unknown, waitMs: number) => void;
  signal?: AbortSignal;
}

export interface StreamOptions {
  /** What the values are; JSON by default. Texts of `text/...`, bytes of all others. */
  contentType?: string;
}

/** A connection of events that ends sooner, and had none, has failed. */
export const AT_ONCE_MS = 1000;

/** See the head of the file. It holds nothing: any number of them may be of the same stream. */
export class Stream<T = unknown> {
  readonly topic: string;
  readonly key: string;
  readonly contentType: string;
  /** Of its address. */
  readonly path: string;
  readonly #connection: Connection;

  constructor(connection: Connection, topic: string, key: string, options: StreamOptions = {}) {
    [this.topic, this.key] = [topic, key];
    this.path = streamPath(topic, key);
    this.contentType = options.contentType ?? JSON_TYPE;
    this.#connection = connection;
  }

  /** Whether its values are JSON. */
  get isJson(): boolean {
    return isJson(this.contentType);
  }

  /** Creates it; whether it was not there. One that is there and the same is no problem. */
  async create(options: CreateOptions<T> = {}): Promise<boolean> {
    const request: Request = {
      method: "PUT",
      path: this.path,
      headers: {
        "content-type": this.contentType,
        "stream-closed": options.close === true ? "true" : undefined,
        "stream-ttl": options.ttlSeconds?.toString(),
      },
      signal: options.signal,
    };
    if (options.values !== undefined && options.values.length > 0) request.body = this.#body(options.values);
    return (await this.#connection.ask(request, [200, 201])).status === 201;
  }

  /** Appends one value. It is tried once: a queue does more. */
  append(value: T, options: AppendOptions = {}): Promise<Appended> {
    return this.appendAll([value], options);
  }

  /** Appends values in one batch: all or none. Only JSON has more than one. */
  appendAll(values: T[], options: AppendOptions = {}): Promise<Appended> {
    return this.appendBody(this.#body(values), options);
  }

  /** Nothing can be appended afterwards. */
  close(options: Omit<AppendOptions, "close"> = {}): Promise<Appended> {
    return this.appendBody(undefined, { ...options, close: true });
  }

  /** What `appendAll` sends. */
  async appendBody(body: string | Uint8Array | undefined, options: AppendOptions = {}): Promise<Appended> {
    const { producer } = options;
    const request: Request = {
      method: "POST",
      path: this.path,
      headers: {
        "content-type": body === undefined ? undefined : this.contentType,
        "producer-id": producer?.id,
        "producer-epoch": producer?.epoch.toString(),
        "producer-seq": producer?.seq.toString(),
        "stream-closed": options.close === true ? "true" : undefined,
        "expected-offset": options.expectedOffset,
      },
      signal: options.signal,
    };
    if (body !== undefined) request.body = body;
    const answer = await this.#connection.ask(request, [200, 204]);
    const next = answer.headers.get("stream-next-offset") ?? undefined;
    return { next, isRepetition: producer !== undefined && answer.status === 204 };
  }

  /** Where it ends, and what it is. */
  async info(signal?: AbortSignal): Promise<StreamInfo> {
    const { headers } = await this.#connection.ask({ method: "HEAD", path: this.path, signal }, [200]);
    return {
      contentType: headers.get("content-type") ?? undefined,
      next: headers.get("stream-next-offset") ?? "-1",
      isClosed: headers.get("stream-closed") === "true",
    };
  }

  /** Deletes it: a tombstone in the log. */
  async delete(signal?: AbortSignal): Promise<void> {
    await this.#connection.ask({ method: "DELETE", path: this.path, signal }, [204]);
  }

  /** One answer. */
  async readOnce(from: Offset = "-1", signal?: AbortSignal): Promise<Chunk<T>> {
    const request = { method: "GET", path: this.path, query: { offset: from }, signal };
    return this.#chunk(await this.#connection.ask(request, [200]), from);
  }

  /** What there is from `from` on, answer by answer, up to the end. */
  async *read(from: Offset = "-1", signal?: AbortSignal): AsyncGenerator<Chunk<T>, void, undefined> {
    for (let next = from; ; ) {
      const chunk = await this.readOnce(next, signal);
      if (chunk.values.length > 0) yield chunk;
      if (chunk.isUpToDate || chunk.isClosed) return;
      next = chunk.next;
    }
  }

  /**
   * Every record from `from` on, in order, as it comes; ends once the stream is closed. A failure that passes is waited out, and nothing
   * is missing or there twice afterwards. A record was taken when the loop asks for the next one; one in whose midst the loop is left
   * comes again to whoever resumes.
   */
  async *follow(options: FollowOptions = {}): AsyncGenerator<StreamRecord<T>, void, undefined> {
    const { signal, end } = linked(options.signal);
    let memory: ReaderMemory | undefined;
    try {
      signal.throwIfAborted();
      let place = options.from ?? "-1";
      if (options.resume !== undefined) {
        const [opened, remembered] = await ReaderMemory.open(options.resume, this.path, signal);
        [memory, place] = [opened, remembered ?? place];
      }
      for await (const record of this.#records(place, options, signal, (next) => memory?.put(next))) {
        yield record;
        if (record.next !== undefined) await memory?.put(record.next);
      }
    } finally {
      end();
      memory?.close();
    }
  }

  async *#records(
    from: Offset,
    options: FollowOptions,
    signal: AbortSignal,
    onPlace: (next: Offset) => Promise<void> | undefined,
  ): AsyncGenerator<StreamRecord<T>, void, undefined> {
    const backoff = new Backoff(options.backoff);
    const place = { next: from };
    for (;;) {
      try {
        // The end is a place: what comes while the network is away would be missed otherwise.
        if (place.next === "now") {
          place.next = (await this.readOnce("now", signal)).next;
          await onPlace(place.next);
        }
        const isOver = yield* options.live === "long-poll"
          ? this.#poll(place, signal, backoff)
          : this.#events(place, signal, backoff);
        if (isOver) return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Problem && error.kind === "offset-gone" && options.gone === "earliest") {
          if (error.earliest === undefined || error.earliest === place.next) throw error;
          place.next = error.earliest;
          continue;
        }
        await waitOut(error, backoff, options, signal);
      }
    }
  }

  /** One connection of events; whether the stream is closed and all of it was given. */
  async *#events(
    place: { next: Offset },
    signal: AbortSignal,
    backoff: Backoff,
  ): AsyncGenerator<StreamRecord<T>, boolean, undefined> {
    const headers = { accept: "text/event-stream" };
    const request = { method: "GET", path: this.path, query: { offset: place.next }, headers, signal };
    const { headers: told, events }: EventStream = await this.#connection.open(request);
    const encoding = told.get("stream-sse-data-encoding");
    const [openedMs, first] = [Date.now(), place.next];
    for await (const some of events) {
      backoff.reset();
      for (const { event, data, id } of some) {
        if (id === undefined || (event !== "" && event !== "delete")) continue;
        // Offsets sort: what was told already is not told again, whatever the server does.
        if (id <= place.next) continue;
        const isDeletion = event === "delete";
        const value = isDeletion ? undefined : (decodeEvent(this.contentType, encoding, data) as T);
        yield { value, isDeletion, next: id };
        place.next = id;
      }
    }
    // Connections end after a minute, and with the stream.
    const { next, isClosed } = await this.info(signal);
    if (isClosed && next === place.next) return true;
    const isAtOnce = place.next === first && Date.now() - openedMs < AT_ONCE_MS;
    if (isAtOnce) throw new ConnectionError("the connection was ended at once");
    return false;
  }

  async *#poll(
    place: { next: Offset },
    signal: AbortSignal,
    backoff: Backoff,
  ): AsyncGenerator<StreamRecord<T>, boolean, undefined> {
    for (let cursor: string | undefined; ; ) {
      const query = { offset: place.next, live: "long-poll", cursor };
      const answer = await this.#connection.ask({ method: "GET", path: this.path, query, signal }, [200, 204]);
      backoff.reset();
      cursor = answer.headers.get("stream-cursor") ?? undefined;
      const chunk = this.#chunk(answer, place.next);
      for (const [at, value] of chunk.values.entries()) {
        yield { value, isDeletion: false, next: at + 1 === chunk.values.length ? chunk.next : undefined };
      }
      place.next = chunk.next;
      if (chunk.isClosed) return true;
    }
  }

  #body(values: T[]): string | Uint8Array {
    const bodies = values.map((value) => encode(this.contentType, value));
    if (this.isJson) return join(bodies as string[]);
    if (bodies.length !== 1 || bodies[0] === undefined) throw new TypeError(`${this.contentType} has one value at a time`);
    return bodies[0];
  }

  #chunk({ headers, body, status }: Answer, from: Offset): Chunk<T> {
    return {
      values: status === 204 ? [] : (decodeAll(headers.get("content-type") ?? this.contentType, body) as T[]),
      next: headers.get("stream-next-offset") ?? from,
      isUpToDate: headers.get("stream-up-to-date") === "true",
      isClosed: headers.get("stream-closed") === "true",
    };
  }
}

/** Waits after a failure that passes; throws one that does not. */
export async function waitOut(
  error: unknown,
  backoff: Backoff,
  options: Pick<FollowOptions, "onRetry">,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  if (!isPassing(error)) throw error;
  const askedMs = error instanceof Problem ? (error.retryAfterMs ?? 0) : 0;
  const waitMs = backoff.next(askedMs);
  options.onRetry?.(error, waitMs);
  await sleepOrOnline(waitMs, askedMs, signal);
}

/** A signal of one's own, which the caller's ends as well; `end` is to be called when nothing is to be ended any more. */
export function linked(outer: AbortSignal | undefined): { signal: AbortSignal; end: () => void } {
  const own = new AbortController();
  const stop = () => own.abort(outer?.reason);
  if (outer?.aborted === true) stop();
  outer?.addEventListener("abort", stop, { once: true });
  const end = () => {
    outer?.removeEventListener("abort", stop);
    own.abort();
  };
  return { signal: own.signal, end };
}

/** Slashes of a key stay what they are: segments. Keys that an address cannot have are refused, for they would be other keys there. */
export function streamPath(topic: string, key: string): string {
  const segments = key.split("/");
  const isOther = segments.some((segment) => segment === "." || segment === "..") || /^(-|__ds)(\/|$)/.test(key);
  if (key === "" || isOther || topic === "" || topic === "." || topic === "..") {
    throw new RangeError(`no stream can have the topic ${JSON.stringify(topic)} and the key ${JSON.stringify(key)}`);
  }
  return `/s/${encodeURIComponent(topic)}/${segments.map(encodeURIComponent).join("/")}`;
}
