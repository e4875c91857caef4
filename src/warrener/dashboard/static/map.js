// The map: clients -> balancer -> nodes -> queues' leaders -> consumers, left to right. Thickness is
// the measured rate, colour the utilisation; hops between nodes are dashed. Queues are drawn by
// leader and type, never one by one, so that it stays as large with 2,000 queues as with two.

import { count, h, rate, setText, share } from "./dom.js";

const WIDTH = 1200;
const COLUMNS = { clients: 0, balancer: 270, nodes: 470, groups: 720, consumers: 1020 };
const BOX = { clients: 190, balancer: 110, nodes: 170, groups: 230, consumers: 160 };
const ROW = 58;
const HEIGHT = 44;
const GAP = 14;
const TOP = 30;
const THINNEST = 1.2;
const THICKEST = 14;

export class MapView {
  constructor(follow) {
    this.follow = follow;
    this.sign = "";
    this.picked = null;
    this.drawing = h("div", {
      class: "map",
      tabindex: "0",
      role: "region",
      "aria-label": "Map of the flow",
    });
    this.note = h("p", { class: "note", hidden: true });
    this.detail = h("aside", { class: "card map-detail", "aria-live": "polite" });
    this.element = h(
      "section",
      { "aria-label": "Map" },
      h(
        "div",
        { class: "tools" },
        h("h2", {}, "Map"),
        h(
          "p",
          { class: "legend" },
          h("span", { class: "key thick" }, "thickness: messages/s"),
          h("span", { class: "key", "data-use": "low" }, "under 60 % used"),
          h("span", { class: "key", "data-use": "mid" }, "60 to 85 %"),
          h("span", { class: "key", "data-use": "high" }, "over"),
          h("span", { class: "key dashed" }, "hop between nodes"),
        ),
      ),
      this.note,
      this.drawing,
      this.detail,
    );
  }

  wanted() {
    return {};
  }

  show(told) {
    const body = told.body;
    this.told = told;
    const parts = layOut(told);
    const sign = JSON.stringify(parts.boxes.map((box) => [box.key, box.x, box.y]));
    if (sign !== this.sign) {
      this.sign = sign;
      this.draw(parts);
    }
    this.refresh(parts);
    this.note.hidden = !body.note;
    setText(this.note, body.note);
    this.describe(parts);
  }

  // What is where has changed: drawn anew. Else only figures, colours and thickness change.
  draw(parts) {
    const focused = document.activeElement?.dataset?.key;
    this.edges = h("g", { class: "edges" });
    this.boxes = new Map();
    this.lines = new Map();
    const titles = Object.entries(COLUMNS).map(([name, x]) =>
      h("text", { x: x + 10, y: 18, class: "column" }, TITLES[name]),
    );
    const boxes = parts.boxes.map((box) => {
      const name = h("text", { x: box.x + 12, y: box.y + 18, class: "box-name" });
      const text = h("text", { x: box.x + 12, y: box.y + 35, class: "box-text" });
      const group = h(
        "g",
        {
          class: "box",
          tabindex: "0",
          role: "button",
          "data-key": box.key,
          onclick: () => this.pick(box.key),
          onkeydown: (event) => {
            if (event.key === "Enter" || event.key === " ") {
              event.preventDefault();
              this.pick(box.key);
            }
          },
        },
        h("rect", { x: box.x, y: box.y, width: box.width, height: HEIGHT, rx: 7 }),
        h("rect", { x: box.x, y: box.y, width: 5, height: HEIGHT, rx: 2.5, class: "use" }),
        name,
        text,
      );
      this.boxes.set(box.key, { group, name, text });
      return group;
    });
    const svg = h(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${parts.height}`, width: WIDTH, height: parts.height, role: "group", "aria-label": "Flow of messages" },
      ...titles,
      this.edges,
      ...boxes,
    );
    this.drawing.replaceChildren(svg);
    if (focused) this.boxes.get(focused)?.group.focus();
  }

  refresh(parts) {
    for (const box of parts.boxes) {
      const drawn = this.boxes.get(box.key);
      setText(drawn.name, fitted(box.name, box.width - 24, 7.4));
      setText(drawn.text, fitted(box.text, box.width - 24, 6.3));
      drawn.group.setAttribute("data-level", box.level ?? "good");
      drawn.group.setAttribute("data-use", box.use ?? "none");
      drawn.group.setAttribute("aria-label", `${box.name}: ${box.text}`);
      drawn.group.classList.toggle("picked", box.key === this.picked);
    }
    const most = Math.max(1, ...parts.edges.map((edge) => edge.rate));
    const seen = new Set();
    for (const edge of parts.edges) {
      seen.add(edge.key);
      let line = this.lines.get(edge.key);
      if (!line) {
        line = h("path", { class: "edge" }, h("title"));
        this.lines.set(edge.key, line);
      }
      if (line.parentNode !== this.edges) this.edges.append(line);
      line.setAttribute("d", curve(edge.from, edge.to));
      line.setAttribute("data-use", edge.use ?? "none");
      line.classList.toggle("hop", Boolean(edge.hop));
      line.classList.toggle("still", edge.rate <= 0);
      line.style.strokeWidth = String(thickness(edge.rate, most));
      setText(line.firstChild, `${edge.title}: ${edge.rate < 0 ? "not known" : rate(edge.rate)}`);
    }
    for (const [key, line] of this.lines) {
      if (seen.has(key)) continue;
      line.remove();
      this.lines.delete(key);
    }
  }

  pick(key) {
    this.picked = this.picked === key ? null : key;
    const parts = layOut(this.told);
    this.refresh(parts);
    this.describe(parts);
  }

  describe(parts) {
    const box = parts.boxes.find((one) => one.key === this.picked);
    const sign = box ? JSON.stringify([box.name, box.facts]) : "none";
    if (sign === this.described) return;
    this.described = sign;
    if (!box) {
      this.detail.replaceChildren(
        h("p", { class: "quiet" }, "Choose a part of the map to see its figures."),
      );
      return;
    }
    this.detail.replaceChildren(
      h("h3", {}, box.name),
      h("dl", {}, ...box.facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    );
  }
}

const TITLES = {
  clients: "clients",
  balancer: "balancer",
  nodes: "nodes",
  groups: "queues by leader",
  consumers: "consumers",
};

// Where everything is, and what it says. Pure.
function layOut(told) {
  const body = told.body;
  const boxes = [];
  const edges = [];
  const at = new Map();
  const rows = Math.max(body.clients.length, body.nodes.length, body.groups.length, 1);
  const height = TOP + rows * ROW + GAP;

  const put = (column, index, number, box) => {
    const inset = ((rows - number) * ROW) / 2;
    const made = {
      ...box,
      x: COLUMNS[column] + 6,
      y: TOP + inset + index * ROW,
      width: BOX[column],
    };
    boxes.push(made);
    at.set(made.key, made);
    return made;
  };

  const head = told.head;
  put("balancer", 0, 1, {
    key: "balancer",
    name: "balancer",
    text: `${count(head.sessions)} sessions`,
    facts: [
      ["address", head.address || "–"],
      ["policy", head.policy || "–"],
      ["data plane", head.data_plane || "–"],
      ["sessions", count(head.sessions)],
      ["published", rate(head.published)],
      ["delivered", rate(head.delivered)],
      ["remote", share(head.remote)],
    ],
  });
  body.nodes.forEach((node, index) => {
    const use = node.rho ?? node.busy;
    const running = node.level === "good" || node.level === "warn";
    put("nodes", index, body.nodes.length, {
      key: `node ${node.short}`,
      name: node.short,
      text: node.level === "good" ? `${count(node.sessions)} sessions` : node.word,
      level: node.level,
      use: running ? useOf(use) : "none",
      facts: [
        ["state", node.why ? `${node.word}: ${node.why}` : node.word],
        ["rho", node.rho === null ? "not known: `warrener plan calibrate` measures it" : share(node.rho)],
        ["of its cores", share(node.busy)],
        ["cores in use", node.cpu === null ? "–" : node.cpu.toFixed(2)],
        ["sessions", count(node.sessions)],
        ["leads", `${count(node.leaders)} queues`],
        ["memory", node.memory_limit ? share(node.memory_used / node.memory_limit) : "–"],
        ["weight", count(node.weight)],
      ],
    });
  });
  body.clients.forEach((one, index) => {
    const key = `client ${one.user} ${one.vhost}`;
    put("clients", index, body.clients.length, {
      key,
      name: one.vhost === "/" ? one.user : `${one.user} ${one.vhost}`,
      text: `${count(one.sessions)} sessions, ${rate(one.published)} in`,
      facts: [
        ["user", one.user],
        ["virtual host", one.vhost],
        ["sessions", count(one.sessions)],
        ["published", rate(one.published)],
        ["delivered", rate(one.delivered)],
        ["at home on", Object.entries(one.at).map(([node, many]) => `${node || "none yet"}: ${many}`).join(", ")],
      ],
    });
    edges.push({
      key: `${key}>`,
      from: at.get(key),
      to: at.get("balancer"),
      rate: (one.published ?? 0) + (one.delivered ?? 0),
      title: `${one.user} to the balancer`,
    });
  });
  // Messages that pass each node: those of the queues it leads that don't come by a hop, and those
  // that enter or leave through it for queues that others lead.
  const through = new Map(body.nodes.map((node) => [node.short, 0]));
  const add = (node, amount) => through.set(node, (through.get(node) ?? 0) + amount);
  body.groups.forEach((group) => add(group.leader, group.published + group.delivered));
  body.hops.forEach((hop) => {
    add(hop.leader, -hop.rate);
    add(hop.entry, hop.rate);
  });
  body.nodes.forEach((node) => {
    const box = at.get(`node ${node.short}`);
    edges.push({
      key: `balancer>${node.short}`,
      from: at.get("balancer"),
      to: box,
      rate: Math.max(0, through.get(node.short) ?? 0),
      use: box.use,
      title: `balancer to ${node.short}`,
    });
  });
  body.groups.forEach((group, index) => {
    const key = `group ${group.leader} ${group.type}`;
    const box = put("groups", index, body.groups.length, {
      key,
      name: `${count(group.queues)} ${group.type} on ${group.leader || "no node"}`,
      text: `${rate(group.published)} in, ${rate(group.delivered)} out, ${count(group.ready)} ready`,
      level: group.level,
      facts: [
        ["leader", group.leader || "none"],
        ["type", group.type],
        ["queues", count(group.queues)],
        ["published", rate(group.published)],
        ["delivered", rate(group.delivered)],
        ["ready", count(group.ready)],
        ["consumers", count(group.consumers)],
        ["busiest", group.busiest.join(", ") || "–"],
      ],
    });
    const leader = at.get(`node ${group.leader}`);
    if (leader) {
      edges.push({
        key: `${group.leader}>${key}`,
        from: leader,
        to: box,
        rate: group.published + group.delivered,
        use: leader.use,
        title: `${group.leader} to its ${group.type} queues`,
      });
    }
    if (group.consumers) {
      const consumers = put("consumers", index, body.groups.length, {
        key: `consumers ${key}`,
        name: `${count(group.consumers)} consumers`,
        text: `${rate(group.delivered)}`,
        facts: [
          ["consumers", count(group.consumers)],
          ["of", `${group.type} queues on ${group.leader || "no node"}`],
          ["delivered", rate(group.delivered)],
        ],
      });
      edges.push({
        key: `${key}>consumers`,
        from: box,
        to: consumers,
        rate: group.delivered,
        title: "to consumers",
      });
    }
  });
  body.hops.forEach((hop) => {
    const from = at.get(`node ${hop.entry}`);
    const to = at.get(`node ${hop.leader}`);
    if (from && to) {
      edges.push({
        key: `hop ${hop.entry}>${hop.leader}`,
        from,
        to,
        rate: hop.rate,
        hop: true,
        title: `hop from ${hop.entry} to ${hop.leader}`,
      });
    }
  });
  return { boxes, edges, height };
}

function curve(from, to) {
  const y0 = from.y + HEIGHT / 2;
  const y1 = to.y + HEIGHT / 2;
  const x0 = from.x + from.width;
  if (from.x === to.x) {
    // A hop between two nodes: an arc on their right side.
    return `M ${x0} ${y0} C ${x0 + 60} ${y0}, ${x0 + 60} ${y1}, ${x0} ${y1}`;
  }
  const middle = (x0 + to.x) / 2;
  return `M ${x0} ${y0} C ${middle} ${y0}, ${middle} ${y1}, ${to.x} ${y1}`;
}

// By the square root, so that a tenth of the largest flow is still seen.
function thickness(amount, most) {
  return amount <= 0 ? THINNEST : THINNEST + (THICKEST - THINNEST) * Math.sqrt(amount / most);
}

function useOf(use) {
  if (use === null) return "none";
  return use < 0.6 ? "low" : use < 0.85 ? "mid" : "high";
}

function fitted(text, width, letter) {
  const most = Math.floor(width / letter);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
