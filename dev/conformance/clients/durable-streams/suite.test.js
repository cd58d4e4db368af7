// The suite as its project ships it; vitest looks for no tests inside of node_modules, and so finds it here.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.STREAMS_URL });
