/**
 * What a client remembers: texts and values by key, changed in transactions, and who may work on what. `MemoryStore` forgets with the
 * process; `IndexedDbStore` is for browsers, `FileStore` for Node. Whoever writes another one implements `Store`.
 */

/** What may be remembered: data of JSON, and bytes. */
export type Stored = unknown;

/**
 * A transaction sees and changes the store alone. Within it only promises of the transaction itself may be awaited: IndexedDB ends it
 * otherwise.
 */
export interface Transaction {
  get(key: string): Promise<Stored | undefined>;
  put(key: string, value: Stored): Promise<void>;
  delete(key: string): Promise<void>;
  /** What is at keys from `from` on and before `to`, in the order of the keys' UTF-16 units, at most so many. */
  list(from: string, to: string, most: number): Promise<[string, Stored][]>;
}

/** What happened in a store, told to all who have it open, in other tabs too. */
export type News =
  | { is: "added" }
  | { is: "sent"; ids: number[]; offset: string | undefined }
  | { is: "refused"; ids: number[]; status: number; kind: string; detail: string; mayBeThere: boolean };

/** See the head of the file. */
export interface Store {
  /** All of `work` happens, or nothing of it; it happens in the order of the calls. When it resolves, it survives a crash. */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /**
   * Waits until nobody else has this name, in other tabs too; the result gives it back. Where locks are not to be had it may let
   * several have it: nothing is lost or doubled then, but work is done twice.
   */
  lock(name: string, signal: AbortSignal): Promise<() => void>;
  tell(news: News): void;
  /** The result ends it. */
  watch(listener: (news: News) => void): () => void;
  close(): Promise<void>;
}

/** One after the other, by name, within this process. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  async take(name: string, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    const before = this.#last.get(name) ?? Promise.resolve();
    let give: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => (give = resolve));
    const last = before.then(() => mine);
    this.#last.set(name, last);
    void last.then(() => this.#last.get(name) === last && this.#last.delete(name));
    if (signal === undefined) {
      await before;
      return give;
    }
    await new Promise<void>((resolve, reject) => {
      const stop = () => {
        give();
        reject(signal.reason);
      };
      signal.addEventListener("abort", stop, { once: true });
      void before.then(() => {
        signal.removeEventListener("abort", stop);
        resolve();
      });
    });
    return give;
  }
}

/** Those who listen to the news of a store. */
export class Listeners {
  readonly #all = new Set<(news: News) => void>();

  add(listener: (news: News) => void): () => void {
    this.#all.add(listener);
    return () => this.#all.delete(listener);
  }

  tell(news: News): void {
    for (const listener of [...this.#all]) listener(news);
  }
}

/** Keys in their order, with their values. */
export class SortedMap {
  readonly #values = new Map<string, Stored>();
  #keys: string[] = [];

  get size(): number {
    return this.#values.size;
  }

  get(key: string): Stored | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: Stored): void {
    if (!this.#values.has(key)) this.#keys.splice(this.#place(key), 0, key);
    this.#values.set(key, value);
  }

  delete(key: string): void {
    if (this.#values.delete(key)) this.#keys.splice(this.#place(key), 1);
  }

  list(from: string, to: string, most: number): [string, Stored][] {
    const first = this.#place(from);
    const keys = this.#keys.slice(first, Math.min(this.#place(to), first + most));
    return keys.map((key) => [key, this.#values.get(key)]);
  }

  entries(): IterableIterator<[string, Stored]> {
    return this.#values.entries();
  }

  /** Where the first key stands that is not before `key`. */
  #place(key: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? "") < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A change: a value, or nothing any more. */
export type Change = [key: string, value: Stored | undefined];

/** Remembers as long as the process lives. */
export class MemoryStore implements Store {
  readonly #map = new SortedMap();
  readonly #turns = new Turns();
  readonly #locks = new Turns();
  readonly #listeners = new Listeners();

  /** With what was remembered before, where a store keeps it elsewhere. */
  constructor(
    entries: Iterable<[string, Stored]> = [],
    private readonly keep?: (changes: Change[], map: SortedMap) => Promise<void>,
  ) {
    for (const [key, value] of entries) this.#map.set(key, value);
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const give = await this.#turns.take("");
    try {
      const changes = new SortedMap();
      const result = await work(this.#overlay(changes));
      const all = [...changes.entries()];
      if (this.keep !== undefined && all.length > 0) await this.keep(all, this.#map);
      for (const [key, value] of all) {
        if (value === undefined) this.#map.delete(key);
        else this.#map.set(key, value);
      }
      return result;
    } finally {
      give();
    }
  }

  lock(name: string, signal: AbortSignal): Promise<() => void> {
    return this.#locks.take(name, signal);
  }

  tell(news: News): void {
    this.#listeners.tell(news);
  }

  watch(listener: (news: News) => void): () => void {
    return this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    (await this.#turns.take(""))();
  }

  /** The map as this transaction has changed it: no change is anybody's before all are. */
  #overlay(changes: SortedMap): Transaction {
    const changed = new Set<string>();
    const put = (key: string, value: Stored | undefined) => {
      changed.add(key);
      changes.set(key, value);
    };
    return {
      get: async (key) => structuredClone(changed.has(key) ? changes.get(key) : this.#map.get(key)),
      put: async (key, value) => put(key, structuredClone(value)),
      delete: async (key) => put(key, undefined),
      list: async (from, to, most) => {
        const mine = changes.list(from, to, changes.size);
        // Changes may hide so many at most.
        const merged = new SortedMap();
        for (const [key, value] of this.#map.list(from, to, most + mine.length)) merged.set(key, value);
        for (const [key, value] of mine) {
          if (value === undefined) merged.delete(key);
          else merged.set(key, value);
        }
        return structuredClone(merged.list(from, to, most));
      },
    };
  }
}
