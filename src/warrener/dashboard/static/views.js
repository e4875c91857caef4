// Nodes, queues, sessions, events: tables of what one document has.
//
// A view is made with `follow(wanted)`, to be called when something else is wanted (a search, the next
// page), has an `element`, `wanted()` and `show(document)`.

import { BalanceActs, NodeActs } from "./acts.js";
import { badge, bytes, clock, count, h, meter, rate, setText, share, span, Table } from "./dom.js";

const SEARCH_WAIT = 200; // ms after the last key

function shortNames(names) {
  return names.length ? names.join(", ") : "–";
}

function length(value) {
  if (value === null || value === undefined) return "–";
  return value < 100 ? value.toFixed(1) : count(Math.round(value));
}

function predicted(row, text, title) {
  return row.grows
    ? h("span", { class: "fig", "data-level": "bad", title: "More comes in than is taken" }, "grows")
    : h("span", { title }, text);
}

// A list that is searched, sorted and paged by the daemon.
class ListView {
  constructor(follow, { title, columns, id, empty, search, onPick = null, sort = "" }) {
    this.follow = follow;
    this.search = "";
    this.offset = 0;
    this.sort = sort;
    this.descending = false;
    this.picked = null;
    this.what = title.toLowerCase();
    this.table = new Table({
      caption: title,
      columns,
      id,
      empty,
      onSort: (key, number) => this.sortBy(key, number),
      onPick,
    });
    this.count = h("p", { class: "count", role: "status" });
    this.note = h("p", { class: "note", hidden: true });
    this.previous = h("button", { type: "button", onclick: () => this.page(-1) }, "Previous");
    this.next = h("button", { type: "button", onclick: () => this.page(1) }, "Next");
    this.pages = h("div", { class: "pages", hidden: true }, this.previous, this.next);
    const field = h("input", {
      type: "search",
      placeholder: search,
      "aria-label": search,
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => {
          this.search = field.value.trim();
          this.offset = 0;
          this.again();
        }, SEARCH_WAIT);
      },
    });
    this.detail = h("div", { class: "detail", hidden: true });
    this.element = h(
      "section",
      { "aria-label": title },
      h("div", { class: "tools" }, h("h2", {}, title), field, this.count, this.pages),
      this.note,
      this.detail,
      this.table.element,
    );
  }

  wanted() {
    return {
      search: this.search,
      offset: this.offset,
      sort: this.sort,
      descending: this.descending,
    };
  }

  again() {
    this.follow(this.wanted());
  }

  // The first time, figures come with the largest first.
  sortBy(key, number) {
    this.descending = this.sort === key ? !this.descending : number;
    this.sort = key;
    this.offset = 0;
    this.again();
  }

  page(step) {
    this.offset = Math.max(0, this.offset + step * 100);
    this.again();
  }

  show(told) {
    const part = told.body;
    this.told = told;
    this.table.sorted(this.sort, this.descending);
    this.table.update(part.rows, this.picked);
    const last = part.offset + part.rows.length;
    const which = part.matching > part.rows.length ? `${part.offset + 1} to ${last} of ` : "";
    const outOf = part.matching < part.total ? ` (of ${count(part.total)})` : "";
    setText(this.count, `${which}${count(part.matching)}${outOf}`);
    this.pages.hidden = part.matching <= part.rows.length || this.what === "events";
    this.previous.disabled = part.offset === 0;
    this.next.disabled = last >= part.matching;
    this.note.hidden = !part.note;
    setText(this.note, part.note);
    setText(
      this.table.empty,
      part.total ? `None of the ${count(part.total)} match.` : this.emptyText(),
    );
  }

  emptyText() {
    return `There are no ${this.what}.`;
  }
}

export class QueuesView extends ListView {
  constructor(follow) {
    super(follow, {
      title: "Queues",
      search: "Search by name, type or leader",
      id: (row) => `${row.vhost}\n${row.name}`,
      empty: "There are no queues.",
      columns: [
        {
          key: "name",
          title: "queue",
          sort: "name",
          sign: (row) => [row.vhost, row.name],
          cell: (row) => [
            h("strong", { title: row.name }, row.name),
            row.vhost === "/" ? "" : h("small", {}, ` ${row.vhost}`),
          ],
        },
        { key: "type", title: "type", sort: "type", width: "76px", cell: (row) => row.type },
        {
          key: "state",
          title: "state",
          sort: "state",
          width: "104px",
          sign: (row) => [row.word, row.level],
          cell: (row) => badge(row.word, row.level),
        },
        { key: "leader", title: "leader", width: "72px", sort: "leader", cell: (row) => row.leader || "none" },
        {
          key: "members",
          title: "members",
          width: "118px",
          sign: (row) => [row.members, row.offline],
          cell: (row) =>
            row.members.length
              ? row.members.flatMap((node, index) => [
                  index ? " " : "",
                  row.offline.includes(node)
                    ? h("s", { title: `${node}: not online` }, node)
                    : h("span", { title: row.members.join(", ") }, node),
                ])
              : "–",
        },
        { key: "published", title: "in", width: "64px", sort: "published", number: true, cell: (row) => rate(row.published) },
        { key: "delivered", title: "out", width: "64px", sort: "delivered", number: true, cell: (row) => rate(row.delivered) },
        { key: "ready", title: "ready", width: "60px", sort: "ready", number: true, cell: (row) => count(row.ready) },
        { key: "unacked", title: "unacked", width: "68px", sort: "unacked", number: true, cell: (row) => count(row.unacked) },
        { key: "consumers", title: "consumers", width: "80px", sort: "consumers", number: true, cell: (row) => count(row.consumers) },
        { key: "rho", title: "rho", width: "56px", sort: "rho", number: true, cell: (row) => (row.rho === null ? "–" : row.rho.toFixed(2)) },
        {
          key: "time",
          title: "R",
          width: "74px",
          sort: "predicted_time",
          number: true,
          sign: (row) => [row.grows, row.predicted_time],
          cell: (row) => predicted(row, span(row.predicted_time), "Response time as predicted"),
        },
        { key: "time_measured", title: "measured", width: "76px", sort: "measured_time", number: true, cell: (row) => span(row.measured_time) },
        {
          key: "length",
          title: "L",
          width: "64px",
          sort: "predicted_length",
          number: true,
          sign: (row) => [row.grows, row.predicted_length],
          cell: (row) => predicted(row, length(row.predicted_length), "Length as predicted"),
        },
        { key: "length_measured", title: "measured", width: "76px", sort: "measured_length", number: true, cell: (row) => length(row.measured_length) },
      ],
    });
    this.element.classList.add("queues");
  }

  emptyText() {
    return "There are no queues yet: the first one that a client declares is shown here.";
  }
}

export class NodesView {
  constructor(follow) {
    this.follow = follow;
    this.cards = new Map();
    this.list = h("div", { class: "cards" });
    this.balance = new BalanceActs();
    this.note = h("p", { class: "note", hidden: true });
    this.empty = h("p", { class: "empty", hidden: true }, "No node is known yet.");
    this.element = h(
      "section",
      { "aria-label": "Nodes" },
      h("div", { class: "tools" }, h("h2", {}, "Nodes"), this.balance.element),
      this.balance.note,
      this.note,
      this.list,
      this.empty,
    );
  }

  wanted() {
    return {};
  }

  show(told) {
    const seen = new Set();
    for (const row of told.body.rows) {
      seen.add(row.name);
      let card = this.cards.get(row.name);
      if (!card) {
        card = new NodeCard(row);
        this.cards.set(row.name, card);
      }
      if (card.element.parentNode !== this.list) this.list.append(card.element);
      card.show(row);
      card.acts.show(row, told.acts);
    }
    this.balance.show(told.acts, told.head);
    for (const [key, card] of this.cards) {
      if (seen.has(key)) continue;
      card.element.remove();
      this.cards.delete(key);
    }
    this.empty.hidden = seen.size > 0;
    this.note.hidden = !told.body.note;
    setText(this.note, told.body.note);
  }
}

const NODE_FACTS = [
  ["rho", (row) => (row.rho === null ? "–" : row.rho.toFixed(2)), "Utilisation as the planner reckons it; known once `warrener plan calibrate` has run"],
  ["cores", (row) => (row.cpu === null ? "–" : row.cpu.toFixed(2)), "Cores in use"],
  ["sessions", (row) => count(row.sessions)],
  ["leads", (row) => count(row.leaders), "Queues that this node leads"],
  ["weight", (row) => count(row.weight)],
  ["failures", (row) => count(row.failures), "Connects and handshakes that failed"],
  ["from clients", (row) => (row.bytes_in === null ? null : `${bytes(row.bytes_in)}/s`)],
  ["to clients", (row) => (row.bytes_out === null ? null : `${bytes(row.bytes_out)}/s`)],
  ["up", (row) => span(row.uptime)],
  ["RabbitMQ", (row) => row.version || "–"],
  ["Erlang", (row) => row.erlang || "–"],
  ["AMQP", (row) => `${row.host}:${row.port}`],
];

class NodeCard {
  constructor(row) {
    this.state = h("span");
    this.why = h("p", { class: "why" });
    this.memory = h("div", { class: "gauge" });
    this.disk = h("div", { class: "gauge" });
    this.facts = NODE_FACTS.map(([name, , title]) => {
      const value = h("dd");
      return { value, element: h("div", { title: title ?? null }, h("dt", {}, name), value) };
    });
    this.acts = new NodeActs(row.short);
    this.element = h(
      "article",
      { class: "card node", "aria-label": `Node ${row.short}` },
      h("header", {}, h("h3", { title: row.name }, row.short), this.state),
      this.why,
      this.memory,
      this.disk,
      h("dl", {}, ...this.facts.map((fact) => fact.element)),
      this.acts.element,
    );
  }

  show(row) {
    const sign = JSON.stringify([row.word, row.level]);
    if (this.sign !== sign) {
      this.sign = sign;
      this.state.replaceChildren(badge(row.word, row.level));
      this.element.dataset.level = row.level;
    }
    setText(this.why, row.why || row.weight_reason || " ");
    const full = row.memory_limit ? row.memory_used / row.memory_limit : 0;
    this.memory.replaceChildren(
      h("span", { class: "gauge-name" }, "memory"),
      meter(
        row.memory_used,
        row.memory_limit,
        `${bytes(row.memory_used)} of ${bytes(row.memory_limit)} until the alarm`,
        row.alarms.includes("memory") ? "bad" : full > 0.9 ? "warn" : "good",
      ),
      h("span", { class: "gauge-text" }, row.memory_limit ? `of ${bytes(row.memory_limit)}` : ""),
    );
    this.disk.replaceChildren(
      h("span", { class: "gauge-name" }, "disk"),
      h(
        "span",
        { class: "disk", "data-level": row.alarms.includes("disk") ? "bad" : "good" },
        row.disk_free === null ? "–" : `${bytes(row.disk_free)} free`,
      ),
      h("span", { class: "gauge-text" }, row.disk_limit ? `alarm under ${bytes(row.disk_limit)}` : ""),
    );
    this.facts.forEach((fact, index) => {
      const text = NODE_FACTS[index][1](row);
      if (text === null) fact.element.hidden = true; // this data plane doesn't count it
      else {
        fact.element.hidden = false;
        setText(fact.value, text);
      }
    });
  }
}

export class SessionsView extends ListView {
  constructor(follow) {
    super(follow, {
      title: "Sessions",
      search: "Search by client, user, virtual host or node",
      id: (row) => row.id,
      empty: "No client is connected.",
      onPick: (row, key) => this.pick(key),
      columns: [
        { key: "id", title: "no.", number: true, width: "4.5em", cell: (row) => String(row.id) },
        {
          key: "name",
          title: "client",
          sort: "name",
          width: "20%",
          sign: (row) => [row.name, row.client],
          cell: (row) => [
            h("strong", {}, row.name || row.client),
            row.name ? h("small", {}, ` ${row.client}`) : "",
          ],
        },
        { key: "user", title: "user", sort: "user", cell: (row) => row.user },
        { key: "vhost", title: "vhost", cell: (row) => row.vhost },
        { key: "node", title: "at home on", sort: "node", cell: (row) => row.node || "–" },
        { key: "links", title: "links to", cell: (row) => shortNames(row.links) },
        { key: "state", title: "state", cell: (row) => row.state },
        { key: "channels", title: "channels", sort: "channels", number: true, cell: (row) => count(row.channels) },
        { key: "moves", title: "moves", sort: "moves", number: true, cell: (row) => count(row.moves) },
        { key: "in", title: "in", number: true, cell: (row) => rate(row.published) },
        { key: "out", title: "out", number: true, cell: (row) => rate(row.delivered) },
        { key: "remote", title: "remote", number: true, cell: (row) => share(row.remote) },
        { key: "age", title: "since", sort: "age", number: true, cell: (row) => span(row.age) },
      ],
    });
    this.channels = new Table({
      caption: "Channels",
      id: (row) => row.channel,
      empty: "It has no channels.",
      columns: [
        { key: "channel", title: "channel", number: true, width: "6em", cell: (row) => String(row.channel) },
        { key: "node", title: "on", cell: (row) => (row.node ?? "–").split("@")[0] },
        { key: "why", title: "why", cell: (row) => row.why.replaceAll("_", " ") },
        { key: "queue", title: "queue", width: "22%", cell: (row) => row.queue || "–" },
        { key: "leader", title: "leader", cell: (row) => (row.leader ?? "–").split("@")[0] },
        { key: "state", title: "state", cell: (row) => row.state },
        {
          key: "moves",
          title: "moves",
          cell: (row) =>
            Object.entries(row.moves).map(([why, times]) => `${why} ${times}`).join(", ") || "–",
        },
        { key: "consumers", title: "consumers", number: true, cell: (row) => count(row.consumers) },
        { key: "unsettled", title: "unsettled", number: true, cell: (row) => count(row.unsettled) },
        { key: "unconfirmed", title: "unconfirmed", number: true, cell: (row) => count(row.unconfirmed) },
      ],
    });
    this.detailTitle = h("h3");
    this.detail.append(
      h(
        "div",
        { class: "tools" },
        this.detailTitle,
        h("button", { type: "button", onclick: () => this.pick(null) }, "Close"),
      ),
      this.channels.element,
    );
  }

  wanted() {
    return { ...super.wanted(), session: this.picked };
  }

  pick(key) {
    this.picked = key === this.picked ? null : key;
    this.detail.hidden = this.picked === null;
    this.again();
  }

  show(told) {
    super.show(told);
    const channels = told.body.channels;
    if (this.picked === null || !channels) return;
    setText(this.detailTitle, `Session ${this.picked}: where its channels are, and why`);
    this.channels.update(channels);
  }

  emptyText() {
    return "No client is connected. `warrener url` prints what to connect to.";
  }
}

export class EventsView extends ListView {
  constructor(follow) {
    super(follow, {
      title: "Events",
      search: "Search by kind, node, reason or detail",
      id: (row) => row.number,
      empty: "Nothing has happened yet.",
      columns: [
        {
          key: "at",
          title: "time",
          width: "84px",
          sign: (row) => row.at,
          cell: (row) =>
            h("time", { datetime: new Date(row.at * 1000).toISOString() }, clock(row.at)),
        },
        { key: "kind", title: "what", width: "14em", sign: (row) => row.kind, cell: (row) => h("code", {}, row.kind) },
        { key: "subject", title: "whom", width: "16%", cell: (row) => row.subject || "–" },
        { key: "reason", title: "reason", width: "12%", cell: (row) => row.reason.replaceAll("_", " ") || "–" },
        {
          key: "detail",
          title: "detail",
          cell: (row) =>
            Object.entries(row.detail)
              .map(([key, value]) => `${key.replaceAll("_", " ")}: ${value}`)
              .join(", "),
        },
      ],
    });
    this.element.classList.add("events");
  }

  emptyText() {
    return "Nothing has happened yet.";
  }
}
