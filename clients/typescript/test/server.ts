/** The real binary, started on free ports, killed, and started again on the same ports and directory. `ODRADEK_BIN` says which. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

export class Server {
  #child: ChildProcess | undefined;
  readonly #directory: string;
  readonly #settings: string[];
  #ports = { kafka: "127.0.0.1:0", gateway: "127.0.0.1:0" };

  private constructor(directory: string, settings: string[]) {
    [this.#directory, this.#settings] = [directory, settings];
  }

  static async start(settings: string[] = []): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), "odradek-client-")), settings);
    await server.startAgain();
    return server;
  }

  get port(): number {
    return Number(this.#ports.gateway.split(":")[1]);
  }

  get url(): string {
    return `http://${this.#ports.gateway}`;
  }

  async startAgain(): Promise<void> {
    const { kafka, gateway } = this.#ports;
    const args = ["dev", "--data-dir", this.#directory, "--listen", kafka, "--gateway", gateway, "--mqtt", "",
      "--http", "127.0.0.1:0"];
    const settings = this.#settings.flatMap((one) => ["--set", one]);
    const child = spawn(binary(), [...args, ...settings], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) {
      const [, what, where] = /^listening (PLAINTEXT|gateway HTTP|HTTP) (\S+)$/.exec(line) ?? [];
      if (what === "PLAINTEXT" && where !== undefined) this.#ports.kafka = where;
      if (what === "gateway HTTP" && where !== undefined) this.#ports.gateway = where;
      if (what === "HTTP") {
        child.stdout.resume();
        return;
      }
    }
    throw new Error("the server ended before it listened");
  }

  async topic(name: string, ...settings: string[]): Promise<string> {
    const set = settings.flatMap((one) => ["--set", one]);
    await promisify(execFile)(binary(), ["topic", "create", name, "-p", "3", "-b", this.#ports.kafka, ...set]);
    return name;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async end(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true });
  }
}

export function binary(): string {
  const path = process.env["ODRADEK_BIN"];
  if (path === undefined) throw new Error("set ODRADEK_BIN: these tests are of the real binary");
  return path;
}
