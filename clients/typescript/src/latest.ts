/** The last value of a key: asked for once, or each time that there is another one. */
import { Backoff, sleep, type BackoffOptions } from "./backoff.js";
import type { Connection } from "./connection.js";
import { isJson } from "./form.js";
import { Problem } from "./problem.js";
import { linked, streamPath, waitOut, type Offset } from "./stream.js";

/** See the head of the file. */
export interface Latest<T> {
  value: T;
  /** By which the server knows this value. */
  etag: string | undefined;
  /** The place behind it: who goes on from there misses nothing. */
  next: Offset | undefined;
}

export interface LatestOptions {
  backoff?: BackoffOptions;
  onRetry?: (error: unknown, waitMs: number) => void;
  signal?: AbortSignal;
}

/** The server waits for another value at most so long. */
const WAIT_SECONDS = 20;
/** A server that does not wait is not asked more often. */
const PAUSE_MS = 1000;

interface Asked {
  etag?: string | undefined;
  waitSeconds?: number;
  signal?: AbortSignal | undefined;
}

/** The value; `undefined` if there is none, `same` if it still has that tag. */
export async function latest<T>(
  connection: Connection,
  topic: string,
  key: string,
  { etag, waitSeconds, signal }: Asked = {},
): Promise<Latest<T> | undefined | "same"> {
  const path = `/v1/latest/${streamPath(topic, key).slice("/s/".length)}`;
  const prefer = waitSeconds === undefined ? undefined : `wait=${waitSeconds}`;
  const headers = { "if-none-match": etag, prefer };
  try {
    const answer = await connection.ask({ method: "GET", path, headers, signal }, [200, 304]);
    if (answer.status === 304) return "same";
    const type = answer.headers.get("content-type") ?? "";
    const text = () => new TextDecoder().decode(answer.body);
    const value: unknown = isJson(type) ? JSON.parse(text()) : type.startsWith("text/") ? text() : answer.body;
    return {
      value: value as T,
      etag: answer.headers.get("etag") ?? undefined,
      next: answer.headers.get("stream-next-offset") ?? undefined,
    };
  } catch (error) {
    if (error instanceof Problem && error.kind === "no-value") return undefined;
    throw error;
  }
}

/** The value that there is, or `undefined`; then each other one, as it comes. What lies between two may be passed over. */
export async function* watchLatest<T>(
  connection: Connection,
  topic: string,
  key: string,
  options: LatestOptions = {},
): AsyncGenerator<Latest<T> | undefined, void, undefined> {
  const { signal, end } = linked(options.signal);
  const backoff = new Backoff(options.backoff);
  let known: Latest<T> | undefined | "unasked" = "unasked";
  try {
    signal.throwIfAborted();
    for (;;) {
      const askedMs = Date.now();
      try {
        const etag = typeof known === "object" ? known.etag : undefined;
        const asked: Asked = known === "unasked" ? { signal } : { etag, waitSeconds: WAIT_SECONDS, signal };
        const told: Latest<T> | undefined | "same" = await latest<T>(connection, topic, key, asked);
        backoff.reset();
        if (told !== "same" && (told !== undefined || known !== undefined)) {
          known = told;
          yield told;
        } else if (Date.now() - askedMs < PAUSE_MS) {
          await sleep(PAUSE_MS, signal);
        }
      } catch (error) {
        await waitOut(error, backoff, options, signal);
      }
    }
  } finally {
    end();
  }
}
