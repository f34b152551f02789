// The newest React `useStream`, rendered without a browser, as a page uses it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { textsOf, visit } from "./page.js";
import { useMessageMetadata, useMessages, useSubmissionQueue } from "@langchain/react";
import { createElement } from "react";

import { clientOf, deskUrl, eventually, overBoth, url } from "./stack.js";

const client = clientOf(url);
const spoken = (n) => Array.from({ length: n }, (_, i) => `t${i} `).join("");
const say = (content) => ({ messages: [{ type: "human", content }] });
test("a page shows an answer growing, then done", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "tokens", ...options }, t);
  page.submit({ n: 60, pause_s: 0.03 });
  await page.until(({ isLoading }) => isLoading);
  await page.until(({ isLoading, messages }) => !isLoading && messages.length === 1);
  assert.deepEqual(textsOf(page.stream.messages), [spoken(60)]);
  const grown = new Set(page.seen.map(({ texts }) => texts.at(-1)).filter(Boolean));
  assert.ok(grown.size > 20, `${grown.size} steps of growing`);
  assert.equal(page.stream.error, undefined);
  assert.equal(page.stream.values.messages.length, 1);
  assert.equal((await client.threads.get(page.threadId)).status, "idle");
}));

test("a follow-up goes on with what was said", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "messages", ...options }, t);
  page.submit(say("one"));
  await page.until(({ isLoading, messages }) => !isLoading && messages.length === 2);
  page.submit(say("two"));
  await page.until(({ isLoading, messages }) => !isLoading && messages.length === 4);
  assert.deepEqual(page.stream.messages.map((message) => message.type), ["human", "ai", "human", "ai"]);
  const ids = page.stream.messages.map(({ id }) => id);
  assert.equal(new Set(ids).size, 4);
}));

test("a question is shown, answered, and gone", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "approval", ...options }, t);
  page.submit({ question: "sure?" });
  await page.until(({ interrupt, isLoading }) => interrupt && !isLoading);
  assert.deepEqual(page.stream.interrupt.value, { question: "sure?" });
  await page.stream.respond("yes");
  await page.until(({ values, isLoading }) => values.answer === "yes" && !isLoading);
  assert.deepEqual(page.stream.interrupts, []);
}));

test("two questions are answered together", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "two_approvals", ...options }, t);
  page.submit({});
  await page.until(({ interrupts, isLoading }) => interrupts.length === 2 && !isLoading);
  const answers = page.stream.interrupts.map(({ id, value }) => [id, `yes to ${value}`]);
  await page.stream.respondAll(Object.fromEntries(answers));
  await page.until(({ values, isLoading }) => values.is_joined && !isLoading);
  assert.deepEqual(page.stream.values.answers, { left: "yes to left?", right: "yes to right?" });
}));

test("a page that stops its run is free at once, and so is the server", overBoth(async (options, t) => {
  const runs = [];
  const onCreated = ({ runId }) => runs.push(runId);
  const page = await visit({ assistantId: "tokens", onCreated, ...options }, t);
  page.submit({ n: 2000, pause_s: 0.02 });
  await page.until(({ messages }) => messages.length === 1 && messages[0].text.length > 20);
  await page.stream.stop();
  await page.until(({ isLoading }) => !isLoading);
  await eventually(async () => {
    const [run] = await client.runs.list(page.threadId);
    return run.status === "interrupted";
  });
  page.submit({ n: 3, pause_s: 0 });
  await page.until(({ isLoading, messages }) => !isLoading && textsOf(messages).includes(spoken(3)));
}));

test("a page that is loaded again in the middle shows the run to its end", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "tokens", ...options }, t);
  page.submit({ n: 100, pause_s: 0.02 });
  await page.until(({ messages }) => messages.length === 1 && messages[0].text.length > 20);
  page.leave();
  const again = await visit({ assistantId: "tokens", threadId: page.threadId, ...options }, t);
  await again.until(({ isLoading }) => isLoading);
  await again.until(({ isLoading, messages }) => !isLoading && messages.length === 1);
  assert.deepEqual(textsOf(again.stream.messages), [spoken(100)]);
}));

test("a page that is loaded again later shows what was, and asks what was asked", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "approval", ...options }, t);
  page.submit({ question: "sure?" });
  await page.until(({ interrupt, isLoading }) => interrupt && !isLoading);
  page.leave();
  const again = await visit({ assistantId: "approval", threadId: page.threadId, ...options }, t);
  await again.until(({ interrupt, values }) => interrupt && values.question === "sure?");
  await again.stream.respond("yes", { interruptId: again.stream.interrupt.id });
  await again.until(({ values, isLoading }) => values.answer === "yes" && !isLoading);
  again.leave();
  const last = await visit({ assistantId: "approval", threadId: page.threadId, ...options }, t);
  await last.until(({ values, isLoading }) => values.answer === "yes" && !isLoading);
  assert.deepEqual(last.stream.interrupts, []);
}));

test("a run that fails shows why", overBoth(async (options, t) => {
  const page = await visit({ assistantId: "raises", ...options }, t);
  page.submit({ message: "boom" });
  await page.until(({ error, isLoading }) => error && !isLoading);
  assert.match(String(page.stream.error), /boom/);
}));

test("a deep agent's page shows its tools, its sub-agent's words and its approval", overBoth(async (options, t) => {
  function SubagentCard({ stream, subagent, page }) {
    page.card = textsOf(useMessages(stream, subagent));
    return null;
  }
  const inside = ({ stream, page }) =>
    [...stream.subagents.values()].map((subagent) =>
      createElement(SubagentCard, { key: subagent.id, stream, subagent, page }),
    );
  const desk = { assistantId: "support-desk", apiUrl: deskUrl, ...options };
  const page = await visit(desk, t, { inside });
  page.submit(say("I want a refund for order 1042"));
  await page.until(({ interrupt, isLoading }) => interrupt && !isLoading);

  const check = ({ stream }) => {
    const [subagent, ...others] = stream.subagents.values();
    assert.equal(others.length, 0);
    assert.equal(subagent.name, "policy-checker");
    assert.equal(subagent.status, "complete");
    assert.match(subagent.taskInput, /Order 1042/);
    const names = stream.toolCalls.map(({ name, status }) => [name, status]);
    assert.deepEqual(names.slice(0, 2), [["look_up_order", "finished"], ["task", "finished"]]);
    assert.equal(stream.interrupt.value.action_requests[0].name, "refund_order");
  };
  check(page);
  const isTold = () => page.card?.some((text) => text.startsWith("Allowed:"));
  await page.until(isTold);
  // What a sub-agent says is not the agent's own word.
  const own = page.stream.messages.filter(({ type }) => type === "ai");
  assert.ok(!textsOf(own).some((text) => text.startsWith("Allowed:")), textsOf(own).join());

  await page.stream.respond({ decisions: [{ type: "approve" }] });
  await page.until(({ isLoading, messages }) => !isLoading && /what came of your refund/.test(messages.at(-1).text));

  page.leave();
  const again = await visit({ ...desk, threadId: page.threadId }, t, { inside });
  const told = page.stream.messages.length;
  await again.until(({ subagents, messages }) => subagents.size === 1 && messages.length === told);
  assert.deepEqual(textsOf(again.stream.messages), textsOf(page.stream.messages));
}));

test("what is said while the agent is busy waits in the queue", overBoth(async (options, t) => {
  const inside = ({ stream, page }) => {
    page.queue = useSubmissionQueue(stream);
    return null;
  };
  const page = await visit({ assistantId: "tokens", ...options }, t, { inside });
  page.submit({ n: 50, pause_s: 0.02 });
  await page.until(({ messages }) => messages.length === 1);
  page.submit({ n: 5, pause_s: 0 }, { multitaskStrategy: "enqueue" });
  await page.until(() => page.queue.size === 1);
  await page.until(({ isLoading, messages }) => !isLoading && messages.length === 2);
  assert.deepEqual(textsOf(page.stream.messages), [spoken(50), spoken(5)]);
  assert.equal(page.queue.size, 0);
}));

test("an answer can be given anew, from where it was asked for", overBoth(async (options, t) => {
  const inside = ({ stream, page }) => {
    page.metadata = useMessageMetadata(stream, stream.messages[3]?.id);
    return null;
  };
  const page = await visit({ assistantId: "messages", ...options }, t, { inside });
  page.submit(say("one"));
  await page.until(({ isLoading, messages }) => !isLoading && messages.length === 2);
  page.submit(say("two"));
  await page.until(({ isLoading, messages }) => !isLoading && messages.length === 4);
  const before = page.stream.messages.map(({ id }) => id);
  await page.until(() => page.metadata?.parentCheckpointId);
  page.submit(null, { forkFrom: page.metadata.parentCheckpointId });
  await page.until(
    ({ isLoading, messages }) => !isLoading && messages.length === 4 && messages[3].id !== before[3],
  );
  const after = page.stream.messages.map(({ id }) => id);
  assert.deepEqual(after.slice(0, 3), before.slice(0, 3));
  assert.equal(page.stream.messages[3].text, "echo: two");
}));
