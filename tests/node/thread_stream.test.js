// All runs of a thread as one stream, with the newest JavaScript SDK: `client.threads.joinStream`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clientOf, eventually, failingFetch, url } from "./stack.js";

const client = clientOf(url);

test("one thread stream shows all runs of a thread, over broken connections too", async () => {
  const { thread_id: thread } = await client.threads.create();
  const failing = failingFetch({ afterEvents: 3, drops: 2 });
  const leaving = new AbortController();
  const seen = [];
  const reading = (async () => {
    const stream = clientOf(url, { fetch: failing }).threads.joinStream(thread, {
      lastEventId: "-",
      signal: leaving.signal,
    });
    for await (const part of stream) seen.push(part);
  })();
  reading.catch(() => undefined);
  const runs = [];
  for (let turn = 0; turn < 3; turn += 1) {
    const run = await client.runs.create(thread, "steps", {
      input: { steps: 2 },
      streamMode: ["updates"],
      streamResumable: true,
      multitaskStrategy: "enqueue",
    });
    runs.push(run.run_id);
  }
  const done = () => seen.filter(({ data }) => data.status === "run_done");
  await eventually(() => done().length === 3, () => JSON.stringify(seen));
  leaving.abort();
  await reading.catch(() => undefined);
  assert.deepEqual(done().map(({ data }) => data.run_id), runs);
  const numbers = seen.map(({ id }) => Number(id.split("-")[0]));
  assert.deepEqual(numbers, numbers.map((_, i) => i + 1), "one after another over all runs");
  const updates = seen.filter(({ event }) => event === "updates");
  assert.deepEqual(updates.map(({ data }) => data.step.count), [1, 2, 3, 4]);
});
