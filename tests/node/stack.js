// The running stack that the environment names, the clients of it, and connections that fail.

import { Client } from "@langchain/langgraph-sdk";
import WebSocket from "ws";

const { BEDPLATE_URL, BEDPLATE_SECOND_URL, BEDPLATE_DESK_URL } = process.env;

/** `tests/graphs` behind two gateways, and `examples/support-desk`. */
export const url = BEDPLATE_URL;
export const secondUrl = BEDPLATE_SECOND_URL;
export const deskUrl = BEDPLATE_DESK_URL;

// Everything here waits for a fact; a fact that does not come is a failure, not a hanging test.
export const PATIENCE_MS = 30_000;

/** A client as its users make it. `fetch` may be one of those below. */
export function clientOf(apiUrl, { fetch } = {}) {
  return new Client({ apiUrl, apiKey: null, callerOptions: fetch ? { fetch } : undefined });
}

/**
 * A `fetch` that lets each event stream go after so many events, for `drops` streams; whoever
 * comes back is sent to the gateways in turn. `log` tells what was asked.
 */
export function failingFetch({ afterEvents = 2, drops = 5 } = {}) {
  const log = [];
  let left = drops;
  async function failing(input, init) {
    const asked = new URL(typeof input === "string" ? input : input.url ?? input.href);
    const target = new URL(asked.pathname + asked.search, log.length % 2 ? secondUrl : url);
    log.push({
      method: init?.method ?? "GET",
      path: asked.pathname,
      lastEventId: new Headers(init?.headers).get("last-event-id"),
      body: typeof init?.body === "string" ? JSON.parse(init.body) : undefined,
    });
    const answer = await fetch(target, init);
    const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream");
    if (!isStream || left === 0) return answer;
    left -= 1;
    return new Response(failingBody(answer.body, afterEvents), answer);
  }
  return Object.assign(failing, { log, dropped: () => drops - left });
}

/** `body` up to about `afterEvents` events, then half of one, and an error that may cost what came
 * just before it, as on a network. */
function failingBody(body, afterEvents) {
  const reader = body.getReader();
  const text = new TextDecoder();
  let held = "";
  let seen = 0;
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) return controller.close();
      held += text.decode(value, { stream: true });
      const frames = held.split("\r\n\r\n");
      held = frames.pop();
      for (const frame of frames) {
        if (seen === afterEvents) {
          controller.enqueue(new TextEncoder().encode(frame.slice(0, frame.length / 2)));
          // What `fetch` throws when a connection breaks under it.
          controller.error(new TypeError("terminated"));
          await reader.cancel();
          return;
        }
        controller.enqueue(new TextEncoder().encode(`${frame}\r\n\r\n`));
        seen += frame.startsWith(":") ? 0 : 1;
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** A browser's WebSocket, which Node 20 has not. `opened` holds all that were made. */
export function webSockets() {
  const opened = [];
  const factory = (address) => {
    const socket = new WebSocket(address);
    opened.push(socket);
    return socket;
  };
  return { factory, opened };
}

/** All of an async iterable, within PATIENCE_MS. */
export async function all(iterable) {
  const found = [];
  await within(
    (async () => {
      for await (const item of iterable) found.push(item);
    })(),
    () => `after ${found.length} items: ${JSON.stringify(found.at(-1))}`,
  );
  return found;
}

/** What `promise` resolves to; an error with `told()` if it does not in PATIENCE_MS. */
export async function within(promise, told = () => "") {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came ${told()}`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Returns what `ask` answers once it is true; asked again and again. */
export async function eventually(ask, told = () => "") {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > until) throw new Error(`not within ${PATIENCE_MS} ms ${told()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Reconnects at once: the waits between them are the SDK's matter, not ours.
const AT_ONCE = { reconnectDelayMs: () => 10 };

const TRANSPORTS = {
  sse: () => ({ ...AT_ONCE, transport: "sse" }),
  websocket: () => ({ ...AT_ONCE, transport: "websocket", webSocketFactory: webSockets().factory }),
};

/** A test over each transport of the event-streaming protocol: `body(options, t)`. */
export function overBoth(body) {
  return async (t) => {
    for (const [name, options] of Object.entries(TRANSPORTS)) {
      try {
        await body(options(), t);
      } catch (error) {
        error.message = `over ${name}: ${error.message}`;
        throw error;
      }
    }
  };
}

/** What is told to a listener of `thread`, in order, until the test is over. */
export function heardOn(thread, t) {
  const heard = [];
  // As it came: the SDK turns the messages in it into objects of its own.
  thread.onEvent((event) => heard.push(structuredClone(event)));
  t.after(() => thread.close());
  return heard;
}

/** The root's lifecycle: `["running", "completed"]`. */
export const lifecycleOf = (events) =>
  events
    .filter(({ method, params }) => method === "lifecycle" && params.namespace.length === 0)
    .map(({ params }) => params.data.event);

const ENDED = new Set(["completed", "failed", "interrupted"]);

/** Returns when `count` runs have ended on `heard`. */
export const ended = (heard, count = 1) =>
  eventually(
    () => lifecycleOf(heard).filter((event) => ENDED.has(event)).length >= count,
    () => `of ${heard.length} events: ${JSON.stringify(heard.slice(-3))}`,
  );
