/** Server-sent events (WHATWG HTML, section 9.2) out of the bytes of an answer. It neither connects nor comes again. */
import { ConnectionError } from "./problem.js";

/** One event; `id` is the last that was told so far. */
export interface ServerEvent {
  event: string;
  data: string;
  id: string | undefined;
}

/** No event may be longer: what has no end must not fill the memory. */
const EVENT_CHARACTERS_MAX = 64 * 1024 * 1024;

/** Takes text as it comes and gives events when they are whole. What is cut off before its blank line is no event. */
export class EventParser {
  #rest = "";
  #length = 0;
  #data: string[] = [];
  #event = "";
  #id: string | undefined;
  #hasNewId = false;
  #skipsLineFeed = false;
  #isFirst = true;

  /** The events that are whole now. An id alone is an event without data, for it is a place. */
  push(text: string): ServerEvent[] {
    if (this.#isFirst && text.length > 0) {
      this.#isFirst = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    if (this.#skipsLineFeed && text.length > 0) {
      this.#skipsLineFeed = false;
      if (text.startsWith("\n")) text = text.slice(1);
    }
    const whole: ServerEvent[] = [];
    let from = 0;
    for (const end of text.matchAll(/\r\n|\r|\n/g)) {
      const line = this.#rest + text.slice(from, end.index);
      this.#rest = "";
      from = end.index + end[0].length;
      this.#skipsLineFeed = end[0] === "\r" && from === text.length;
      this.#take(line, whole);
    }
    this.#rest += text.slice(from);
    if (this.#length + this.#rest.length > EVENT_CHARACTERS_MAX) throw new ConnectionError("an event without end");
    return whole;
  }

  #take(line: string, whole: ServerEvent[]): void {
    if (line === "") {
      const hasIdAlone = this.#data.length === 0 && this.#hasNewId;
      if (this.#data.length > 0 || this.#event !== "" || hasIdAlone) {
        whole.push({ event: this.#event, data: this.#data.join("\n"), id: this.#id });
      }
      [this.#data, this.#event, this.#length, this.#hasNewId] = [[], "", 0, false];
      return;
    }
    this.#length += line.length;
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) {
      this.#id = value;
      this.#hasNewId = true;
    }
  }
}
