// The site: the app, who somebody is (a cookie), and tokens for the gateway, by which a phone reads and writes its own keys only.
// Streams do not pass here: phones ask the gateway.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { code } from "./qr.js";

const { DATA, GATEWAY, ADDRESS, PORT } = process.env;
const key = Buffer.from(JSON.parse(readFileSync(join(DATA, "keys.json"), "utf8")).keys[0].k, "base64url");
const client = join(import.meta.dirname, "../../../clients/typescript/dist");

/** What each may do, always with the key that is its own name. */
const GRANTS = {
  rider: [["read", "create", "rides"], ["append", "create", "ride-requests"]],
  driver: [["read", "create", "driver-jobs"], ["append", "create", "driver-status"]],
};
const TOKEN_SECONDS = 300;

function sign(text) {
  return createHmac("sha256", key).update(text).digest("base64url");
}

function token(id, role) {
  const od = GRANTS[role].map((words) => ({ do: words.slice(0, -1), topic: words.at(-1), key: "${sub}", rate: "20/s", max_bytes: 4096 }));
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const said = `${part({ alg: "HS256" })}.${part({ sub: id, exp: Math.floor(Date.now() / 1000) + TOKEN_SECONDS, od })}`;
  return `${said}.${sign(said)}`;
}

/** Who the cookie says it is, if it was made here. */
function known(request, role) {
  const cookies = Object.fromEntries((request.headers.cookie ?? "").split(";").map((one) => one.trim().split("=")));
  const [id, mac] = (cookies[role] ?? "").split(".");
  const [given, right] = [Buffer.from(mac ?? ""), Buffer.from(sign(`session ${id}`))];
  return given.length === right.length && timingSafeEqual(given, right) ? id : undefined;
}

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, "http://site");
  const role = searchParams.get("role");
  const send = (type, body, headers = {}) => response.writeHead(200, { "content-type": type, ...headers }).end(body);
  if (pathname === "/") return send("text/html", await readFile(join(import.meta.dirname, "index.html")));
  if (pathname === "/app.js") return send("text/javascript", await readFile(join(DATA, "web/app.js")));
  if (/^\/client\/[\w-]+\.js$/.test(pathname)) return send("text/javascript", await readFile(join(client, pathname.slice(8))));
  if (pathname === "/qr.svg") return send("image/svg+xml", code(`http://${ADDRESS}:${server.address().port}/`).createSvgTag({ scalable: true }));
  if (pathname === "/session" && Object.hasOwn(GRANTS, role)) {
    const id = known(request, role) ?? `${role}-${randomBytes(4).toString("hex")}`;
    const cookie = `${role}=${id}.${sign(`session ${id}`)}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000`;
    return send("application/json", JSON.stringify({ id, gateway: GATEWAY }), { "set-cookie": cookie, "cache-control": "no-store" });
  }
  if (pathname === "/token" && Object.hasOwn(GRANTS, role)) {
    const id = known(request, role);
    if (id !== undefined) return send("text/plain", token(id, role), { "cache-control": "no-store" });
    return response.writeHead(401).end();
  }
  return response.writeHead(404).end();
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.log(String(error));
    response.destroy();
  });
});
server.listen(Number(PORT), "0.0.0.0", () => console.log(`listening web 0.0.0.0:${server.address().port}`));
