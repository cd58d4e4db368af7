// `npm start`: installs and starts everything, and shows a phone where to go. Ctrl-C stops all of it; what is under way stays in `.data`.
import { join } from "node:path";
import { Platform } from "./platform.js";

const platform = new Platform(join(import.meta.dirname, ".data"));
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await platform.end();
    process.exit();
  });
}
platform.install();
await platform.start();
// It was installed just now.
const { code } = await import("./web/qr.js");
console.log(code(platform.web).createASCII(1, 2));
console.log(`open ${platform.web} here and on a phone in the same network; Ctrl-C ends it`);
