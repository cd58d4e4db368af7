/** Waiting before another try: longer each time, by chance, never shorter than the server asked, and ended by news of the network. */

/** How long to wait at first and at most, in milliseconds. */
export interface BackoffOptions {
  firstMs?: number;
  mostMs?: number;
}

/** How long a server may hold a client off, whatever it says. */
const ASKED_MOST_MS = 600_000;

/** Counts failures in a row. */
export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #failures = 0;

  constructor(options: BackoffOptions = {}) {
    this.#firstMs = options.firstMs ?? 250;
    this.#mostMs = options.mostMs ?? 30_000;
  }

  /** It worked: the next failure is the first again. */
  reset(): void {
    this.#failures = 0;
  }

  /**
   * How long to wait after one more failure. Half of it is by chance, so that those who failed together do not come together; what the
   * server asked for comes on top, and is never cut short.
   */
  next(askedMs = 0): number {
    const step = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.min(askedMs, ASKED_MOST_MS) + step / 2 + (Math.random() * step) / 2;
  }
}

/** Waits, unless `signal` aborts (it throws the reason). */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Waits; returns early when a browser says that the network is back, unless the server asked for the first `askedMs`. */
export async function sleepOrOnline(ms: number, askedMs: number, signal?: AbortSignal): Promise<void> {
  if (askedMs > 0) await sleep(Math.min(askedMs, ms), signal);
  const rest = ms - askedMs;
  if (rest <= 0) return;
  const woken = new AbortController();
  const wake = () => woken.abort();
  const stopWatching = onOnline(wake);
  signal?.addEventListener("abort", wake, { once: true });
  try {
    await sleep(rest, woken.signal);
  } catch {
    signal?.throwIfAborted();
  } finally {
    stopWatching();
    signal?.removeEventListener("abort", wake);
  }
}

/** Calls `wake` when a browser says that the network is back; elsewhere never. The result ends that. */
export function onOnline(wake: () => void): () => void {
  const target = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
  if (typeof target.addEventListener !== "function") return () => undefined;
  target.addEventListener("online", wake);
  return () => target.removeEventListener?.("online", wake);
}
