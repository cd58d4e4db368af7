/** Many streams on one connection, followed over whatever happens to the network. */
import { Backoff, type BackoffOptions } from "./backoff.js";
import type { Connection } from "./connection.js";
import { ReaderMemory, type Resume } from "./memory.js";
import { ConnectionError } from "./problem.js";
import { AT_ONCE_MS, linked, waitOut, type Offset } from "./stream.js";

/** A key, a partition, or all of a topic; and where to begin in it. */
export type Subscribed = { topic: string; offset?: Offset } & ({ key?: string } | { partition: number });

/** A record of one of them, as the server shows it. */
export interface SubscribedRecord {
  is: "record";
  /** Its number in the list. */
  stream: number;
  topic: string;
  partition?: number;
  key?: string;
  /** The key of a record that is no text. */
  keyBase64?: string;
  offset: number;
  /** The place behind it in its stream. */
  next: Offset;
  timestamp?: number;
  headers?: { name: string; text?: string; base64?: string }[];
  /** What is JSON; else it is `text` or `base64`. A tombstone has none of them. */
  value?: unknown;
  text?: string;
  base64?: string;
}

/** Something else about one of them. */
export interface SubscribedNews {
  /** `gone`: there is a gap, and it goes on at `next`. `end`: it is closed, and all was told. */
  is: "gone" | "end";
  stream: number;
  topic: string;
  partition?: number;
  key?: string;
  next?: Offset;
}

/** All that is kept was told for now. */
export interface SubscribedHere {
  is: "here";
}

export type SubscribedEvent = SubscribedRecord | SubscribedNews | SubscribedHere;

export interface SubscribeOptions {
  /** Remembers the place in all of them behind each event that was taken. Another list has another memory. */
  resume?: Resume;
  backoff?: BackoffOptions;
  /** Is told of each failure that passes, and how long the reader waits. */
  onRetry?: (error: unknown, waitMs: number) => void;
  signal?: AbortSignal;
}

/** Every event, in order, as it comes; ends once all of the streams are closed. See `Stream.follow` for when one was taken. */
export async function* subscribe(
  connection: Connection,
  streams: readonly Subscribed[],
  options: SubscribeOptions = {},
): AsyncGenerator<SubscribedEvent, void, undefined> {
  const { signal, end } = linked(options.signal);
  const body = JSON.stringify({ streams });
  const backoff = new Backoff(options.backoff);
  let memory: ReaderMemory | undefined;
  let place: string | undefined;
  const open = new Set(streams.keys());
  try {
    signal.throwIfAborted();
    if (options.resume !== undefined) [memory, place] = await ReaderMemory.open(options.resume, body, signal);
    while (open.size > 0) {
      const [openedMs, first] = [Date.now(), place];
      try {
        const headers = { "content-type": "application/json", accept: "text/event-stream" };
        const request = { method: "QUERY", path: "/v1/subscribe", query: { offset: place }, headers, body, signal };
        const { events } = await connection.open(request);
        for await (const some of events) {
          backoff.reset();
          for (const { event, data, id } of some) {
            const told = read(event, data);
            // After a new beginning the end of a stream is told again.
            if (told !== undefined && (told.is !== "end" || open.has(told.stream))) yield told;
            // Whoever was not wholly told is told again after the next beginning.
            if (id !== undefined && id !== place) await memory?.put(id);
            place = id ?? place;
            if (told?.is === "end") open.delete(told.stream);
          }
        }
        const isAtOnce = place === first && Date.now() - openedMs < AT_ONCE_MS;
        if (isAtOnce && open.size > 0) throw new ConnectionError("the connection was ended at once");
      } catch (error) {
        await waitOut(error, backoff, options, signal);
      }
    }
  } finally {
    end();
    memory?.close();
  }
}

function read(event: string, data: string): SubscribedEvent | undefined {
  if (event === "here") return { is: "here" };
  // An id alone is a place, and a name that is not known yet is of a later server.
  if (data === "" || !["", "gone", "end"].includes(event)) return undefined;
  return { is: event === "" ? "record" : event, ...(JSON.parse(data) as object) } as SubscribedEvent;
}
