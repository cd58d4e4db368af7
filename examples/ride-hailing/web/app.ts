/**
 * The app for both, on a phone or anywhere: `#rider` asks for rides and sees what becomes of them, `#driver` is free or not and gets
 * jobs. What is pressed without a network is kept and sent once and in order when it is back, also after the page was closed.
 */
import { Client, IndexedDbStore, type OfflineQueue } from "@odradek/client";

interface Place { x: number; y: number }
interface Ride { ride: string; state: "asked" | "matched" | "done"; driver?: string }
interface Job { ride: string; rider: string }
interface Session { id: string; gateway: string }

const role = location.hash.slice(1);
const find = (id: string) => document.getElementById(id) as HTMLElement;

/** The session is a cookie of this site; the token is for the gateway, and says who this is. */
async function token(_reason: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(`/token?role=${role}`, { signal });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.text();
}

async function session(): Promise<Session> {
  // Without a network it is who it was.
  const name = `session-${role}`;
  try {
    const answer = await fetch(`/session?role=${role}`);
    if (answer.ok) localStorage.setItem(name, await answer.text());
  } catch {
    // It is away.
  }
  const known = localStorage.getItem(name);
  if (known === null) throw new Error("the first time a network is needed");
  return JSON.parse(known) as Session;
}

function button(text: string, press: () => Promise<void>, isPlain = false): HTMLButtonElement {
  const made = document.createElement("button");
  made.textContent = text;
  made.className = isPlain ? "plain" : "";
  made.onclick = () => void press().catch((error: unknown) => show(String(error)));
  return made;
}

function show(text: string): void {
  find("state").textContent = text;
}

function line(id: string, text: string, ...more: HTMLElement[]): void {
  const item = document.getElementById(id) ?? find("list").appendChild(document.createElement("li"));
  item.id = id;
  item.replaceChildren(text, ...more);
}

/** Where this phone is: somewhere in a town of ten by ten. */
function here(): Place {
  return { x: Math.random() * 10, y: Math.random() * 10 };
}

function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function showQueue(queue: OfflineQueue): Promise<void> {
  for (;;) {
    const size = await queue.size();
    show(size === 0 ? "all is sent" : `${size} wait for the network`);
    await new Promise((wait) => setTimeout(wait, 500));
  }
}

async function rider(client: Client, queue: OfflineQueue, id: string): Promise<void> {
  const requests = client.stream("ride-requests", id);
  find("buttons").append(button("Ask for a ride", async () => {
    const ride = newId();
    line(ride, "asking …");
    await queue.append(requests, { ride, place: here() });
  }));
  const texts = { asked: "asked: a driver is looked for", matched: "a driver comes: ", done: "done" };
  await follow<Ride>(client, "rides", id, ({ ride, state, driver }) => line(ride, texts[state] + (driver ?? "")));
}

async function driver(client: Client, queue: OfflineQueue, id: string): Promise<void> {
  const status = client.stream("driver-status", id);
  const say = async (said: object) => void (await queue.append(status, { place: here(), ...said }));
  find("buttons").append(button("I am free", () => say({ free: true })), button("I pause", () => say({ free: false }), true));
  const done = new Set(JSON.parse(localStorage.getItem("done") ?? "[]") as string[]);
  await follow<Job>(client, "driver-jobs", id, (job) => {
    const text = `take ${job.rider}`;
    if (done.has(job.ride)) return line(job.ride, `${text}: done`);
    line(job.ride, text, button("Done, and free again", async () => {
      await say({ free: true, done: job });
      done.add(job.ride);
      localStorage.setItem("done", JSON.stringify([...done]));
      line(job.ride, `${text}: done`);
    }));
  });
}

/** All that a key has, and what comes. */
async function follow<T>(client: Client, topic: string, id: string, take: (value: T) => void): Promise<void> {
  const stream = client.stream<T>(topic, id);
  for (;;) {
    try {
      await stream.create();
      break;
    } catch {
      // Without a network it is made later.
      await new Promise((wait) => setTimeout(wait, 2000));
    }
  }
  for await (const { value } of stream.follow()) if (value !== undefined) take(value);
}

async function main(): Promise<void> {
  if (role !== "rider" && role !== "driver") {
    const go = (to: string) => async () => {
      location.hash = to;
      location.reload();
    };
    find("buttons").append(button("I want a ride", go("rider")), button("I drive", go("driver")));
    find("qr").innerHTML = await (await fetch("/qr.svg")).text();
    return;
  }
  const { id, gateway } = await session();
  find("title").textContent = id;
  const client = new Client({ url: gateway, token });
  const store = await IndexedDbStore.open(`rides-${id}`);
  const queue = client.queue({ store, onRefused: ({ problem }) => show(`refused: ${problem.detail}`) });
  void showQueue(queue);
  await (role === "rider" ? rider(client, queue, id) : driver(client, queue, id));
}

main().catch((error: unknown) => show(String(error)));
