/**
 * What may go wrong: an answer that is a problem (RFC 9457), or no whole answer at all. What passes by itself is tried again by
 * readers and queues; what does not is thrown to whoever asked.
 */

/** All errors of this package. An abort by the caller's own signal is thrown as that signal's reason. */
export class OdradekError extends Error {
  override name = "OdradekError";
}

/** No answer came, or half of one: the network is away, a connection was cut, the server took too long. */
export class ConnectionError extends OdradekError {
  override name = "ConnectionError";
}

/** The queue holds as much as it may; nothing was kept. */
export class QueueFullError extends OdradekError {
  override name = "QueueFullError";
}

/** Another reader has taken over the memory of this one: it goes on there. */
export class TakenOverError extends OdradekError {
  override name = "TakenOverError";
}

/** The last part of a problem's `type`. The list is of those that programs act on; a server may have more. */
export type ProblemKind =
  | "no-token" | "bad-token" | "not-granted" | "stale-epoch" | "other-origin"
  | "topic-not-found" | "partition-not-found" | "stream-not-found" | "no-value"
  | "stream-closed" | "sequence-gap" | "sequence-not-higher" | "other-configuration" | "other-content-type"
  | "offset-gone" | "stream-deleted" | "other-offset" | "too-large" | "too-slow" | "other-host"
  | "too-many-requests" | "too-many-bodies" | "not-served" | "unavailable" | "busy" | "epoch-begins-with-0"
  | (string & {});

/** What of a problem can be written down and read again. */
export interface ProblemData {
  status: number;
  kind: ProblemKind;
  detail: string;
}

/** An answer that says why not. */
export class Problem extends OdradekError implements ProblemData {
  override name = "Problem";
  /** The status of the answer. */
  readonly status: number;
  /** Which problem it is. */
  readonly kind: ProblemKind;
  /** For people: what was wrong, and what would be right. */
  readonly detail: string;
  /** How long the server asks to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Of `offset-gone`: where what is kept begins. */
  readonly earliest: string | undefined;
  /** Of `other-offset` and `stream-closed`: where the stream ends. */
  readonly end: string | undefined;
  /** Of `sequence-gap`: which sequence is next. */
  readonly expectedSeq: number | undefined;
  /** Of `stale-epoch`: which epoch the producer is in. */
  readonly currentEpoch: number | undefined;

  constructor(data: ProblemData, headers: Headers = new Headers()) {
    super(`${data.status} ${data.kind}: ${data.detail}`);
    this.status = data.status;
    this.kind = data.kind;
    this.detail = data.detail;
    this.retryAfterMs = retryAfter(headers);
    this.earliest = headers.get("stream-earliest-offset") ?? undefined;
    this.end = headers.get("stream-next-offset") ?? undefined;
    this.expectedSeq = whole(headers.get("producer-expected-seq"));
    this.currentEpoch = whole(headers.get("producer-epoch"));
  }

  /** Reads an answer that is none of those that were hoped for. */
  static of(status: number, headers: Headers, body: Uint8Array): Problem {
    const text = new TextDecoder().decode(body.subarray(0, 65536));
    const said = headers.get("content-type")?.startsWith("application/problem+json") ? fields(text) : {};
    const type = typeof said["type"] === "string" ? said["type"] : "";
    const kind = type.slice(type.lastIndexOf("/") + 1) || `status-${status}`;
    const detail = typeof said["detail"] === "string" ? said["detail"] : text.slice(0, 200);
    return new Problem({ status, kind, detail }, headers);
  }
}

/** Whether the same request may well succeed later. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  // A token can be renewed, though not by waiting alone.
  return error instanceof Problem && [401, 408, 429, 500, 502, 503, 504].includes(error.status);
}

/** Whether it is sure that the server did not take what it refused so. */
export function isSurelyNotTaken(error: unknown): boolean {
  return error instanceof Problem && error.status < 500;
}

function fields(text: string): Record<string, unknown> {
  try {
    const read: unknown = JSON.parse(text);
    return typeof read === "object" && read !== null ? (read as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function whole(text: string | null): number | undefined {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** `Retry-After` (seconds or a date), else what `RateLimit` says of a limit that is used up. */
function retryAfter(headers: Headers): number | undefined {
  const text = headers.get("retry-after")?.trim();
  if (text !== undefined) {
    const seconds = whole(text);
    if (seconds !== undefined) return seconds * 1000;
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return Math.max(0, at - Date.now());
  }
  return usedUp(headers);
}

/** How long to wait where `RateLimit` says that nothing is left: `"address";r=0;t=3`. */
export function usedUp(headers: Headers): number | undefined {
  let longest: number | undefined;
  for (const item of headers.get("ratelimit")?.split(",") ?? []) {
    const left = whole(/;\s*r=(\d+)/.exec(item)?.[1] ?? null);
    const seconds = whole(/;\s*t=(\d+)/.exec(item)?.[1] ?? null);
    if (left === 0 && seconds !== undefined) longest = Math.max(longest ?? 0, seconds * 1000);
  }
  return longest;
}
