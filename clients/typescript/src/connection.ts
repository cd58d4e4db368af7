/**
 * One server: its address, the token, a request and its answer. Nothing is tried twice here but a request whose token was refused,
 * once, with a new one. Called by everything else.
 */
import { sleep } from "./backoff.js";
import { EventParser, type ServerEvent } from "./events.js";
import { ConnectionError, OdradekError, Problem, usedUp } from "./problem.js";

/** Why a token is asked for: none is known, it is about to end, or the server has refused it. */
export type TokenReason = "first" | "expired" | "refused";

/** Gives a JSON Web Token, or nothing where none is needed. */
export type TokenSource = (reason: TokenReason, signal: AbortSignal) => Promise<string | undefined> | string | undefined;

/** What a client is made of. */
export interface ConnectionOptions {
  /** Where the gateway is, such as `https://streams.example.com`; what is behind the host is kept. */
  url: string;
  token?: TokenSource;
  /** In place of the global `fetch`. */
  fetch?: typeof fetch;
  /** How long an answer may take, beyond what a long poll waits by itself. An append is answered within 30 s. */
  timeoutMs?: number;
  /** How long a server that follows may be silent: it gives a sign of life every 25 s. */
  silenceMs?: number;
  /** What `fetch` does with cookies; `include` where the token is in one. */
  credentials?: RequestCredentials;
}

/** What is asked. */
export interface Request {
  method: string;
  path: string;
  query?: Record<string, string | undefined>;
  headers?: Record<string, string | undefined>;
  body?: string | Uint8Array;
  signal?: AbortSignal | undefined;
}

/** A whole answer. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Uint8Array;
}

/** Events as they come. */
export interface EventStream {
  headers: Headers;
  events: AsyncGenerator<ServerEvent[], void, undefined>;
}

/** A token that ends sooner is renewed before it is sent. */
const TOKEN_LEFT_MS = 10_000;
/** The server waits so long by itself where it is asked to wait. */
const WAIT_MS = 60_000;

export class Connection {
  readonly #base: string;
  readonly #options: ConnectionOptions;
  readonly #fetch: typeof fetch;
  #token: { text: string | undefined; untilMs: number } | undefined;
  #renewal: Promise<void> | undefined;
  #notBeforeMs = 0;

  constructor(options: ConnectionOptions) {
    this.#base = new URL(options.url).href.replace(/\/+$/, "");
    this.#options = options;
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
  }

  /** The whole answer, if its status is one of those; else a `Problem`. */
  async ask(request: Request, statuses: number[]): Promise<Answer> {
    const waits = request.query?.["live"] !== undefined || request.headers?.["prefer"] !== undefined;
    const limitMs = (this.#options.timeoutMs ?? 45_000) + (waits ? WAIT_MS : 0);
    return this.#withToken(request, async (token) => {
      const watch = new Watch(request.signal, limitMs);
      try {
        const response = await this.#send(request, token, watch.signal);
        const body = new Uint8Array(await response.arrayBuffer());
        if (!statuses.includes(response.status)) throw Problem.of(response.status, response.headers, body);
        return { status: response.status, headers: response.headers, body };
      } catch (error) {
        throw watch.explain(error);
      } finally {
        watch.end();
      }
    });
  }

  /** An answer of events. They end when the server ends them; a connection that is cut or silent is a `ConnectionError`. */
  async open(request: Request): Promise<EventStream> {
    return this.#withToken(request, async (token) => {
      const watch = new Watch(request.signal, this.#options.timeoutMs ?? 45_000);
      try {
        const response = await this.#send(request, token, watch.signal);
        if (response.status !== 200 || response.body === null) {
          const body = new Uint8Array(await response.arrayBuffer());
          throw Problem.of(response.status, response.headers, body);
        }
        watch.pause();
        const events = read(response.body, watch, this.#options.silenceMs ?? 60_000);
        return { headers: response.headers, events };
      } catch (error) {
        watch.end();
        throw watch.explain(error);
      }
    });
  }

  async #send(request: Request, token: string | undefined, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(name, value);
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers ?? {})) if (value !== undefined) headers.set(name, value);
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    const text = query.toString();
    const asked = text === "" ? "" : `?${text}`;
    const response = await this.#fetch(`${this.#base}${request.path}${asked}`, {
      method: request.method,
      headers,
      signal,
      // What is told may not be older than the question.
      cache: "no-store",
      redirect: "error",
      ...(request.body === undefined ? {} : { body: request.body as BodyInit }),
      ...(this.#options.credentials === undefined ? {} : { credentials: this.#options.credentials }),
    });
    const waitMs = usedUp(response.headers);
    if (waitMs !== undefined) this.#notBeforeMs = Math.max(this.#notBeforeMs, Date.now() + Math.min(waitMs, 60_000));
    return response;
  }

  async #withToken<T>(request: Request, send: (token: string | undefined) => Promise<T>): Promise<T> {
    const signal = request.signal;
    signal?.throwIfAborted();
    if (this.#notBeforeMs > Date.now()) await sleep(this.#notBeforeMs - Date.now(), signal);
    const token = await this.#currentToken(signal);
    try {
      return await send(token);
    } catch (error) {
      const isRefused = error instanceof Problem && error.status === 401 && this.#options.token !== undefined;
      if (!isRefused) throw error;
      // Somebody else may have renewed it meanwhile.
      if (this.#token?.text === token) await this.#renew("refused", signal);
      const renewed = this.#token?.text;
      if (renewed === undefined || renewed === token) throw error;
      return send(renewed);
    }
  }

  async #currentToken(signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#options.token === undefined) return undefined;
    if (this.#token === undefined) await this.#renew("first", signal);
    else if (this.#token.untilMs - TOKEN_LEFT_MS < Date.now()) await this.#renew("expired", signal);
    return this.#token?.text;
  }

  /** One renewal for all who want one; each waits for it as long as its own signal lets it. */
  async #renew(reason: TokenReason, signal: AbortSignal | undefined): Promise<void> {
    this.#renewal ??= this.#askForToken(reason).finally(() => (this.#renewal = undefined));
    const renewal = this.#renewal;
    if (signal === undefined) return renewal;
    await new Promise<void>((resolve, reject) => {
      const stop = () => reject(signal.reason);
      signal.addEventListener("abort", stop, { once: true });
      renewal.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    });
  }

  async #askForToken(reason: TokenReason): Promise<void> {
    const watch = new Watch(undefined, this.#options.timeoutMs ?? 45_000);
    try {
      const text = await this.#options.token?.(reason, watch.signal);
      this.#token = { text, untilMs: endOf(text) };
    } catch (error) {
      if (error instanceof OdradekError) throw error;
      throw new ConnectionError("no token was given", { cause: error });
    } finally {
      watch.end();
    }
  }
}

/** Of a JSON Web Token when it ends; of anything else never. */
function endOf(token: string | undefined): number {
  try {
    const claims = token?.split(".")[1]?.replace(/-/g, "+").replace(/_/g, "/") ?? "";
    const end: unknown = (JSON.parse(atob(claims)) as { exp?: unknown }).exp;
    return typeof end === "number" ? end * 1000 : Infinity;
  } catch {
    return Infinity;
  }
}

/** Aborts with the caller, or when time is over; and knows which it was. */
class Watch {
  readonly #own = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #stop = () => this.#own.abort(this.#outer?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #limitMs = 0;
  #isLate = false;

  constructor(outer: AbortSignal | undefined, limitMs: number) {
    this.#outer = outer;
    outer?.addEventListener("abort", this.#stop, { once: true });
    this.restart(limitMs);
  }

  get signal(): AbortSignal {
    return this.#own.signal;
  }

  restart(limitMs: number): void {
    this.#limitMs = limitMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#own.abort();
    }, limitMs);
  }

  /** No time is over while nobody waits. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#stop);
  }

  /** Stops what is still coming. */
  cut(): void {
    this.end();
    this.#own.abort();
  }

  /** What a failure of `fetch` was. */
  explain(error: unknown): unknown {
    if (error instanceof OdradekError) return error;
    if (this.#outer?.aborted) return this.#outer.reason;
    const what = this.#isLate ? `nothing came for ${this.#limitMs} ms` : "the connection failed";
    return new ConnectionError(what, { cause: error });
  }
}

async function* read(
  body: ReadableStream<Uint8Array>,
  watch: Watch,
  silenceMs: number,
): AsyncGenerator<ServerEvent[], void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      watch.restart(silenceMs);
      const { done, value } = await reader.read();
      // Who takes its time with what came is not silent.
      watch.pause();
      if (done) return;
      const events = parser.push(decoder.decode(value, { stream: true }));
      if (events.length > 0) yield events;
    }
  } catch (error) {
    throw watch.explain(error);
  } finally {
    watch.cut();
  }
}
