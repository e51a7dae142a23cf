"use strict";
// The page is written by the hub alone. When something happened, it is asked for again and what differs is taken over,
// node by node: what has the focus or is selected stays. So nothing here makes HTML out of data.
(() => {
  const SPACING_MS = 1000; // two askings are at least this far apart, however many events come
  const EVERY_MS = 5000; // uptime and figures change without an event
  const BUSY_MS = 1000; // and so does a job that is under way
  const ANSWER_MS = 10000;
  const LONGEST_MS = 30000; // the pause between attempts doubles up to this
  const live = document.getElementById("live");
  const build = document.documentElement.dataset.build;

  let due = Infinity, timer = 0, asked = Date.now(), asking = false, again = false, misses = 0;
  let stream = null, followed = "", connected = false;

  const main = () => document.getElementById("main");
  const topics = () => main().dataset.topics || "";
  const pause = (ms, misses) => Math.min(ms * 2 ** misses, LONGEST_MS);

  function tell() {
    let state = "good", text = "Live";
    if (misses) [state, text] = ["bad", "The hub does not answer; trying again"];
    else if (!topics()) [state, text] = ["", "Refreshed every 5 seconds"];
    else if (!connected) [state, text] = ["", "Connecting to the events"];
    live.dataset.state = state;
    if (live.textContent !== text) live.textContent = text; // said aloud only when it changes
  }

  // Taking over what differs ------------------------------------------------------------------------------------

  function take(shown, fresh) {
    if (shown.isEqualNode(fresh)) return;
    if (shown.nodeType !== Node.ELEMENT_NODE) {
      shown.data = fresh.data;
      return;
    }
    for (const { name } of [...shown.attributes]) if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
    const keyed = new Map([...shown.children].filter((c) => c.dataset.key).map((c) => [c.dataset.key, c]));
    let at = shown.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = child.dataset?.key;
      const same = key ? keyed.get(key) : at && !at.dataset?.key && at.nodeName === child.nodeName ? at : null;
      if (same) {
        if (same === at) at = at.nextSibling;
        else shown.insertBefore(same, at);
        take(same, child);
      } else {
        if (key) child.classList.add("new");
        shown.insertBefore(child, at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  // Asking ------------------------------------------------------------------------------------------------------

  function soon(ms = 0) {
    const wanted = Math.max(Date.now() + ms, asked + SPACING_MS);
    if (wanted >= due) return;
    due = wanted;
    clearTimeout(timer);
    timer = setTimeout(ask, wanted - Date.now());
  }

  async function ask() {
    due = Infinity;
    again = asking;
    if (document.hidden || asking) return;
    asking = true;
    asked = Date.now();
    try {
      const response = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      if (fresh.documentElement.dataset.build !== build) return location.reload();
      for (const id of ["summary", "moment", "main"]) take(document.getElementById(id), fresh.getElementById(id));
      misses = 0;
    } catch {
      misses += 1;
    }
    asking = false;
    tell();
    follow();
    if (misses) soon(pause(SPACING_MS, misses));
    else if (again) soon();
    else soon(document.querySelector("[data-busy]") ? BUSY_MS : EVERY_MS);
  }

  // Following the events ----------------------------------------------------------------------------------------
  // Not through EventSource: it hands over only events whose names it was told before, and the hub names each by its
  // topic. Where to resume is no matter here: after a gap the whole page is asked for.

  function follow() {
    const wanted = document.hidden ? "" : topics();
    if (wanted === followed) return;
    followed = wanted;
    if (stream) stream.abort();
    stream = wanted ? new AbortController() : null;
    if (stream) run(stream.signal, wanted);
  }

  async function run(signal, patterns) {
    let failed = 0;
    while (!signal.aborted) {
      const attempt = new AbortController();
      const quit = () => attempt.abort();
      signal.addEventListener("abort", quit);
      const silence_ms = Number(main().dataset.silence) * 1000;
      let watch = setTimeout(quit, silence_ms);
      try {
        const response = await fetch(`/api/events?topics=${encodeURIComponent(patterns)}`, { signal: attempt.signal });
        if (!response.ok) throw new Error(`status ${response.status}`);
        failed = 0;
        connected = true;
        tell();
        soon();
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          clearTimeout(watch);
          watch = setTimeout(quit, silence_ms);
          if (value.split("\n").some((line) => line && line[0] !== ":")) soon(); // anything but a ping
        }
      } catch {
        failed += 1;
      }
      clearTimeout(watch);
      signal.removeEventListener("abort", quit);
      if (signal.aborted) return;
      connected = false;
      tell();
      soon();
      await new Promise((done) => setTimeout(done, pause(SPACING_MS, failed)));
    }
  }

  // A tab in the background asks for nothing and holds no connection: a browser allows six to one hub.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) connected = false;
    follow();
    if (!document.hidden) soon();
    tell();
  });

  tell();
  follow();
  soon(EVERY_MS);
})();
