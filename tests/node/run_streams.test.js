// Run streams with the newest JavaScript SDK: `client.runs.stream` and `joinStream`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { all, clientOf, deskUrl, eventually, failingFetch, secondUrl, url } from "./stack.js";

const client = clientOf(url);
const second = clientOf(secondUrl);

const newThread = async () => (await client.threads.create()).thread_id;
const tokensOf = (parts) =>
  parts.filter(({ event }) => event === "messages").map(({ data }) => data[0].content).join("");
const spoken = (n) => Array.from({ length: n }, (_, i) => `t${i} `).join("");

test("a run stream tells its run first, then every mode by its name", async () => {
  const thread = await newThread();
  let created;
  const parts = await all(
    client.runs.stream(thread, "steps", {
      input: { steps: 2 },
      streamMode: ["values", "updates", "tasks", "checkpoints", "debug"],
      onRunCreated: (run) => (created = run),
    }),
  );
  assert.deepEqual(parts[0], {
    event: "metadata",
    data: { run_id: created.run_id, attempt: 1 },
    id: undefined,
  });
  assert.equal(created.thread_id, thread);
  const names = new Set(parts.map(({ event }) => event));
  assert.deepEqual(
    names,
    new Set(["metadata", "values", "updates", "tasks", "checkpoints", "debug"]),
  );
  assert.deepEqual(parts.filter(({ event }) => event === "values").at(-1).data.log, [1, 2]);
});

test("both kinds of messages say the same", async () => {
  const parts = await all(
    client.runs.stream(await newThread(), "tokens", {
      input: { n: 5 },
      streamMode: ["messages", "messages-tuple"],
    }),
  );
  assert.equal(tokensOf(parts), spoken(5));
  const last = parts.filter(({ event }) => event === "messages/partial").at(-1);
  assert.equal(last.data[0].content, spoken(5));
});

test("events of subgraphs carry their namespace, and only when they are asked for", async () => {
  const asked = { input: {}, streamMode: "updates" };
  const plain = await all(client.runs.stream(null, "subgraphs", asked));
  assert.ok(plain.every(({ event }) => !event.includes("|")));
  const deep = await all(
    client.runs.stream(null, "subgraphs", { ...asked, streamSubgraphs: true }),
  );
  const inner = deep.filter(({ event }) => /^updates\|child:[0-9a-f-]+$/.test(event));
  assert.deepEqual(inner.flatMap(({ data }) => Object.keys(data)), ["inner_first", "inner_second"]);
});

test("custom data, errors and interrupts arrive as they were meant", async () => {
  const custom = await all(
    client.runs.stream(null, "custom", { input: { n: 2 }, streamMode: "custom" }),
  );
  assert.deepEqual(custom.slice(1).map(({ data }) => data), [{ step: 1, of: 2 }, { step: 2, of: 2 }]);

  const failed = await all(client.runs.stream(null, "raises", { input: { message: "boom" } }));
  assert.equal(failed.at(-1).event, "error");
  assert.deepEqual(failed.at(-1).data, { error: "ValueError", message: "boom" });

  const thread = await newThread();
  const asked = await all(
    client.runs.stream(thread, "approval", { input: { question: "sure?" }, streamMode: "values" }),
  );
  assert.deepEqual(asked.at(-1).data.__interrupt__[0].value, { question: "sure?" });
  const answered = await all(
    client.runs.stream(thread, "approval", { command: { resume: "yes" }, streamMode: "values" }),
  );
  assert.equal(answered.at(-1).data.answer, "yes");
});

test("a stream whose connection breaks goes on at another gateway without a gap", async () => {
  const failing = failingFetch({ afterEvents: 7, drops: 2 });
  const parts = await all(
    clientOf(url, { fetch: failing }).runs.stream(await newThread(), "tokens", {
      input: { n: 60, pause_s: 0.02 },
      streamMode: "messages-tuple",
      streamResumable: true,
    }),
  );
  assert.equal(failing.dropped(), 2);
  assert.equal(tokensOf(parts), spoken(60));
  const ids = parts.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  const resumed = failing.log.filter(({ lastEventId }) => lastEventId);
  assert.ok(resumed.length >= 2 && resumed.every(({ path }) => path.endsWith("/stream")));
});

test("whoever joins from the start, from an id or later sees the same events", async () => {
  const thread = await newThread();
  const { run_id: run } = await client.runs.create(thread, "tokens", {
    input: { n: 50, pause_s: 0.02 },
    streamMode: ["messages-tuple", "values"],
    streamResumable: true,
  });
  const join = (from, lastEventId) => all(from.runs.joinStream(thread, run, { lastEventId }));
  const [live, other] = await Promise.all([join(client, "-1"), join(second, "-1")]);
  assert.deepEqual(live, other);
  assert.equal(tokensOf(live), spoken(50));
  // The run is over: what is kept is told again, the same on every gateway.
  assert.deepEqual(await join(second, "-1"), live);
  assert.deepEqual(await join(second, live[20].id), live.slice(21));
  assert.deepEqual(await join(client, live.at(-1).id), []);
  assert.deepEqual(await join(client, undefined), []);
});

test("a reader of one mode sees only that, and another one of the same run the rest", async () => {
  const thread = await newThread();
  const { run_id: run } = await client.runs.create(thread, "steps", {
    input: { steps: 3 },
    streamMode: ["values", "updates"],
    streamResumable: true,
  });
  const read = async (streamMode) => {
    const parts = await all(
      client.runs.joinStream(thread, run, { lastEventId: "-1", streamMode }),
    );
    return new Set(parts.map(({ event }) => event));
  };
  assert.deepEqual(await read("updates"), new Set(["metadata", "updates"]));
  assert.deepEqual(await read(["values"]), new Set(["metadata", "values"]));
  assert.deepEqual(await read(undefined), new Set(["metadata", "values", "updates"]));
});

test("a client that leaves takes its run along only if it said so", async () => {
  const statusAfterLeaving = async (onDisconnect) => {
    const thread = await newThread();
    const leaving = new AbortController();
    let run;
    const reading = all(
      client.runs.stream(thread, "sleeps", {
        input: { seconds: 60 },
        onDisconnect,
        signal: leaving.signal,
        onRunCreated: (created) => (run = created.run_id),
      }),
    );
    reading.catch(() => undefined);
    await eventually(() => run);
    await eventually(async () => (await client.runs.get(thread, run)).status === "running");
    leaving.abort();
    await reading.catch(() => undefined);
    return { status: async () => (await client.runs.get(thread, run)).status, thread, run };
  };
  const left = await statusAfterLeaving("cancel");
  await eventually(async () => (await left.status()) === "interrupted");
  const staying = await statusAfterLeaving("continue");
  assert.equal(await staying.status(), "running");
  await client.runs.cancel(staying.thread, staying.run, true);
  assert.equal(await staying.status(), "interrupted");
});

test("a deep agent streams its words, its tools and its sub-agent", async () => {
  const desk = clientOf(deskUrl);
  const { thread_id: thread } = await desk.threads.create();
  const parts = await all(
    desk.runs.stream(thread, "support-desk", {
      input: { messages: [{ role: "user", content: "I want a refund for order 1042" }] },
      streamMode: ["messages-tuple", "updates", "values"],
      streamSubgraphs: true,
    }),
  );
  const kinds = new Set(
    parts.filter(({ event }) => event.startsWith("messages")).map(({ data }) => data[0].type),
  );
  assert.ok(kinds.has("AIMessageChunk") && kinds.has("tool"));
  assert.ok(parts.some(({ event }) => event.startsWith("messages|tools:")), "of the sub-agent");
  const [asked] = parts.filter(({ event }) => event === "values").at(-1).data.__interrupt__;
  assert.equal(asked.value.action_requests[0].name, "refund_order");
  const answer = await desk.runs.wait(thread, "support-desk", {
    command: { resume: { decisions: [{ type: "approve" }] } },
  });
  assert.match(answer.messages.at(-1).content, /what came of your refund/);
});
