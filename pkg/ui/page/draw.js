// Draws a picture. Elements stay the same while what they show stays, so that the keyboard's focus
// and the reader's place stay, too.

const $ = (id) => document.getElementById(id);

const allSlots = 256;
const collapsed = 18; // so many addresses a box shows before it is expanded
const most = 2000; // so many addresses a box shows at most

export function draw(view) {
  const p = view.picture;
  keep($("problems"), p.problems.length ? p.problems.map(problem) : [{ key: "none", make: () => el("li", "none", "✓ None") }]);
  const matching = p.addresses.filter((a) => matches(a, view.search));
  keep($("nodes"), p.nodes.map((n) => box(n, matching, view)));
  const nowhere = matching.filter((a) => !a.places);
  $("nowhere-section").hidden = nowhere.length === 0;
  chips($("nowhere"), "nowhere", nowhere.map((a) => chip(a, null, view)), view);
  $("waiting-section").hidden = p.waiting.length === 0;
  keep($("waiting"), p.waiting.filter((w) => w.service.toLowerCase().includes(view.search)).map(waiting));
  keep($("moves"), p.moves.length ? p.moves.map(move) : [{ key: "none", make: () => el("li", "none", "None while this page was open.") }]);
  keep($("pools"), p.pools.map(pool));
}

function matches(address, search) {
  const words = [address.address, address.pool ?? "", ...address.services, ...(address.places ?? []).map((place) => place.node)];
  return words.some((word) => word.toLowerCase().includes(search));
}

function problem(p) {
  const isError = p.severity === "error";
  return { key: JSON.stringify(p), make: () => {
    const li = el("li", isError ? "problem error" : "problem warning");
    li.append(el("b", "", isError ? "✕ Error" : "⚠ Warning"), " ", [p.where, p.what].filter(Boolean).join(": "));
    if (p.do) li.append(el("p", "", p.do));
    return li;
  } };
}

const symbols = { up: "●", starting: "◔", leaving: "◑", suppressed: "◐", fenced: "⊘", "not heard": "⚠", "no answer": "?", dead: "✕", "no speaker": "✕", unknown: "?" };

// box is the box of a node.
function box(node, addresses, view) {
  const here = [];
  for (const a of addresses) {
    const place = a.places?.find((x) => x.node === node.name);
    if (place) here.push(chip(a, place, view));
  }
  return {
    key: node.name,
    make: () => {
      const article = el("article", "node");
      const heading = el("h3", "", node.name);
      heading.id = "node-" + node.name;
      article.setAttribute("aria-labelledby", heading.id);
      article.append(heading, el("p", "state"), el("p", "number"), el("div", "chips"), el("ul", "sessions"));
      return article;
    },
    update: (article) => {
      article.dataset.state = node.state;
      const state = article.querySelector(".state");
      setText(state, `${symbols[node.state] ?? "?"} ${node.state}${node.why ? ": " + node.why : ""}`);
      setText(article.querySelector(".number"), here.length === 1 ? "1 address" : `${here.length || "no"} addresses`);
      chips(article.querySelector(".chips"), node.name, here, view);
      keep(article.querySelector(".sessions"), (node.sessions ?? []).map(session));
    },
  };
}

// chips shows the first chips, and a button that shows all.
function chips(parent, box, all, view) {
  const shown = view.expanded.has(box) ? all.slice(0, most) : all.slice(0, collapsed);
  const items = [...shown];
  if (all.length > collapsed) {
    items.push({
      key: " more",
      make: () => {
        const button = el("button", "more");
        button.dataset.expand = box;
        return button;
      },
      update: (button) => {
        button.setAttribute("aria-expanded", view.expanded.has(box));
        setText(button, view.expanded.has(box) ? `show ${collapsed} of ${all.length}` : `show all ${all.length}`);
      },
    });
  }
  keep(parent, items);
}

// chip is an address at a node; place is null if no node announces it.
function chip(a, place, view) {
  const tags = place ? tagsOf(place) : [];
  const said = place ? sayPlace(place) : `not announced: ${a.problem}`;
  return {
    key: a.address,
    make: () => {
      const button = el("button", "chip");
      button.dataset.address = a.address;
      button.append(el("span", "address", a.address), el("span", "tags"), el("span", "service"));
      if (!place) button.append(el("span", "why"));
      return button;
    },
    update: (button) => {
      const services = a.services.join(", ");
      button.classList.toggle("nowhere", !place);
      button.setAttribute("aria-label", `${a.address}, ${services}, ${said}. Explain.`);
      setText(button.querySelector(".service"), services);
      button.title = services;
      keep(button.querySelector(".tags"), tags.map((tag) => ({ key: tag, make: () => el("b", "tag", tag) })));
      if (!place) setText(button.querySelector(".why"), a.problem ?? "");
    },
  };
}

function tagsOf(place) {
  const tags = [];
  if (place.owner) tags.push("L2");
  if (place.slots) tags.push(share(place.slots));
  if (place.bgp) tags.push("BGP");
  return tags;
}

function share(slots) {
  return Math.round((100 * slots) / allSlots) + " %";
}

function sayPlace(place) {
  const said = [];
  if (place.owner) said.push("announced by layer 2");
  if (place.slots) said.push(`${share(place.slots)} of its flows`);
  if (place.bgp) said.push("advertised over BGP");
  return `${said.join(", ")} at ${place.node}`;
}

function session(s) {
  const state = s.up && !s.problem ? `up since ${time(s.since)}` : `${s.state}${s.problem ? ": " + s.problem : ""}`;
  return { key: s.peer + s.address, make: () => el("li", "session"), update: (li) => {
    const good = s.up && !s.problem;
    li.classList.toggle("down", !good);
    setText(li, `${good ? "▲" : "▼"} BGP ${s.peer} (${s.address}) ${state}`);
  } };
}

function waiting(w) {
  return { key: JSON.stringify(w), make: () => {
    const li = el("li", "");
    li.append(el("b", "", w.service), ` waits since ${time(w.since)}: ${w.why}`);
    if (w.advice) li.append(el("p", "", w.advice));
    return li;
  } };
}

const together = 5000; // ms between two pictures, so that one time says enough

function move(m) {
  return { key: m.time + m.text, make: () => {
    const li = el("li", "");
    const early = new Date(m.time) - new Date(m.after) > together ? time(m.after) + " – " : "";
    const stamp = el("time", "", early + time(m.time));
    stamp.dateTime = m.time;
    li.append(stamp, " ", m.text);
    return li;
  } };
}

function pool(p) {
  return {
    key: p.name + "/" + p.family,
    make: () => {
      const row = el("tr", "");
      const name = el("th", "", p.name);
      name.scope = "row";
      name.append(el("span", "kind", `${p.family}, ${p.protocol}`));
      const fill = el("td", "");
      fill.append(el("span", "count"), el("meter", ""));
      row.append(name, fill);
      return row;
    },
    update: (row) => {
      const text = `${p.assigned} of ${count(p.total)}` + (p.cooldown ? `, ${p.cooldown} in cooldown` : "");
      const meter = row.querySelector("meter");
      meter.max = Math.max(p.total, 1);
      meter.high = 0.9 * meter.max;
      meter.optimum = 0;
      meter.value = p.assigned + (p.cooldown ?? 0);
      meter.setAttribute("aria-label", text);
      setText(row.querySelector(".count"), text);
    },
  };
}

// count writes the size of a pool: exactly, or as a power of ten.
function count(n) {
  return n < 1e6 ? String(n) : "about 10^" + Math.round(Math.log10(n));
}

// time writes a time of day, with the date if it was not today.
function time(text) {
  if (!text) return "";
  const t = new Date(text);
  return t.toDateString() === new Date().toDateString() ? t.toLocaleTimeString() : t.toLocaleString();
}

function el(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// keep makes the children of an element those of the items, in their order. It makes an element for
// a new key, and uses the element of a known key again. Elements that came later are marked.
function keep(parent, items) {
  const known = new Map();
  for (const child of parent.children) known.set(child.dataset.key, child);
  const first = known.size === 0;
  const wanted = new Set(items.map((item) => item.key));
  // Others are removed first. To move an element would take the focus away from it.
  for (const [key, child] of known) if (!wanted.has(key)) child.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    const child = known.get(item.key) ?? created(item, !first);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    item.update?.(child);
  }
}

function created(item, later) {
  const child = item.make();
  child.dataset.key = item.key;
  if (later) {
    child.classList.add("arrived");
    child.addEventListener("animationend", () => child.classList.remove("arrived"), { once: true });
  }
  return child;
}
