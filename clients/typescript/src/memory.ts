/**
 * Where a reader is, in a store: read when it begins, written for each record that it has taken. One reader of a name at a time; a
 * second one waits, or where there are no locks takes over.
 */
import { TakenOverError } from "./problem.js";
import type { Store } from "./store.js";

/** Under which name, and where, a reader remembers its place. */
export interface Resume {
  store: Store;
  name: string;
}

interface Remembered {
  place: string | undefined;
  owner: string;
}

export class ReaderMemory {
  readonly #store: Store;
  readonly #key: string;
  readonly #owner = randomId();
  readonly #give: () => void;

  private constructor(store: Store, key: string, give: () => void) {
    [this.#store, this.#key, this.#give] = [store, key, give];
  }

  /** With the place that was remembered, or none. `what` is what is read: a name is of one stream only. */
  static async open(resume: Resume, what: string, signal: AbortSignal): Promise<[ReaderMemory, string | undefined]> {
    const key = `reader ${resume.name} ${what}`;
    const memory = new ReaderMemory(resume.store, key, await resume.store.lock(key, signal));
    const place = await resume.store.transaction(async (transaction) => {
      const known = (await transaction.get(key)) as Remembered | undefined;
      await transaction.put(key, { place: known?.place, owner: memory.#owner } satisfies Remembered);
      return known?.place;
    });
    return [memory, place];
  }

  /** What is before `place` was taken. */
  async put(place: string): Promise<void> {
    await this.#store.transaction(async (transaction) => {
      const known = (await transaction.get(this.#key)) as Remembered | undefined;
      if (known?.owner !== this.#owner) throw new TakenOverError(`another reader goes on at ${known?.place ?? "the begin"}`);
      await transaction.put(this.#key, { place, owner: this.#owner } satisfies Remembered);
    });
  }

  /** Lets the next one of this name begin. */
  close(): void {
    this.#give();
  }
}

/** 128 bits by chance; pages that were not loaded over HTTPS have no `crypto.randomUUID`. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
