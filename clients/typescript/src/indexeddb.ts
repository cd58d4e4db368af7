/** What a browser remembers, over reloads and crashes, shared by all tabs of an origin: IndexedDB, Web Locks and a BroadcastChannel. */
import { OdradekError } from "./problem.js";
import { Listeners, Turns, type News, type Store, type Stored, type Transaction } from "./store.js";

const TABLE = "remembered";

/** See the head of the file. One for each server and user: what one user has queued must not be sent with another's token. */
export class IndexedDbStore implements Store {
  readonly #name: string;
  readonly #db: IDBDatabase;
  readonly #channel: BroadcastChannel;
  readonly #listeners = new Listeners();
  readonly #turns = new Turns();

  private constructor(name: string, db: IDBDatabase) {
    this.#name = name;
    this.#db = db;
    // Another tab deletes the database.
    db.onversionchange = () => db.close();
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = (message: MessageEvent<News>) => this.#listeners.tell(message.data);
  }

  /** Opens the database `name` of this origin, or makes it. */
  static async open(name = "odradek"): Promise<IndexedDbStore> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    return new IndexedDbStore(name, await answer(request));
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    // Strict: what was kept is there after a power cut, too.
    const transaction = this.#db.transaction(TABLE, "readwrite", { durability: "strict" });
    const done = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(new OdradekError("the browser did not keep it", { cause: transaction.error }));
    });
    const table = transaction.objectStore(TABLE);
    try {
      const result = await work(over(table));
      await done;
      return result;
    } catch (error) {
      done.catch(() => undefined);
      try {
        transaction.abort();
      } catch {
        // It has ended already.
      }
      throw error;
    }
  }

  async lock(name: string, signal: AbortSignal): Promise<() => void> {
    // Pages that were not loaded over HTTPS have no locks.
    const locks = (navigator as Partial<Navigator>).locks;
    if (locks === undefined) return this.#turns.take(name, signal);
    return new Promise<() => void>((resolve, reject) => {
      const held = () => new Promise<void>((give) => resolve(give));
      locks.request(`${this.#name} ${name}`, { signal }, held).catch(reject);
    });
  }

  tell(news: News): void {
    this.#channel.postMessage(news);
    this.#listeners.tell(news);
  }

  watch(listener: (news: News) => void): () => void {
    return this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    this.#channel.close();
    this.#db.close();
  }
}

function over(table: IDBObjectStore): Transaction {
  return {
    get: (key) => answer<Stored>(table.get(key)),
    put: async (key, value) => void (await answer(table.put(value, key))),
    delete: async (key) => void (await answer(table.delete(key))),
    list: async (from, to, most) => {
      const range = IDBKeyRange.bound(from, to, false, true);
      const [keys, values] = [table.getAllKeys(range, most), table.getAll(range, most)];
      await answer(keys);
      const all = await answer<Stored[]>(values);
      return keys.result.map((key, at) => [String(key), all[at]]);
    },
  };
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  if (request.readyState === "done" && request.error === null) return Promise.resolve(request.result);
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
