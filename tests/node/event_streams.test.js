// The event-streaming protocol with the newest JavaScript SDK: `client.threads.stream`.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  all,
  clientOf,
  deskUrl,
  ended,
  eventually,
  failingFetch,
  heardOn,
  lifecycleOf,
  overBoth,
  secondUrl,
  url,
  webSockets,
  within,
} from "./stack.js";

const client = clientOf(url);
const EVERYTHING = [
  "values", "updates", "messages", "tools", "lifecycle", "input", "tasks", "checkpoints", "custom",
];
const spoken = (n) => Array.from({ length: n }, (_, i) => `t${i} `).join("");
const REFUND = { messages: [{ type: "human", content: "I want a refund for order 1042" }] };
const APPROVED = { decisions: [{ type: "approve" }] };

const streamOf = (assistantId, options, t, { threadId, api = client } = {}) => {
  const given = { assistantId, ...options };
  const thread = threadId ? api.threads.stream(threadId, given) : api.threads.stream(given);
  return { thread, heard: heardOn(thread, t) };
};

/** All projections of `names`, each read to its end, and the output. */
const projections = async (thread, names) => {
  const read = names.map((name) => all(thread[name]));
  return Object.fromEntries(names.map((name, i) => [name, read[i]]));
};

/** The text of messages whose stream is over. */
const textsOf = (messages) => Promise.all(messages.map((message) => within(message.text)));

/** No two events under one number or id. (Subscriptions that begin later are told the past later.) */
const assertOnce = (events) => {
  assert.equal(new Set(events.map(({ event_id: id }) => id)).size, events.length, "ids differ");
  assert.equal(new Set(events.map(({ seq }) => seq)).size, events.length, "numbers differ");
};

test("a run makes its thread, streams its words and ends with its output", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("tokens", options, t);
  const read = await projections(thread, ["messages", "values"]);
  const { run_id: run } = await thread.run.start({ input: { n: 20 } });
  const [message] = await read.messages;
  assert.equal(await within(message.text), spoken(20));
  assert.equal((await within(thread.output)).messages.at(-1).text, spoken(20));
  const values = await read.values;
  assert.equal(values.at(-1).messages.at(-1).text, spoken(20));
  assert.deepEqual(lifecycleOf(heard), ["running", "completed"]);
  const deltas = heard.filter(({ params }) => params.data.event === "content-block-delta");
  assert.ok(deltas.length >= 20, `${deltas.length} pieces`);
  assertOnce(heard);
  assert.ok(heard.at(-1).method === "lifecycle", "the end comes after everything else");
  assert.ok(heard.some(({ event_id: id }) => id === `synth:${run}:lc||completed`));
  const kept = await client.threads.get(thread.threadId);
  assert.equal(kept.status, "idle");
  assert.equal(kept.metadata.graph_id, "tokens");
}));

test("words come while the model speaks", overBoth(async (options, t) => {
  const { thread } = streamOf("tokens", options, t);
  const messages = thread.messages[Symbol.asyncIterator]();
  await thread.run.start({ input: { n: 30, pause_s: 0.03 } });
  const { value: message } = await within(messages.next());
  const times = [];
  for await (const _ of message.text) times.push(Date.now());
  assert.ok(times.at(-1) - times[0] > 300, `${times.length} pieces within ${times.at(-1) - times[0]} ms`);
}));

test("a deep agent's tools, sub-agent and approval", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("support-desk", options, t, { api: clientOf(deskUrl) });
  const read = await projections(thread, ["toolCalls", "subagents", "messages"]);
  await thread.run.start({ input: REFUND });
  await ended(heard);

  const calls = await read.toolCalls;
  const lookedUp = calls.find(({ name }) => name === "look_up_order");
  assert.deepEqual(lookedUp.input, { order_id: "1042" });
  assert.match(JSON.stringify(await within(lookedUp.output)), /1042/);

  const [agent] = await read.subagents;
  assert.equal(agent.name, "policy-checker");
  assert.match(await agent.taskInput, /Order 1042/);
  assert.match(JSON.stringify(await within(agent.output)), /Allowed/);

  const texts = await textsOf((await read.messages).filter(({ namespace }) => !namespace.length));
  assert.ok(texts.includes("Let me look that order up."), JSON.stringify(texts));

  assert.ok(thread.interrupted);
  const [asked] = thread.interrupts;
  assert.equal(asked.payload.action_requests[0].name, "refund_order");
  await thread.input.respond({
    interrupt_id: asked.interruptId,
    namespace: asked.namespace,
    response: APPROVED,
  });
  await ended(heard, 2);
  assert.deepEqual(lifecycleOf(heard), ["running", "interrupted", "running", "completed"]);
  const values = heard.filter(({ method, params }) => method === "values" && !params.namespace.length);
  assert.match(JSON.stringify(values.at(-1).params.data.messages.at(-1)), /what came of your refund/);
  assertOnce(heard);
}));

test("a sub-agent's own words and tools can be read from its handle", overBoth(async (options, t) => {
  const { thread } = streamOf("support-desk", options, t, { api: clientOf(deskUrl) });
  const agents = thread.subagents[Symbol.asyncIterator]();
  await thread.run.start({ input: REFUND });
  const { value: agent } = await within(agents.next());
  const [messages, calls] = [all(agent.messages), all(agent.toolCalls)];
  assert.match(JSON.stringify(await within(agent.output)), /Allowed/);
  assert.ok((await calls).some(({ name }) => name === "read_file"));
  assert.ok((await messages).length > 0);
}));

test("a subgraph is discovered with its own values", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("subgraphs", options, t);
  const values = await thread.subscribe({ channels: ["values"], namespaces: [["child"]] });
  const read = await projections(thread, ["subgraphs"]);
  await thread.run.start({ input: {} });
  const [child, ...others] = await read.subgraphs;
  assert.equal(others.length, 0);
  assert.equal(child.name, "child");
  assert.match(child.namespace[0], /^child:/);
  const inner = await all(values);
  assert.ok(inner.length > 0 && inner.every(({ params }) => params.namespace[0].startsWith("child:")));
  assert.deepEqual(inner.at(-1).params.data.visited, ["before", "inner_first", "inner_second"]);
  const steps = heard.filter(({ params }) => params.namespace.length === 1 && params.data.event);
  assert.deepEqual(steps.map(({ params }) => params.data.event), ["started", "completed"]);
}));

test("an interrupt inside a subgraph names its namespace and is answered there", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("subgraphs", options, t);
  await thread.run.start({ input: { asks: true } });
  await ended(heard);
  const [asked] = thread.interrupts;
  assert.equal(asked.payload, "go on inside?");
  await thread.input.respond({
    interrupt_id: asked.interruptId,
    namespace: asked.namespace,
    response: "yes",
  });
  await ended(heard, 2);
  const { values } = await client.threads.getState(thread.threadId);
  assert.equal(values.answer, "yes");
}));

test("two interrupts of one step are answered by one command", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("two_approvals", options, t);
  await thread.run.start({ input: {} });
  await ended(heard);
  const asked = thread.interrupts.map(({ interruptId, payload, namespace }) => ({
    interrupt_id: interruptId,
    namespace,
    response: `yes to ${payload}`,
  }));
  assert.equal(asked.length, 2);
  await thread.input.respond({ responses: asked });
  await ended(heard, 2);
  const { values } = await client.threads.getState(thread.threadId);
  assert.deepEqual(values.answers, { left: "yes to left?", right: "yes to right?" });
  assert.equal(values.is_joined, true);
}));

test("every channel has its events, also those the reference leaves out", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("custom", options, t);
  await thread.subscribe(EVERYTHING);
  await thread.run.start({ input: { n: 2 } });
  await ended(heard);
  // The client hears of the end on a stream of its own, maybe before the wide one has caught up.
  const methods = () => new Set(heard.map(({ method }) => method));
  const wanted = ["lifecycle", "values", "updates", "tasks", "checkpoints", "custom"];
  await eventually(() => wanted.every((method) => methods().has(method)));
  await eventually(() => heard.filter(({ method }) => method === "checkpoints").length >= 3);
  assert.deepEqual(methods(), new Set(wanted));
  const custom = heard.filter(({ method }) => method === "custom");
  assert.deepEqual(custom.map(({ params }) => params.data.payload), [{ step: 1, of: 2 }, { step: 2, of: 2 }]);
  const updates = heard.filter(({ method }) => method === "updates");
  assert.match(JSON.stringify(updates.at(-1).params.data), /done/);
  const checkpoints = heard.filter(({ method }) => method === "checkpoints");
  assert.deepEqual(checkpoints.map(({ params }) => params.data.step), [-1, 0, 1]);
}));

test("a failure says why, to who listens and to who comes later", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("raises", options, t);
  await thread.run.start({ input: { message: "boom" } });
  await ended(heard);
  const late = streamOf("raises", options, t, { threadId: thread.threadId });
  await late.thread.subscribe(["lifecycle"]);
  await ended(late.heard);
  for (const events of [heard, late.heard]) {
    const failed = events.find(({ params }) => params.data.event === "failed");
    assert.equal(failed.params.data.error, "boom");
  }
}));

test("whoever comes later, to whichever gateway, is told the same under the same numbers", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("tokens", options, t);
  await thread.subscribe(EVERYTHING);
  await thread.run.start({ input: { n: 10 } });
  await ended(heard);
  const told = (events) =>
    events.map(({ seq, event_id: id, method, params }) => ({ seq, id, method, params }));
  const late = streamOf("tokens", options, t, { threadId: thread.threadId, api: clientOf(secondUrl) });
  await late.thread.subscribe(EVERYTHING);
  await ended(late.heard);
  assert.deepEqual(told(late.heard), told(heard));
  const seqs = late.heard.map(({ seq }) => seq);
  assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b));
  const narrow = streamOf("tokens", options, t, { threadId: thread.threadId });
  await narrow.thread.subscribe(["messages", "lifecycle"]);
  await ended(narrow.heard);
  const kept = heard.filter(({ method }) => ["messages", "lifecycle"].includes(method));
  assert.deepEqual(told(narrow.heard), told(kept));
}));

test("an event stream that breaks goes on at another gateway without a gap", async (t) => {
  const fetch = failingFetch({ afterEvents: 9, drops: 6 });
  const options = { transport: "sse", fetch, reconnectDelayMs: () => 10, maxReconnectAttempts: 20 };
  const { thread, heard } = streamOf("tokens", options, t);
  await thread.subscribe(EVERYTHING);
  const read = await projections(thread, ["messages"]);
  await thread.run.start({ input: { n: 60, pause_s: 0.02 } });
  await ended(heard);
  assert.equal(fetch.dropped(), 6);
  assert.deepEqual(await textsOf(await read.messages), [spoken(60)]);
  const whole = streamOf("tokens", { transport: "sse" }, t, { threadId: thread.threadId });
  await whole.thread.subscribe(EVERYTHING);
  await ended(whole.heard);
  const ids = (events) => events.map(({ event_id: id }) => id).sort();
  assert.deepEqual(ids(heard), ids(whole.heard));
});

test("a socket that breaks is opened again without a gap", async (t) => {
  const sockets = webSockets();
  const options = {
    transport: "websocket",
    webSocketFactory: sockets.factory,
    reconnectDelayMs: () => 10,
  };
  const { thread, heard } = streamOf("tokens", options, t);
  await thread.subscribe(EVERYTHING);
  const read = await projections(thread, ["messages"]);
  await thread.run.start({ input: { n: 60, pause_s: 0.02 } });
  for (const wanted of [15, 35]) {
    await eventually(() => heard.length >= wanted);
    sockets.opened.at(-1).terminate();
  }
  await ended(heard);
  assert.ok(sockets.opened.length >= 3);
  assert.deepEqual(await textsOf(await read.messages), [spoken(60)]);
  assert.equal(new Set(heard.map(({ event_id: id }) => id)).size, heard.length);
});

test("one stream goes on over follow-ups and over runs that others start", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("messages", options, t);
  const say = (content) => ({ messages: [{ type: "human", content }] });
  await thread.subscribe(EVERYTHING);
  await thread.run.start({ input: say("one") });
  await ended(heard);
  await thread.run.start({ input: say("two") });
  await ended(heard, 2);
  await client.runs.create(thread.threadId, "messages", { input: say("three") });
  await ended(heard, 3);
  assert.deepEqual(lifecycleOf(heard), Array(3).fill(["running", "completed"]).flat());
  const values = heard.filter(({ method, params }) => method === "values" && !params.namespace.length);
  assert.equal(values.at(-1).params.data.messages.length, 6);
  assertOnce(heard);
}));

test("a run that is cancelled ends as interrupted", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("sleeps", options, t);
  const { run_id: run } = await thread.run.start({ input: { seconds: 60 } });
  await eventually(() => lifecycleOf(heard).includes("running"));
  await client.runs.cancel(thread.threadId, run, true);
  await ended(heard);
  assert.deepEqual(lifecycleOf(heard), ["running", "interrupted"]);
}));

test("the tree of agents shows what ran", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("subgraphs", options, t);
  await thread.run.start({ input: {} });
  await ended(heard);
  const { tree } = await thread.agent.getTree();
  assert.deepEqual([tree.namespace, tree.status, tree.graph_name], [[], "completed", "subgraphs"]);
  assert.ok(tree.children.some(({ namespace }) => /^child:/.test(namespace[0])));
}));

test("commands that cannot be carried out say so by name", overBoth(async (options, t) => {
  const { thread } = streamOf("approval", options, t);
  await thread.run.start({ input: {} });
  const refused = (promise, code) => assert.rejects(within(promise), (error) => error.code === code);
  await refused(
    thread.input.respond({ interrupt_id: "0".repeat(32), namespace: [], response: 1 }),
    "no_such_interrupt",
  );
  await refused(thread.state.listCheckpoints({}), "unknown_command");
  const nobody = streamOf("no-such-graph", options, t);
  await assert.rejects(within(nobody.thread.run.start({ input: {} })), /404|422|not/i);
}));

test("a run starts again from a checkpoint of the past", overBoth(async (options, t) => {
  const { thread, heard } = streamOf("steps", options, t);
  await thread.run.start({ input: { steps: 3 } });
  await ended(heard);
  const history = await client.threads.getHistory(thread.threadId);
  const early = history.find(({ values }) => values.log?.length === 1);
  await thread.submitRun({ input: null, forkFrom: early.checkpoint.checkpoint_id });
  await ended(heard, 2);
  const forked = await client.threads.getHistory(thread.threadId);
  assert.ok(forked.length > history.length);
  assert.deepEqual(forked[0].values.log, [1, 2, 3]);
}));
