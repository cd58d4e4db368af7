/** A TCP proxy that cuts connections in the midst of requests and of answers, as its seed says. It changes no byte that it lets through. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** What becomes of a connection: after so many bytes in one direction it is cut in both. */
interface Fate {
  request: number;
  answer: number;
}

export class FlakyProxy {
  /** How many connections were cut in the midst of requests, and of answers. */
  readonly cuts = { request: 0, answer: 0 };
  /** Whether connections are cut; where it is `away`, none is even taken; where it is `deaf`, nothing passes and nothing ends. */
  mood: "calm" | "flaky" | "away" | "deaf" = "flaky";
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #random: number;

  private constructor(target: number, seed: number) {
    // Small seeds have small first numbers.
    this.#random = Math.imul(seed, 0x9e3779b1) | 1;
    this.#server = createServer((client) => this.#take(client, target));
  }

  static async start(target: number, seed: number): Promise<FlakyProxy> {
    const proxy = new FlakyProxy(target, seed);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts all connections that there are. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async end(): Promise<void> {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(client: Socket, target: number): void {
    if (this.mood === "away") {
      client.destroy();
      return;
    }
    const server = connect(target, "127.0.0.1");
    const fate = this.mood === "calm" ? { request: Infinity, answer: Infinity } : this.#fate();
    this.#pass(client, server, fate.request, "request");
    this.#pass(server, client, fate.answer, "answer");
  }

  #pass(from: Socket, to: Socket, most: number, what: "request" | "answer"): void {
    let passed = 0;
    this.#sockets.add(from);
    from.on("data", (bytes) => {
      if (this.mood === "deaf") return;
      const rest = bytes.subarray(0, Math.max(0, most - passed));
      passed += bytes.length;
      if (passed < most) {
        to.write(rest);
        return;
      }
      this.cuts[what] += 1;
      // What came before the cut arrives.
      to.end(rest, () => to.destroySoon());
      from.destroy();
    });
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.end();
    });
  }

  /** Every connection is cut after a few requests: each has 300 to 700 bytes, as its answer has. */
  #fate(): Fate {
    return { request: 1 + (this.#next() % 2500), answer: 1 + (this.#next() % 2500) };
  }

  /** xorshift32. */
  #next(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return this.#random >>> 0;
  }
}
