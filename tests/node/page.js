// A page that shows a stream: `useStream` rendered without a browser.

import "./production.js";
import { useStream } from "@langchain/react";
import { createElement } from "react";
import { create } from "react-test-renderer";

import { eventually, url } from "./stack.js";

export const textsOf = (messages) => messages.map((message) => message.text);

/**
 * `page.stream` is what the page shows now, `page.seen` all that it has shown; `inside(props)` may
 * be a component with more hooks. `leave` unmounts it, which is also what a reload does to a page.
 */
export async function visit(options, t, { inside } = {}) {
  const page = { stream: undefined, seen: [], threadId: options.threadId };
  const onThreadId = (id) => (page.threadId = id);
  function Page() {
    const stream = useStream({ apiUrl: url, apiKey: null, onThreadId, ...options });
    page.stream = stream;
    page.seen.push({ isLoading: stream.isLoading, texts: textsOf(stream.messages) });
    return inside ? createElement(inside, { stream, page }) : null;
  }
  const root = create(createElement(Page));
  page.leave = () => root.unmount();
  page.until = (ask) =>
    eventually(
      () => page.stream && ask(page.stream),
      () => {
        const { error, interrupts, values } = page.stream ?? {};
        return JSON.stringify({ ...page.seen.at(-1), error: String(error), interrupts, values });
      },
    );
  page.submit = (input, more) => {
    // It is over when the run is; a page does not wait for it either.
    page.stream.submit(input, more).catch(() => undefined);
  };
  t.after(page.leave);
  await page.until(({ isThreadLoading }) => !isThreadLoading);
  return page;
}
