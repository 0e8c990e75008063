// Shows on the page at hand what changes meanwhile: what stands in [data-live] becomes what it would be on the page as it
// is now. Nodes stay the same as far as they can, so that focus, marked text and ticked boxes do. Without this script
// the page stays as it was.
"use strict";

const live = document.getElementById("live");
// Between two looks at the page, and between two sentences about it.
const LOOK = 2_000;
const SAY = 8_000;
const COME_BACK = 30_000;
// What is not of the server: ticked boxes, typed words, open details, marks of scripts.
const OURS = new Set(["checked", "value", "open", "hidden", "data-fresh", "data-gone", "data-htmx-powered"]);

let source = null;
let heard = live?.dataset.after;
let isLooking = false;
let looked = 0;
let timer = null;
let said = 0;
let saying = null;
let isOver = false;

// A tab that nobody looks at holds no connection; it is told what it has missed when somebody does.
function listen() {
  if (source || isOver || document.hidden) return;
  source = new EventSource(`${live.dataset.stream}?after=${encodeURIComponent(heard)}`);
  source.addEventListener("changed", (event) => {
    heard = event.lastEventId;
    soon();
  });
  source.addEventListener("error", () => {
    if (source?.readyState !== EventSource.CLOSED) return;
    leave();
    // Whoever is signed out learns it from the page.
    soon();
    setTimeout(listen, COME_BACK);
  });
}

function leave() {
  source?.close();
  source = null;
}

function soon(wait = 0) {
  timer ??= setTimeout(look, Math.max(wait, looked + LOOK - Date.now()));
}

async function look() {
  timer = null;
  if (isLooking) return soon(LOOK);
  isLooking = true;
  try {
    const reply = await fetch(location.href, { headers: { "usherd-live": "1" }, cache: "no-store" });
    if (reply.redirected || reply.status === 403) {
      isOver = true;
      leave();
      say("You are not signed in any more. Reload this page to sign in.");
    } else if (reply.ok) {
      update(new DOMParser().parseFromString(await reply.text(), "text/html"));
    }
  } catch {
    // The service is away for the moment; the stream finds out when it is back.
  } finally {
    looked = Date.now();
    isLooking = false;
    if (!isOver && live.dataset.while && document.querySelector(live.dataset.while)) soon(LOOK);
  }
}

function update(fresh) {
  const at = document.activeElement;
  const place = at?.closest("[data-live] tr, [data-live]");
  let changed = 0;
  let isOtherList = false;
  let isOther = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (part.dataset.live === "rows") {
      changed += rows(part, now);
      isOtherList ||= names(part) !== names(now);
    } else if (now) {
      isOther = morph(part, now) || isOther;
    }
  }
  isOtherList ||= !document.querySelector("[data-live=rows]") && Boolean(fresh.querySelector("[data-live=rows]"));
  if (at && !at.isConnected) (place?.isConnected ? place.querySelector("a, button, input") : document.getElementById("main"))?.focus();
  if (changed || isOther || isOtherList) say(words(changed), isOtherList);
}

function words(changed) {
  const time = new Date().toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const people = changed === 1 ? " 1 person on this page has changed." : changed ? ` ${changed} people on this page have changed.` : "";
  return `Updated at ${time}.${people}`;
}

// One sentence at a time, politely: the last one, when much happens.
function say(sentence, isOtherList) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    said = Date.now();
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = "Show the list as it is now";
    live.replaceChildren(sentence, ...(isOtherList ? [" The list has changed. ", again] : []));
  }, Math.max(0, said + SAY - Date.now()));
}

const names = (body) => body ? [...body.rows].map((row) => row.id).join() : "";

// Rows that are on the page; they are not sorted anew under somebody's hands.
function rows(body, now) {
  let changed = 0;
  for (const row of body.rows) {
    const fresh = now?.querySelector(`[id="${row.id}"]`);
    const isOther = Boolean(fresh) && morph(row, fresh);
    if (!isOther && row.hasAttribute("data-gone") === !fresh) continue;
    row.toggleAttribute("data-gone", !fresh);
    row.toggleAttribute("data-fresh", true);
    setTimeout(() => row.removeAttribute("data-fresh"), LOOK);
    window.htmx?.process(row);
    changed += 1;
  }
  return changed;
}

// Makes `old` what `now` is; whether anything was to do.
function morph(old, now) {
  if (old.nodeName !== now.nodeName) {
    old.replaceWith(document.importNode(now, true));
    return true;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data === now.data) return false;
    old.data = now.data;
    return true;
  }
  let isOther = false;
  for (const { name } of [...old.attributes]) {
    if (now.hasAttribute(name) || OURS.has(name)) continue;
    old.removeAttribute(name);
    isOther = true;
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) === value || OURS.has(name)) continue;
    old.setAttribute(name, value);
    isOther = true;
  }
  const there = [...old.childNodes];
  now.childNodes.forEach((child, at) => {
    if (at < there.length) {
      isOther = morph(there[at], child) || isOther;
    } else {
      old.append(document.importNode(child, true));
      isOther = true;
    }
  });
  for (const left of there.slice(now.childNodes.length)) {
    left.remove();
    isOther = true;
  }
  return isOther;
}

if (live) {
  if (live.dataset.stream) {
    document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
    listen();
  }
  if (live.dataset.while && document.querySelector(live.dataset.while)) soon(LOOK);
}
