// Keys for those who prefer them, and the dialog that names them. Letters do nothing while somebody types, and all of
// them can be switched off (WCAG 2.1.4), kept in this browser.

const GO = { t: "/", e: "/experiments", s: "/search", d: "/documents" };
const CHORD_MS = 1200;
const dialog = document.getElementById("keys"), box = document.getElementById("keys-on");
let went = 0;

function on() {
  try { return localStorage.getItem("advisor.keys") !== "off"; } catch { return box.checked; }
}

function typing(target) {
  return target.closest?.("input:not([type=checkbox]):not([type=radio]), select, textarea, [contenteditable]") !== null;
}

/** Return the link by which a row is walked to: that of the run that heads it, or else its first. */
function linkOf(row) {
  return row.querySelector(":scope > th a[href^='/runs/'], :scope > .head h3 a[href^='/runs/']") ?? row.querySelector("a[href]");
}

/** Return the rows that can be walked through: those that show. */
function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((row) => linkOf(row)?.checkVisibility?.() ?? true);
}

function step(by) {
  const all = rows(), at = document.activeElement?.closest("[data-row]");
  const here = all.indexOf(at);
  const next = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(here + by, 0), all.length - 1)];
  const link = next && linkOf(next);
  link?.focus();
  link?.scrollIntoView({ block: "nearest" });
}

function acknowledge() {
  const row = document.activeElement?.closest("[data-row]");
  row?.querySelector("[data-acknowledge]")?.click();
}

function closeMenus(except) {
  let closed = false;
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (menu === except) continue;
    menu.removeAttribute("open");
    if (!except && menu.contains(document.activeElement)) menu.querySelector("summary")?.focus();
    closed = true;
  }
  return closed;
}

function help() {
  if (!dialog.open) dialog.showModal();
}

const KEYS = {
  "/": () => document.getElementById("find").focus(),
  "?": help,
  j: () => step(1),
  k: () => step(-1),
  a: acknowledge,
  g: () => { went = Date.now(); },
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { closeMenus(); return; }
  if (!on() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target) || dialog.open) return;
  const chord = Date.now() - went < CHORD_MS && GO[event.key];
  went = 0;
  if (chord) { event.preventDefault(); location.assign(chord); return; }
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
document.addEventListener("click", (event) => closeMenus(event.target.closest(".menu")));
document.getElementById("help").addEventListener("click", help);
box.checked = on();
box.addEventListener("change", () => {
  try { localStorage.setItem("advisor.keys", box.checked ? "on" : "off"); } catch { /* it holds for this page, then */ }
});
