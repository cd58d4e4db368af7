/** Values and the bytes that are sent for them, by the content type of a stream. */

/** The content type of streams of JSON values, which is the default. */
export const JSON_TYPE = "application/json";

/** Whether values of the type are JSON. */
export function isJson(type: string): boolean {
  return /^application\/json\s*(;|$)/i.test(type);
}

function isText(type: string): boolean {
  return /^text\//i.test(type);
}

/** One value as it is sent and kept. */
export function encode(type: string, value: unknown): string | Uint8Array {
  if (isJson(type)) {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new TypeError("that is no value of JSON");
    return text;
  }
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  throw new TypeError(`a stream of ${type} takes texts and bytes`);
}

/** Values of JSON as one body: the server takes an array for as many records. */
export function join(bodies: readonly string[]): string {
  return `[${bodies.join(",")}]`;
}

/** The values of a body that was read as a whole. What is no JSON is one value. */
export function decodeAll(type: string, body: Uint8Array): unknown[] {
  if (isJson(type)) return JSON.parse(new TextDecoder().decode(body)) as unknown[];
  if (body.length === 0) return [];
  return [isText(type) ? new TextDecoder().decode(body) : body];
}

/** The value of one event; `encoding` is what the server says of all events. */
export function decodeEvent(type: string, encoding: string | null, data: string): unknown {
  if (encoding === "base64") {
    const bytes = Uint8Array.from(atob(data.replace(/\s/g, "")), (unit) => unit.charCodeAt(0));
    return isText(type) ? new TextDecoder().decode(bytes) : bytes;
  }
  return isJson(type) ? (JSON.parse(data) as unknown) : data;
}
