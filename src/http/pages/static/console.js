// Shows over the page at hand what is a page of its own without this script. htmx fetches it into #over.
"use strict";

const over = document.getElementById("over");
let opener = null;
let openerRow = null;

// The dialog that was fetched opens with its first field focused, or Cancel when it takes something away.
document.addEventListener("htmx:after:swap", () => {
  const dialog = over?.querySelector("dialog");
  if (!dialog || dialog.open) return;
  dialog.showModal();
  const first = dialog.querySelector(".problems") ?? dialog.querySelector("select, input:not([type=hidden]), .buttons a, .buttons button");
  first?.focus();
  prepare(dialog);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("[hx-get], [hx-post]");
  if (link && !over?.contains(link)) {
    // Of a form it is the button, of a menu what opens it.
    opener = link.closest("details.menu")?.querySelector("summary") ?? event.target.closest("button, a") ?? link;
    openerRow = link.closest("tr")?.id ?? null;
  }
  const close = event.target.closest("[data-close]");
  const dialog = close?.closest("dialog");
  if (dialog) {
    event.preventDefault();
    dialog.close();
  }
  // An open menu closes when something else is clicked.
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target) || link) menu.open = false;
  }
});

// Back to where it was opened, or to the table when the row is gone.
over?.addEventListener("close", (event) => {
  event.target.remove();
  const row = openerRow && document.getElementById(openerRow);
  const target = opener?.isConnected ? opener : (row?.querySelector("a, button") ?? document.getElementById("main"));
  target?.focus();
}, true);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest("input, select, textarea");
  const search = document.getElementById("q");
  if (event.key === "/" && search && !typing && !over?.querySelector("dialog")) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

// People are picked for what is done to several: what is picked stays so when the table is drawn anew, and how many
// there are is said.
const picks = new Set();
const boxes = () => [...document.querySelectorAll("input[form=many]")];

function count(aloud) {
  const number = picks.size;
  const shown = document.querySelector("[data-picked]");
  if (!shown) return;
  shown.textContent = number ? `${number} selected` : "";
  if (!aloud) return;
  document.getElementById("picked").textContent = number === 1 ? "1 person is selected." : `${number} people are selected.`;
  if (number) document.getElementById("picking").open = true;
}

function pick(box, wanted = box.checked) {
  box.checked = wanted;
  if (wanted) picks.add(box.value);
  else picks.delete(box.value);
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("input[form=many]")) return;
  pick(event.target);
  count(true);
});

document.addEventListener("click", (event) => {
  const all = event.target.closest("[data-pick]");
  if (!all) return;
  event.preventDefault();
  const wanted = boxes().some((box) => !box.checked);
  for (const box of boxes()) pick(box, wanted);
  all.textContent = wanted ? "Select nobody" : "Select all on this page";
  count(true);
});

document.addEventListener("htmx:after:swap", () => {
  for (const box of boxes()) box.checked = picks.has(box.value);
  count(false);
});

// What takes its time says so.
document.addEventListener("submit", (event) => {
  const busy = event.target.querySelector("[data-busy]");
  if (busy) busy.textContent = busy.dataset.busy;
});

// What the browser has kept ticked, going back, is picked as well.
addEventListener("pageshow", () => {
  for (const busy of document.querySelectorAll("[data-busy]")) busy.textContent = "";
  for (const box of boxes()) pick(box);
  count(false);
});

function prepare(scope) {
  const copy = scope.querySelector("[data-copy]");
  if (!copy) return;
  const field = scope.querySelector("#" + copy.dataset.copy);
  // On a page that is about more than the link, nothing is marked before it is asked for.
  if (copy.closest("form")) field.select();
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      scope.querySelector("#copied").textContent = "Copied.";
    } catch {
      scope.querySelector("#copied").textContent = "Press Ctrl+C to copy the marked link.";
    }
  });
}

prepare(document);

// On a narrow screen the navigation is one line: the entry at hand is to be in sight.
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
