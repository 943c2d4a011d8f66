// The page: it keeps the last picture, draws it, and explains an address on a click.

import { follow, get } from "./stream.js";
import { draw } from "./draw.js";

const $ = (id) => document.getElementById(id);

const view = {
  picture: null,
  search: "",
  expanded: new Set(), // the boxes that show all their addresses
  seen: null, // the moves that the page has shown, as texts
};

function redraw() {
  if (view.picture) draw(view);
}

follow("events", (name, data) => {
  const value = JSON.parse(data);
  if (name === "picture") {
    view.picture = value;
    $("cluster").textContent = value.cluster ? "of " + value.cluster : "";
    document.title = title(value);
    redraw();
    speak(value.moves);
  } else if (view.picture) {
    view.picture.time = value;
  }
  showLive();
}, (error) => showLive(error.message));

function title(picture) {
  const problems = picture.problems.length;
  return (problems ? `(${problems}) ` : "") + "Load balancer " + picture.cluster;
}

// showLive says how old the picture is.
function showLive(lost) {
  const problem = lost ?? (view.picture ? view.picture.stale : "waiting for the first picture");
  $("live").classList.toggle("old", Boolean(problem));
  setText($("live"), problem ? `✕ Not live: ${problem}` : "● Live");
  if (view.picture) $("clock").textContent = new Date(view.picture.time).toLocaleTimeString();
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// speak lets a screen reader say the moves that are new.
function speak(moves) {
  const texts = moves.map((m) => m.time + m.text);
  if (view.seen) {
    const fresh = moves.filter((m, i) => !view.seen.has(texts[i])).map((m) => m.text);
    if (fresh.length) $("spoken").textContent = fresh.slice(0, 5).join(". ");
  }
  view.seen = new Set(texts);
}

$("search").addEventListener("input", () => {
  view.search = $("search").value.trim().toLowerCase();
  redraw();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== $("search") && !$("explain").open) {
    event.preventDefault();
    $("search").focus();
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.address) explain(button.dataset.address);
  if (button?.dataset.expand) {
    const box = button.dataset.expand;
    if (!view.expanded.delete(box)) view.expanded.add(box);
    redraw();
  }
});

async function explain(address) {
  $("explain-title").textContent = address;
  $("explain-text").textContent = "Asking …";
  if (!$("explain").open) $("explain").showModal();
  try {
    const text = await (await get("explain?address=" + encodeURIComponent(address))).text();
    if ($("explain-title").textContent === address) $("explain-text").textContent = text;
  } catch (error) {
    $("explain-text").textContent = error.message;
  }
}

// A click beside the dialog closes it, like the key Escape.
$("explain").addEventListener("click", (event) => {
  if (event.target === $("explain")) $("explain").close();
});
