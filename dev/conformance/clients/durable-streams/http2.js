// Node's own HTTP/2 client: one connection on which many readers follow a stream while it is appended to.
// node http2.js STREAM-URL READERS; what it has seen is told as JSON.
import { connect } from "node:http2";
import { readFileSync } from "node:fs";

const url = new URL(process.argv[2]);
const readers = Number(process.argv[3]);
const session = connect(url.origin, { ca: readFileSync(process.env.NODE_EXTRA_CA_CERTS) });
const fail = (error) => {
  console.error(error);
  process.exit(1);
};
session.on("error", fail);

/** One request; its headers, and its body as a stream of texts. */
function ask(method, headers, body) {
  const request = session.request({ ":method": method, ":path": url.pathname, ...headers });
  request.setEncoding("utf8");
  request.on("error", fail);
  request.end(body);
  return new Promise((resolve) => request.on("response", (head) => resolve({ head, request })));
}

async function text({ head, request }) {
  let all = "";
  for await (const part of request) all += part;
  return { status: head[":status"], head, body: all };
}

/** Reads until the text is there. */
function until(request, wanted) {
  let all = "";
  return new Promise((resolve, reject) => {
    request.on("data", (part) => {
      all += part;
      if (all.includes(wanted)) resolve(all);
    });
    request.on("end", () => reject(new Error(`it ends before ${wanted}: ${all}`)));
  });
}

const plain = { "content-type": "text/plain" };
const created = await text(await ask("PUT", plain, "one"));
const followed = await Promise.all(
  Array.from({ length: readers }, () => ask("GET", { accept: "text/event-stream" })),
);
const seen = followed.map(({ request }) => until(request, "data:two\n"));
const posted = await text(await ask("POST", plain, "two"));
const events = await Promise.all(seen);
followed.forEach(({ request }) => request.removeAllListeners("end").close());
const read = await text(await ask("GET", {}));
console.log(
  JSON.stringify({
    created: created.status,
    location: created.head.location,
    posted: posted.status,
    whole: events.filter((all) => all.includes("data:one\n")).length,
    read: read.body,
  }),
);
session.close();
