/** Where a program begins: one server, and what it has. It holds no connection open by itself and needs no closing. */
import { Connection, type ConnectionOptions } from "./connection.js";
import { latest, watchLatest, type Latest, type LatestOptions } from "./latest.js";
import { OfflineQueue, type QueueOptions } from "./queue.js";
import { Stream, type StreamOptions } from "./stream.js";
import { subscribe, type Subscribed, type SubscribedEvent, type SubscribeOptions } from "./subscription.js";

/** See the head of the file. */
export class Client {
  readonly #connection: Connection;

  constructor(options: ConnectionOptions) {
    this.#connection = new Connection(options);
  }

  /** A key of a topic. Nothing is asked of the server yet. */
  stream<T = unknown>(topic: string, key: string, options?: StreamOptions): Stream<T> {
    return new Stream<T>(this.#connection, topic, key, options);
  }

  /** Appends that wait for the network. It sends until it is closed. */
  queue(options: QueueOptions): OfflineQueue {
    return new OfflineQueue(this.#connection, options);
  }

  /** Follows keys, partitions and whole topics on one connection. */
  subscribe(streams: readonly Subscribed[], options?: SubscribeOptions): AsyncGenerator<SubscribedEvent, void, undefined> {
    return subscribe(this.#connection, streams, options);
  }

  /** The last value of a key, or `undefined`. */
  async latest<T = unknown>(topic: string, key: string, signal?: AbortSignal): Promise<Latest<T> | undefined> {
    const told = await latest<T>(this.#connection, topic, key, { signal });
    return told === "same" ? undefined : told;
  }

  /** The last value of a key, and each other one as it comes; `undefined` where there is none. */
  watchLatest<T = unknown>(
    topic: string,
    key: string,
    options?: LatestOptions,
  ): AsyncGenerator<Latest<T> | undefined, void, undefined> {
    return watchLatest<T>(this.#connection, topic, key, options);
  }
}
