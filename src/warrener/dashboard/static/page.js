// The frame of the page: which view is shown, the line above it, the connection's state, the theme.

import { acts } from "./acts.js";
import { count, h, rate, setText, share, span } from "./dom.js";
import { EventsView, NodesView, QueuesView, SessionsView } from "./views.js";
import { MapView } from "./map.js";
import { PlannerView } from "./planner.js";
import { setToken, Stream, takeToken } from "./stream.js";

const VIEWS = {
  map: MapView,
  nodes: NodesView,
  queues: QueuesView,
  sessions: SessionsView,
  events: EventsView,
  planner: PlannerView,
};
const THEMES = ["auto", "light", "dark"];

const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
const linkState = document.getElementById("link-state");

let name = null;
let view = null;

const stream = new Stream({
  onDocument(told) {
    if (told.view !== name) return;
    showHead(told.head);
    acts.show(told.acts);
    view.show(told);
    main.setAttribute("aria-busy", "false");
  },
  onState(state, text) {
    if (linkState.dataset.state !== state) {
      linkState.dataset.state = state;
      document.body.dataset.link = state;
    }
    setText(linkState, state === "live" ? "live" : state === "lost" ? "reconnecting" : "no access");
    linkState.title = text;
    if (state === "refused") askForToken(text);
    if (state === "lost") say(`Not connected: ${text}. What is shown is from before.`);
  },
});

function show() {
  const asked = location.hash.replace(/^#\//, "");
  const wantedName = asked in VIEWS ? asked : "map";
  if (wantedName === name) return;
  name = wantedName;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} – Warrener`;
  view = new VIEWS[name]((wanted) => stream.follow({ view: name, ...wanted }));
  main.replaceChildren(view.element);
  main.setAttribute("aria-busy", "true");
  stream.follow({ view: name, ...view.wanted() });
}

function say(text) {
  if (trouble.hidden !== !text) trouble.hidden = !text;
  setText(trouble, text);
}

const HEAD = [
  ["nodes", (head) => `${head.nodes_up} of ${head.nodes}`],
  ["queues", (head) => count(head.queues)],
  ["sessions", (head) => count(head.sessions)],
  ["ready", (head) => count(head.ready)],
  ["unacked", (head) => count(head.unacked)],
  ["published", (head) => rate(head.published)],
  ["delivered", (head) => rate(head.delivered)],
  ["remote", (head) => share(head.remote)],
  ["alarms", (head) => count(head.alarms)],
  ["policy", (head) => head.policy || "–"],
  ["up", (head) => span(head.uptime)],
];
const HINTS = {
  remote: "Part of the messages that takes a hop between two nodes",
  up: "How long the daemon has been running",
};
const headCells = new Map();

function showHead(head) {
  const line = document.getElementById("head");
  if (!headCells.size) {
    for (const [key] of HEAD) {
      const cell = h("dd");
      headCells.set(key, cell);
      line.append(h("div", { title: HINTS[key] ?? null }, h("dt", {}, key), cell));
    }
  }
  for (const [key, text] of HEAD) setText(headCells.get(key), text(head));
  headCells.get("nodes").dataset.level = head.nodes_up < head.nodes ? "bad" : "good";
  headCells.get("alarms").dataset.level = head.alarms ? "bad" : "good";
  headCells.get("queues").dataset.level = head.queues_bad ? "bad" : "good";
  setText(document.getElementById("cluster"), head.cluster);
  const starting = head.phase === "running" ? "" : `The cluster is ${head.phase}. `;
  say(starting + (head.phase === "running" && head.trouble ? `${head.trouble}.` : ""));
}

function askForToken(why) {
  const field = h("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  const form = h(
    "form",
    {
      class: "card token",
      onsubmit: (event) => {
        event.preventDefault();
        setToken(field.value.trim().replace(/^.*#token=/, ""));
        const wanted = name;
        name = null;
        location.hash = `#/${wanted}`;
        show();
      },
    },
    h("h2", {}, why === "no token" ? "This page needs its link" : "That token isn't the right one"),
    h(
      "p",
      {},
      "Open the link that ",
      h("code", {}, "warrener page"),
      " prints in a terminal, or paste it here.",
    ),
    h("label", { for: "token" }, "Link or token"),
    field,
    h("button", { type: "submit" }, "Open"),
  );
  say("");
  main.replaceChildren(form);
  main.setAttribute("aria-busy", "false");
  field.focus();
}

// The theme: as the system has it, unless it was chosen.
const themeButton = document.getElementById("theme");

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText(themeButton, `Theme: ${theme}`);
  localStorage.setItem("warrener-theme", theme);
}

themeButton.addEventListener("click", () => {
  const now = localStorage.getItem("warrener-theme") ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});

const chosen = localStorage.getItem("warrener-theme");
setTheme(THEMES.includes(chosen) ? chosen : "auto");
takeToken();
window.addEventListener("hashchange", () => {
  const before = location.hash;
  takeToken();
  if (before !== location.hash) name = null; // a link with a token was pasted
  show();
});
show();
