/** A process that queues numbers one after the other until it is killed, and tells each that was kept. Started by `queue.test`. */
import { Client } from "@odradek/client";
import { FileStore } from "@odradek/client/node";

const [url, journal, key] = process.argv.slice(2) as [string, string, string];
const store = await FileStore.open(journal);
const client = new Client({ url });
const queue = client.queue({ store, backoff: { firstMs: 5, mostMs: 50 } });
const stream = client.stream<number>("rides", key);
// Ids count what was kept, by all processes before.
const totals = await store.transaction((transaction) => transaction.get("queue totals"));
for (let at = (totals as { lastId: number } | undefined)?.lastId ?? 0; ; at += 1) {
  const { id } = await queue.append(stream, at);
  if (id !== at + 1) throw new Error(`${at} was kept as ${id}`);
  console.log(at);
}
