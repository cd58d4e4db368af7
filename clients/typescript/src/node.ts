/**
 * What a program of Node remembers over its restarts: a journal in one file, to which each transaction appends a line, synced before it
 * counts. One process at a time has it open.
 */
import { constants } from "node:fs";
import { link, open, readFile, rename, unlink, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { OdradekError } from "./problem.js";
import { MemoryStore, SortedMap, type Change, type News, type Store, type Stored, type Transaction } from "./store.js";

/** A journal is written anew once it has so many lines more than twice what is remembered. */
const LINES_SPARE = 1000;

/** See the head of the file. */
export class FileStore implements Store {
  readonly #path: string;
  readonly #memory: MemoryStore;
  #file: FileHandle;
  #lines: number;
  /** The journal's length: what is behind it was not wholly written. */
  #length: number;
  #failure: unknown;

  private constructor(path: string, file: FileHandle, lines: number, length: number, entries: SortedMap) {
    [this.#path, this.#file, this.#lines, this.#length] = [path, file, lines, length];
    this.#memory = new MemoryStore(entries.entries(), (changes, map) => this.#keep(changes, map));
  }

  /** Opens the journal, or begins one; it fails while another process that lives has it open. */
  static async open(path: string): Promise<FileStore> {
    const absolute = resolve(path);
    await takeOver(`${absolute}.lock`);
    try {
      const file = await open(absolute, constants.O_RDWR | constants.O_CREAT, 0o600);
      const bytes = await file.readFile();
      // A line without its end was being written when the process ended: it never counted.
      const length = bytes.lastIndexOf(10) + 1;
      await file.truncate(length);
      await file.sync();
      await syncFolder(absolute);
      const entries = new SortedMap();
      const lines = bytes.subarray(0, length).toString("utf8").split("\n").slice(0, -1);
      for (const line of lines) apply(entries, parse(line, absolute));
      return new FileStore(absolute, file, lines.length, length, entries);
    } catch (error) {
      await release(absolute);
      throw error;
    }
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#memory.transaction(work);
  }

  lock(name: string, signal: AbortSignal): Promise<() => void> {
    return this.#memory.lock(name, signal);
  }

  tell(news: News): void {
    this.#memory.tell(news);
  }

  watch(listener: (news: News) => void): () => void {
    return this.#memory.watch(listener);
  }

  async close(): Promise<void> {
    await this.#memory.close();
    if (this.#failure === undefined) this.#failure = new OdradekError("it is closed");
    await this.#file.close();
    await release(this.#path);
  }

  async #keep(changes: Change[], map: SortedMap): Promise<void> {
    // After half an effect nobody knows what the file has: only opening it again tells.
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const line = Buffer.from(`${format(changes)}\n`);
      await this.#file.write(line, 0, line.length, this.#length);
      await this.#file.datasync();
      this.#length += line.length;
      this.#lines += 1;
      if (this.#lines > 2 * (map.size + changes.length) + LINES_SPARE) await this.#writeAnew(changes, map);
    } catch (error) {
      this.#failure = new OdradekError(`${this.#path} cannot be written`, { cause: error });
      throw this.#failure;
    }
  }

  async #writeAnew(changes: Change[], map: SortedMap): Promise<void> {
    const all = new SortedMap();
    for (const [key, value] of map.entries()) all.set(key, value);
    apply(all, changes);
    const lines = [...all.entries()].map((entry) => `${format([entry])}\n`);
    const text = Buffer.from(lines.join(""));
    const file = await open(`${this.#path}.new`, "w+", 0o600);
    await file.writeFile(text);
    await file.sync();
    await rename(`${this.#path}.new`, this.#path);
    await syncFolder(this.#path);
    await this.#file.close();
    [this.#file, this.#lines, this.#length] = [file, lines.length, text.length];
  }
}

function apply(map: SortedMap, changes: Change[]): void {
  for (const [key, value] of changes) {
    if (value === undefined) map.delete(key);
    else map.set(key, value);
  }
}

/** JSON, in which bytes are `{"$bytes": base64}`; a change to nothing has no value. */
function format(changes: Change[]): string {
  const plain = (_: string, value: unknown) =>
    value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString("base64") } : value;
  // JSON.stringify asks toJSON of a Buffer before the replacer sees it; a Uint8Array has none.
  return JSON.stringify(changes.map(([key, value]) => (value === undefined ? [key] : [key, value])), plain);
}

function parse(line: string, path: string): Change[] {
  const bytes = (_: string, value: unknown) => {
    const isBytes = typeof value === "object" && value !== null && "$bytes" in value && typeof value.$bytes === "string";
    return isBytes ? new Uint8Array(Buffer.from(value.$bytes as string, "base64")) : value;
  };
  try {
    const read = JSON.parse(line, bytes) as [string, Stored?][];
    return read.map(([key, value]) => [key, value]);
  } catch (error) {
    throw new OdradekError(`${path} has a line that this is not: ${line.slice(0, 80)}`, { cause: error });
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  await folder.sync();
  await folder.close();
}

async function release(path: string): Promise<void> {
  await unlink(`${path}.lock`);
  opened.delete(`${path}.lock`);
}

/** Which journals this process has open: after a restart in a container the number of the process may be the same again. */
const opened = new Set<string>();

/** A file with the number of the process that has the journal open; that of a process which has ended is taken away. */
async function takeOver(lock: string): Promise<void> {
  const mine = `${lock}.${process.pid}`;
  await writeFile(mine, String(process.pid), { mode: 0o600 });
  try {
    for (let tries = 0; tries < 3; tries += 1) {
      if (await isLinked(mine, lock)) {
        opened.add(lock);
        return;
      }
      const owner = await readFile(lock, "utf8").catch(() => "");
      const isOpen = owner === String(process.pid) ? opened.has(lock) : owner !== "" && isAlive(Number(owner));
      if (isOpen) throw new OdradekError(`process ${owner} has ${lock.slice(0, -5)} open`);
      await takeAway(lock, owner, `${mine}.gone`);
    }
    throw new OdradekError(`${lock} cannot be taken`);
  } finally {
    await unlink(mine);
  }
}

async function isLinked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Somebody else may have taken it away, and have put a lock there that counts: that is put back. */
async function takeAway(lock: string, owner: string, gone: string): Promise<void> {
  try {
    await rename(lock, gone);
    if ((await readFile(gone, "utf8")) !== owner) await isLinked(gone, lock);
    await unlink(gone);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function isAlive(process_id: number): boolean {
  try {
    process.kill(process_id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
