// What every page does: times in the reader's zone, theme, messages. Charts and live changes are in modules of their own.

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const ahead = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Return a moment as people say it: near ones relative, others by date. */
function said(moment) {
  const past = moment - Date.now(), size = Math.abs(past);
  if (size < MINUTE) return "just now";
  if (size < HOUR) return ahead.format(Math.round(past / MINUTE), "minute");
  if (size < DAY) return ahead.format(Math.round(past / HOUR), "hour");
  if (size < 7 * DAY) return ahead.format(Math.round(past / DAY), "day");
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }).format(moment);
}

/** Write all times below an element in the reader's zone. */
function writeTimes(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(each.dateTime);
    if (Number.isNaN(+moment)) continue;
    each.textContent = said(moment);
    each.title = whole.format(moment);
  }
}

/** Show a short message that goes by itself; a text only, never markup. What can be taken back, it offers to. */
export function tell(text, { bad = false, undo = null } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  box.textContent = text;
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Undo";
    button.addEventListener("click", () => {
      box.remove();
      htmx.ajax("POST", undo.url, { values: undo.values, swap: "none" });
    });
    box.append(button);
  }
  document.getElementById("toasts").append(box);
  let timer = 0;
  const wait = () => { timer = setTimeout(() => box.remove(), bad || undo ? 12_000 : 5_000); };
  for (const [stop, go] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
    box.addEventListener(stop, () => clearTimeout(timer));
    box.addEventListener(go, wait);
  }
  wait();
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("advisor.theme", root.dataset.theme); } catch { /* it holds for this page, then */ }
  document.dispatchEvent(new CustomEvent("advisor:theme"));
}

document.getElementById("theme").addEventListener("click", switchTheme);
writeTimes(document);
setInterval(() => writeTimes(document), MINUTE);
document.body.addEventListener("htmx:afterSwap", (event) => writeTimes(event.detail.target.parentElement ?? document));
document.body.addEventListener("htmx:responseError", (event) => {
  const answer = event.detail.xhr;
  const page = new DOMParser().parseFromString(answer.responseText, "text/html");
  tell(page.querySelector("main .lead")?.textContent ?? (answer.responseText.slice(0, 300) || "That did not work."), { bad: true });
});
document.body.addEventListener("htmx:sendError", () => tell("The advisor does not answer; is 'advisor serve' still running?", { bad: true }));
document.body.addEventListener("advisor:tell", ({ detail }) => tell(detail.text ?? detail.value ?? String(detail), { undo: detail.undo }));
// What takes seconds says so: a form that has a document written, until the next page is there.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches('form[method="post"][action="/documents"]')) return;
  const button = event.submitter ?? form.querySelector("button");
  form.setAttribute("aria-busy", "true");
  button.dataset.was = button.textContent;
  button.textContent = "Writing …";
  document.getElementById("toasts").append(Object.assign(document.createElement("p"), { className: "hidden", textContent: "Writing; this takes seconds." }));
  setTimeout(() => { button.disabled = true; }); // the form is sent with its button first
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return; // who comes back to the page finds the form as it was
  for (const form of document.querySelectorAll('form[aria-busy="true"]')) {
    form.removeAttribute("aria-busy");
    for (const button of form.querySelectorAll("button[data-was]")) {
      button.textContent = button.dataset.was;
      button.disabled = false;
    }
  }
});
document.body.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    tell("Copied.");
  } catch {
    tell("The browser does not let pages copy; mark the text instead.", { bad: true });
  }
});
