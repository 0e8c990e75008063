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
    opener = link.closest("details.menu")?.querySelector("summary") ?? link;
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
