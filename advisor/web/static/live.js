// Keeps what is shown current. One connection a browser: the tab that holds the lock listens and tells the others. A tab
// that nobody sees neither listens nor loads anything; it catches up when it is looked at again.
//
// Parts of a page say data-live="all | journal | experiment:NAME | run:ID" and data-live-url; data-live-every="S" has a
// part loaded anew that often as well, for what time alone changes. Charts listen to "advisor:changed" on document.

const AT_MOST_EVERY = 1000, FIRST_RETRY = 2000, LAST_RETRY = 30_000;
const channel = "BroadcastChannel" in window ? new BroadcastChannel("advisor-live") : null;
const words = document.getElementById("live-state");
const loadedAt = new WeakMap(), waiting = new Map();
let source = null, letGo = null, asking = null, retry = FIRST_RETRY, retryTimer = 0;
let version = Number(document.querySelector('meta[name="advisor-version"]')?.content ?? 0);
let missed = false;

function say(state) {
  if (!words || words.dataset.state === state) return;
  words.dataset.state = state;
  words.textContent = state === "live" ? "live" : state === "lost" ? "reconnecting…" : "";
}

/** Return whether a part of the page shows something that has changed. */
function concerns(part, change) {
  const about = part.dataset.live;
  if (change.all || about === "all") return true;
  if (about === "journal") return change.journal;
  if (about.startsWith("experiment:")) return change.experiments.includes(about.slice(11));
  return about.startsWith("run:") && change.runs.includes(about.slice(4));
}

/** Return whether somebody is at work in a part: it is not taken from under his hands. */
function held(part) {
  const at = document.activeElement;
  const typing = part.contains(at) && at.matches("input:not([type=checkbox]), select, textarea");
  // What was done a moment ago stays where it was until the pointer or the keys have left: nothing moves below them.
  const kept = part.querySelector(".done") !== null && (part.matches(":hover") || part.querySelector(":focus-visible") !== null);
  return kept || typing || part.querySelector(".menu[open]") !== null;
}

function busy(part) {
  return held(part) || part.matches(".htmx-request, :has(.htmx-request)");
}

/** Load a part anew, at most once a second; once at the end is enough for many changes. */
function refresh(part) {
  if (waiting.has(part)) return;
  const pause = Math.max(0, (loadedAt.get(part) ?? 0) + AT_MOST_EVERY - Date.now());
  waiting.set(part, setTimeout(() => load(part), pause));
}

async function load(part) {
  if (!part.isConnected) { waiting.delete(part); return; }
  if (document.hidden) { waiting.delete(part); missed = true; return; }
  if (busy(part)) { waiting.set(part, setTimeout(() => load(part), AT_MOST_EVERY)); return; }
  waiting.delete(part);
  loadedAt.set(part, Date.now());
  let kept = keep(part), late = false;
  const arrived = ({ target, detail }) => {
    if (target !== part || detail.requestConfig.elt !== part) return;
    late = held(part); // somebody has begun meanwhile: what comes in may be older than what he did
    if (late) detail.shouldSwap = false;
    else kept = keep(part);
  };
  part.addEventListener("htmx:beforeSwap", arrived);
  try {
    await htmx.ajax("GET", part.dataset.liveUrl, { source: part, target: part, swap: "outerHTML" });
  } catch { return; } finally { part.removeEventListener("htmx:beforeSwap", arrived); }
  if (late) { refresh(part); return; }
  const now = part.id ? document.getElementById(part.id) : null;
  if (!now) return;
  loadedAt.set(now, Date.now());
  restore(now, kept);
}

/** Return what a reader has opened, and where he is. */
function keep(part) {
  const at = part.contains(document.activeElement) ? document.activeElement : null;
  return {
    open: [...part.querySelectorAll("details[open][id]")].map((each) => each.id),
    scrolled: [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft),
    row: at ? [...part.querySelectorAll("[data-row]")].indexOf(at.closest("[data-row]")) : -1,
    href: at?.getAttribute("href"),
    had: at !== null,
  };
}

function restore(part, kept) {
  for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
  part.querySelectorAll(".scroll").forEach((each, i) => { each.scrollLeft = kept.scrolled[i] ?? 0; });
  if (!kept.had || part.contains(document.activeElement)) return;
  const rows = [...part.querySelectorAll("[data-row]")];
  const same = kept.href && [...part.querySelectorAll("a[href]")].find((each) => each.getAttribute("href") === kept.href);
  const next = same || rows[Math.min(Math.max(kept.row, 0), rows.length - 1)]?.querySelector("a[href]");
  next?.focus({ preventScroll: true });
}

function all() {
  return document.querySelectorAll("[data-live][data-live-url]");
}

/** Take in a change: parts of the page that show it are loaded anew. */
function changed(change) {
  version = Math.max(version, change.version);
  if (document.hidden) { missed = true; return; }
  for (const part of all()) if (concerns(part, change)) refresh(part);
  document.dispatchEvent(new CustomEvent("advisor:changed", { detail: change }));
}

/** Load everything anew: something may have happened while nobody listened. */
function catchUp() {
  missed = false;
  changed({ version, experiments: [], runs: [], journal: true, all: true });
}

function hear(message) {
  if (message.kind === "state") say(message.state);
  if (message.kind === "changed") changed(message.change);
  if (message.kind === "hello") {
    say("live");
    if (missed || message.version > version) { version = message.version; catchUp(); }
  }
}

function tellAll(message) {
  hear(message);
  channel?.postMessage(message);
}

function connect() {
  clearTimeout(retryTimer);
  source = new EventSource("/live");
  source.addEventListener("hello", (event) => {
    retry = FIRST_RETRY;
    tellAll({ kind: "hello", version: JSON.parse(event.data).version });
  });
  source.addEventListener("changed", (event) => tellAll({ kind: "changed", change: JSON.parse(event.data) }));
  source.onerror = () => {
    missed = true;
    tellAll({ kind: "state", state: "lost" });
    if (source?.readyState !== EventSource.CLOSED) return; // the browser itself tries again
    retryTimer = setTimeout(connect, retry);
    retry = Math.min(2 * retry, LAST_RETRY);
  };
}

function disconnect() {
  clearTimeout(retryTimer);
  source?.close();
  source = null;
}

/** Listen, or wait in line until the tab that listens goes; without locks each tab listens for itself. */
function begin() {
  if (document.hidden || asking || source) return;
  channel?.postMessage({ kind: "asks" });
  if (!navigator.locks) { connect(); return; }
  asking = new AbortController();
  navigator.locks
    .request("advisor-live", { signal: asking.signal }, () => new Promise((done) => { letGo = done; connect(); }))
    .catch(() => { /* this tab was hidden before its turn came */ });
}

function end() {
  asking?.abort();
  asking = null;
  disconnect();
  letGo?.();
  letGo = null;
}

channel?.addEventListener("message", (event) => {
  if (event.data.kind !== "asks") hear(event.data);
  else if (source?.readyState === EventSource.OPEN) channel.postMessage({ kind: "hello", version });
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { missed = true; end(); } else begin();
});
addEventListener("pagehide", end);
addEventListener("pageshow", (event) => { if (event.persisted) { missed = true; begin(); } });
document.body.addEventListener("advisor:acted", catchUp);
document.body.addEventListener("advisor:tell", ({ target, detail }) => {
  if (detail.text?.startsWith("Open again")) for (const row of document.querySelectorAll(".done")) row.classList.remove("done");
  const row = target.closest?.("#attention [data-row]");
  if (!row || !detail.undo || !detail.text.startsWith("Acknowledged")) return;
  row.classList.add("done");
  setTimeout(() => offerUndo(row, detail.undo)); // once htmx has put its answer in place
});

/** Say in a row that it was acknowledged, in place of what could be done about it. */
function offerUndo(row, undo) {
  const said = document.createElement("div"), button = document.createElement("button");
  said.className = "actions soft";
  button.type = "button";
  button.textContent = "Undo";
  button.addEventListener("click", () => {
    row.classList.remove("done");
    htmx.ajax("POST", undo.url, { values: undo.values, swap: "none" });
  });
  said.append("acknowledged · ", button);
  row.querySelector(".actions")?.replaceWith(said);
}

setInterval(() => {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-live-every]")) {
    const last = loadedAt.get(part);
    if (last === undefined) loadedAt.set(part, Date.now());
    else if (Date.now() - last >= 1000 * Number(part.dataset.liveEvery)) refresh(part);
  }
}, AT_MOST_EVERY);
begin();
