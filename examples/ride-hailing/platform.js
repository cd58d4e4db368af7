// All that the sample consists of, each a process: Odradek, PostgreSQL, three services, the web server. It installs what they need with
// their own package managers, starts them, and starts again what ends by itself. Used by start.js and by the test.
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const here = import.meta.dirname;
const client = join(here, "../../clients/typescript");

/** Topic and partitions; the key of each is a phone, but for the two in the middle, whose key is a rider too. */
const TOPICS = ["ride-requests", "bookings", "matches", "rides", "driver-status", "driver-jobs"];

export class Platform {
  #data;
  #children = new Map();
  #kafka = "127.0.0.1:0";
  #gateway;
  #web;
  #isEnding = false;
  #log;

  /** `data` is where everything is kept; ports of 0 are any that are free. */
  constructor(data, { gateway = 8080, web = 8000 } = {}) {
    mkdirSync(data, { recursive: true });
    [this.#data, this.#gateway, this.#web] = [data, gateway, web];
    this.#log = openSync(join(data, "log"), "a");
    // Nothing stays behind, however this process ends by itself.
    process.once("exit", () => this.#children.forEach((child) => child.kill("SIGKILL")));
  }

  get gateway() {
    return `http://${address()}:${this.#gateway}`;
  }

  get web() {
    return `http://${address()}:${this.#web}`;
  }

  /** With each package manager, once. */
  install() {
    const run = (program, args, cwd) => execFileSync(program, args, { cwd, stdio: ["ignore", this.#log, "inherit"] });
    this.#once("client", [join(client, "package-lock.json"), ...files(join(client, "src"))], () => {
      run("npm", ["ci", "--no-audit", "--no-fund"], client);
      run("npm", ["run", "build"], client);
    });
    this.#once("web", [join(here, "package-lock.json"), join(here, "web/app.ts")], () => {
      run("npm", ["ci", "--no-audit", "--no-fund"], here);
      run("npx", ["--no-install", "tsc", "-p", "web/tsconfig.json", "--outDir", join(this.#data, "web")], here);
    });
    this.#once("booking", [join(here, "booking/requirements.txt")], () => {
      run("python3", ["-m", "venv", join(this.#data, "python")], here);
      run(join(this.#data, "python/bin/pip"), ["install", "-q", "-r", "booking/requirements.txt"], here);
    });
    this.#once("matching", files(join(here, "matching")), () => {
      run("go", ["build", "-buildvcs=false", "-o", join(this.#data, "matching"), "."], join(here, "matching"));
    });
    this.#once("notification", files(join(here, "notification")), () => {
      const path = join(this.#data, "classpath");
      const plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath";
      run("mvn", ["-q", "-B", "-f", "notification/pom.xml", plugin, "-DincludeScope=runtime", `-Dmdep.outputFile=${path}`], here);
      run("javac", ["-cp", readFileSync(path, "utf8"), "-d", join(this.#data, "java"), "notification/Notification.java"], here);
    });
  }

  /** Starts everything, in the order in which one needs the other. */
  async start() {
    this.#makeKeys();
    await this.startOne("odradek");
    for (const topic of TOPICS) {
      const args = ["topic", "create", topic, "-p", "6", "-b", this.#kafka, "--if-not-exists"];
      execFileSync(odradek(), [...args, "--set", "odradek.stream.content.type=application/json"], { stdio: ["ignore", this.#log, "inherit"] });
    }
    for (const name of ["postgres", "booking", "matching", "notification", "web"]) await this.startOne(name);
  }

  /** Starts one, and waits until it says that it is at work. */
  async startOne(name) {
    if (name === "postgres") this.#makeDatabase();
    const { program, args, env, ready } = this.#commands()[name];
    const child = spawn(program, args, { cwd: here, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    this.#children.set(name, child);
    let tell;
    const isReady = new Promise((resolve) => (tell = resolve));
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on("line", (line) => {
        writeFileSync(this.#log, `${new Date().toISOString()} ${name}: ${line}\n`);
        this.#hear(line);
        if (line.includes(ready)) tell(true);
      });
    }
    const failed = new Promise((resolve) => child.once("error", resolve));
    child.once("exit", () => {
      tell(false);
      if (this.#isEnding || this.#children.get(name) !== child) return;
      console.log(`${name} ended and is started again; see ${join(this.#data, "log")}`);
      setTimeout(() => !this.#isEnding && this.#children.get(name) === child && void this.startOne(name), 1000);
    });
    const outcome = await Promise.race([isReady, failed]);
    if (outcome instanceof Error) throw outcome;
    return outcome;
  }

  /** Stops one, which is not started again; by SIGKILL as a crash would. PostgreSQL's fast shutdown is SIGINT. */
  async stop(name, signal = name === "postgres" ? "SIGINT" : "SIGTERM") {
    const child = this.#children.get(name);
    this.#children.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  async end() {
    this.#isEnding = true;
    for (const name of ["web", "notification", "matching", "booking", "postgres", "odradek"]) await this.stop(name);
  }

  #commands() {
    const data = this.#data;
    const env = { BOOTSTRAP: this.#kafka };
    const settings = [
      `odradek.gateway.tokens.keys.file=${join(data, "keys.json")}`,
      `odradek.gateway.hosts=${address()}`,
      `odradek.gateway.cors.origins=loopback,http://${address()}:${this.#web}`,
    ];
    const set = settings.flatMap((setting) => ["--set", setting]);
    return {
      odradek: {
        program: odradek(),
        args: ["dev", "--data-dir", join(data, "odradek"), "--listen", this.#kafka, "--gateway", `0.0.0.0:${this.#gateway}`,
          "--mqtt", "", "--http", "127.0.0.1:0", ...set],
        ready: "listening HTTP ",
      },
      postgres: {
        ...asPostgres(join(postgres(), "postgres"), ["-D", join(data, "postgres"), "-k", this.#socket(), "-c", "listen_addresses="]),
        ready: "ready to accept connections",
      },
      booking: { program: join(data, "python/bin/python"), args: ["booking/booking.py"], env, ready: "at work" },
      matching: {
        program: join(data, "matching"),
        args: [],
        env: { ...env, DATABASE: `host=${this.#socket()} user=postgres dbname=postgres` },
        ready: "at work",
      },
      notification: {
        program: "java",
        args: ["-Xmx128m", "-cp", `${join(data, "java")}:${existsSync(join(data, "classpath")) ? readFileSync(join(data, "classpath"), "utf8") : ""}`, "Notification"],
        env,
        ready: "at work",
      },
      web: {
        program: process.execPath,
        args: ["web/serve.js"],
        env: { DATA: data, PORT: String(this.#web), GATEWAY: this.gateway, ADDRESS: address() },
        ready: "listening",
      },
    };
  }

  /** Where a process listens it says itself; a free port stays the same over its restarts. */
  #hear(line) {
    const [, what, port] = /^listening (PLAINTEXT|gateway HTTP|web) \S*:(\d+)$/.exec(line) ?? [];
    if (what === "PLAINTEXT") this.#kafka = `127.0.0.1:${port}`;
    if (what === "gateway HTTP") this.#gateway = Number(port);
    if (what === "web") this.#web = Number(port);
  }

  /** The key that signs tokens: the web server signs, the gateway verifies. */
  #makeKeys() {
    const path = join(this.#data, "keys.json");
    if (existsSync(path)) return;
    const key = { kty: "oct", alg: "HS256", k: randomBytes(32).toString("base64url") };
    writeFileSync(path, JSON.stringify({ keys: [key] }), { mode: 0o600 });
  }

  #makeDatabase() {
    const directory = join(this.#data, "postgres");
    if (existsSync(directory)) return;
    mkdirSync(directory, { mode: 0o700 });
    if (process.getuid() === 0) {
      const user = execFileSync("id", ["-u", "postgres"], { encoding: "utf8" });
      chownSync(directory, Number(user), 0);
    }
    const { program, args } = asPostgres(join(postgres(), "initdb"), ["-D", directory, "-U", "postgres", "-A", "trust", "-E", "UTF8"]);
    execFileSync(program, args, { cwd: directory, stdio: ["ignore", this.#log, "inherit"] });
  }

  /** The name of a socket may not be long. */
  #socket() {
    const note = join(this.#data, "socket");
    if (!existsSync(note) || !existsSync(readFileSync(note, "utf8"))) {
      const made = mkdtempSync(join(tmpdir(), "rides-"));
      if (process.getuid() === 0) chownSync(made, Number(execFileSync("id", ["-u", "postgres"], { encoding: "utf8" })), 0);
      chmodSync(made, 0o700);
      writeFileSync(note, made);
    }
    return readFileSync(note, "utf8");
  }

  /** Does it unless it was done with the same files. */
  #once(name, paths, work) {
    const hash = createHash("sha256");
    for (const path of paths) hash.update(readFileSync(path));
    const note = join(this.#data, `${name}.installed`);
    const digest = hash.digest("hex");
    if (existsSync(note) && readFileSync(note, "utf8") === digest) return;
    console.log(`installing ${name}`);
    work();
    writeFileSync(note, digest);
  }
}

/** The address of this machine by which a phone in the same network reaches it. */
function address() {
  const all = Object.values(networkInterfaces()).flat();
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";
}

function files(folder) {
  return readdirSync(folder).sort().map((name) => join(folder, name));
}

function odradek() {
  const built = ["release", "ci-release"].map((profile) => join(here, "../../target", profile, "odradek"));
  const found = process.env.ODRADEK_BIN ?? built.find((path) => existsSync(path));
  if (found === undefined) throw new Error("build it first: cargo build --release; or set ODRADEK_BIN");
  return found;
}

/** Where Debian has PostgreSQL's programs, or wherever `pg_config` says. */
function postgres() {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((one, other) => Number(other) - Number(one)) : [];
  if (versions.length > 0) return join(debian, versions[0], "bin");
  return execFileSync("pg_config", ["--bindir"], { encoding: "utf8" }).trim();
}

/** PostgreSQL refuses to be root. */
function asPostgres(program, args) {
  if (process.getuid() !== 0) return { program, args };
  return { program: "setpriv", args: ["--reuid=postgres", "--regid=postgres", "--clear-groups", program, ...args] };
}
