/** All that a program uses; what needs Node is in `@odradek/client/node`. */
export { Client } from "./client.js";
export type { ConnectionOptions, TokenReason, TokenSource } from "./connection.js";
export type { BackoffOptions } from "./backoff.js";
export { ConnectionError, OdradekError, Problem, QueueFullError, TakenOverError, isPassing } from "./problem.js";
export type { ProblemData, ProblemKind } from "./problem.js";
export { Stream } from "./stream.js";
export type {
  Appended, AppendOptions, Chunk, CreateOptions, FollowOptions, Offset, Producer, StreamInfo, StreamOptions, StreamRecord,
} from "./stream.js";
export type {
  Subscribed, SubscribedEvent, SubscribedHere, SubscribedNews, SubscribedRecord, SubscribeOptions,
} from "./subscription.js";
export type { Latest, LatestOptions } from "./latest.js";
export { OfflineQueue } from "./queue.js";
export type { Kept, QueueOptions } from "./queue.js";
export type { Refused } from "./outbox.js";
export type { Resume } from "./memory.js";
export { MemoryStore } from "./store.js";
export type { News, Store, Stored, Transaction } from "./store.js";
export { IndexedDbStore } from "./indexeddb.js";
export { EventParser } from "./events.js";
export type { ServerEvent } from "./events.js";
