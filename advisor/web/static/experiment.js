// An experiment's page: names are completed while a filter is typed, chosen runs stay chosen over pages and refreshes,
// and the focus stays where the work is. Pictures are in plots.js.

const MOST = 100; // runs that one comparison shows

// -- completion of the last word of a filter

/** Offer, as whole values of the field, the filter with its last word completed. */
function complete(field) {
  const list = document.getElementById(field.getAttribute("list"));
  if (!list) return;
  const names = JSON.parse(field.dataset.names ?? "[]");
  const [, before, word] = /^(.*?)([\w.`/-]*)$/s.exec(field.value);
  const found = names.filter((name) => name.toLowerCase().startsWith(word.toLowerCase()) && name !== word);
  list.replaceChildren(...(word ? found : before.trim() ? names : []).slice(0, 40).map((name) => {
    const option = document.createElement("option");
    option.value = before + name;
    return option;
  }));
}

document.addEventListener("input", (event) => {
  if (event.target.id === "where") complete(event.target);
});

// -- columns found among many

document.addEventListener("input", (event) => {
  if (!event.target.matches?.("[data-narrow]")) return;
  const word = event.target.value.trim().toLowerCase(), list = event.target.closest("form").querySelector("fieldset");
  let heading = null;
  for (const each of list.children) {
    if (each.matches("h3")) { heading = each; heading.hidden = true; }
    if (!each.matches("label")) continue;
    each.hidden = !each.textContent.toLowerCase().includes(word);
    if (!each.hidden && heading) heading.hidden = false;
  }
});

// -- runs chosen for a comparison

const form = () => document.getElementById("selection");
const key = () => `advisor.chosen.${form()?.dataset.experiment}`;

function chosen() {
  try { return new Set(JSON.parse(sessionStorage.getItem(key()) ?? "[]")); } catch { return new Set(); }
}

function keep(runs) {
  try { sessionStorage.setItem(key(), JSON.stringify([...runs])); } catch { /* then they hold for this page only */ }
}

/** Write the choice into the boxes, the button and the sentence. */
function show() {
  if (!form()) return;
  const runs = chosen(), boxes = [...form().querySelectorAll("input[name=runs]")];
  for (const box of boxes) box.checked = runs.has(box.value);
  const all = document.getElementById("pick-all"), n = boxes.filter((box) => box.checked).length;
  all.checked = n > 0 && n === boxes.length;
  all.indeterminate = n > 0 && n < boxes.length;
  const compare = document.getElementById("compare"), said = document.getElementById("selected");
  compare.disabled = runs.size < 2 || runs.size > MOST;
  compare.textContent = runs.size ? `Compare ${runs.size}` : "Compare";
  const sentence = !runs.size ? "Select runs to compare them."
    : runs.size > MOST ? `${runs.size} selected; at most ${MOST} are compared.`
    : `${runs.size} selected${runs.size === 1 ? "; one more to compare" : ""}.`;
  if (said.textContent !== sentence) said.textContent = sentence;
  document.getElementById("unselect").hidden = !runs.size;
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (!box.closest?.("#selection")) return;
  const runs = chosen();
  const boxes = box.id === "pick-all" ? form().querySelectorAll("input[name=runs]") : [box];
  for (const each of boxes) box.checked ? runs.add(each.value) : runs.delete(each.value);
  keep(runs);
  show();
});
document.addEventListener("click", (event) => {
  if (event.target.id !== "unselect") return;
  keep(new Set());
  show();
});
document.addEventListener("submit", (event) => {
  if (event.target.id !== "selection") return;
  event.preventDefault();
  location.assign(`/compare?runs=${[...chosen()].map(encodeURIComponent).join(",")}`);
});

// -- after a part was replaced

document.addEventListener("htmx:afterSettle", () => {
  show();
  // What a form did is said by its answer, and not by an event of the form: the form may be gone by now, and with it
  // the focus, which goes to the part's heading.
  const part = document.getElementById("suggestions"), detail = part?.dataset.said;
  if (!detail) return;
  delete part.dataset.said;
  document.body.dispatchEvent(new CustomEvent("advisor:tell", { detail }));
  if (document.activeElement !== document.body) return;
  part.querySelector("h2").focus();
});
show();
