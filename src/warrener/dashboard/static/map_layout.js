// Where everything on the map is, and what it says. Pure.

import { count, rate, share, span } from "./dom.js";

export const WIDTH = 1200;
export const COLUMNS = { clients: 0, balancer: 244, nodes: 470, groups: 720, consumers: 1000 };
const BOX = { clients: 190, balancer: 150, nodes: 170, groups: 230, consumers: 188 };
const ROW = 58;
export const HEIGHT = 44;
const GAP = 14;
const TOP = 30;
const THINNEST = 1.2;
const THICKEST = 14;

function many(number, what) {
  return `${count(number)} ${what}${number === 1 ? "" : "s"}`;
}

export const TITLES = {
  clients: "clients",
  balancer: "balancer",
  nodes: "nodes",
  groups: "queues by leader",
  consumers: "consumers",
};

export function layOut(told) {
  const body = told.body;
  const boxes = [];
  const edges = [];
  const at = new Map();
  const rows = Math.max(body.clients.length, body.nodes.length, body.groups.length, 1);
  const height = TOP + rows * ROW + GAP;

  const put = (column, index, number, box) => {
    // Each beside what it is connected with, as far as that is as many.
    const middle = ((index + 0.5) * rows) / number;
    const made = {
      ...box,
      x: COLUMNS[column] + 6,
      y: TOP + (middle - 0.5) * ROW,
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
    text: many(head.sessions, "session"),
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
      text: node.level === "good" ? many(node.sessions, "session") : node.word,
      level: node.level,
      use: running ? useOf(use) : "none",
      away: !running,
      facts: [
        ["state", node.why ? `${node.word}: ${node.why}` : node.word],
        ["rho", node.rho === null ? "not known: `warrener plan calibrate` measures it" : share(node.rho)],
        ["of its cores", share(node.busy)],
        ["cores in use", node.cpu === null ? "–" : node.cpu.toFixed(2)],
        ["sessions", count(node.sessions)],
        ["leads", many(node.leaders, "queue")],
        ["up", span(node.uptime)],
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
      text: `${many(one.sessions, "session")}, ${rate(one.published)} in`,
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
      facts: [["published", rate(one.published)], ["delivered", rate(one.delivered)]],
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
      facts: [["messages, both ways", rate(Math.max(0, through.get(node.short) ?? 0))]],
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
        facts: [["published", rate(group.published)], ["delivered", rate(group.delivered)]],
      });
    }
    if (group.consumers) {
      const consumers = put("consumers", index, body.groups.length, {
        key: `consumers ${key}`,
        name: many(group.consumers, "consumer"),
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
        title: `${group.type} queues on ${group.leader || "no node"} to their consumers`,
        facts: [["delivered", rate(group.delivered)], ["consumers", count(group.consumers)]],
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
        facts: [
          ["messages, both ways", rate(hop.rate)],
          ["what it is", `clients are connected to ${hop.entry}, their queues are led by ${hop.leader}`],
          ["what would avoid it", "locality, which has channels follow their queues' leaders (`warrener balance locality on`)"],
        ],
      });
    }
  });
  mark(body, at, edges);
  if (body.found) dim(body.found, boxes, at);
  const empties = [
    ["clients", body.clients.length, body.clients_known ? "no client is connected" : "not known"],
    ["nodes", body.nodes.length, "no node is known yet"],
    ["groups", body.groups.length, "no queues yet"],
  ]
    .filter(([, number]) => number === 0)
    .map(([column, , text]) => ({ text, x: COLUMNS[column] + 10, y: TOP + (rows * ROW) / 2 - 2 }));
  return { boxes, edges, height, at, empties };
}

// The least cut, and what breaks first: red, with a word.
function mark(body, at, edges) {
  const edge = (key) => edges.find((one) => one.key === key);
  const put = (part, one) => {
    if (!part) return;
    part.cut = one.cut || part.cut;
    part.first = one.first || part.first;
    part.word = part.first ? "breaks first" : "min-cut";
  };
  for (const one of body.cut.marks) {
    if (!body.cut.known) return;
    const group = `group ${one.leader} ${one.type}`;
    if (one.kind === "balancer") put(at.get("balancer"), one);
    for (const node of one.nodes) {
      if (at.get(`node ${node}`)?.away) continue; // since that load
      put(at.get(`node ${node}`), one);
      put(edge(`balancer>${node}`), one);
    }
    if (one.kind === "queue") {
      put(at.get(group), one);
      put(edge(`${one.leader}>${group}`), one);
    }
    if (one.kind === "consumers") {
      put(at.get(`consumers ${group}`), one);
      put(edge(`${group}>consumers`), one);
    }
    const box = at.get(one.kind === "queue" ? group : `consumers ${group}`);
    if (box && one.names.length && (one.kind === "queue" || one.kind === "consumers")) {
      const more = one.queues - one.names.length;
      box.facts.push([
        one.first ? "breaks first" : "in the min-cut",
        `${one.names.join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`,
      ]);
    }
  }
}

// What a search finds stands out, what belongs to it stays, the rest steps back.
function dim(found, boxes, at) {
  for (const box of boxes) box.dim = true;
  const match = (key, text) => {
    const box = at.get(key);
    if (!box) return;
    box.match = true;
    box.dim = false;
    if (text) box.text = text;
  };
  const keep = (key) => {
    const box = at.get(key);
    if (box) box.dim = false;
  };
  for (const one of found.groups) {
    const key = `group ${one.leader} ${one.type}`;
    match(key, `${count(one.queues)} match`);
    keep(`consumers ${key}`);
    keep(`node ${one.leader}`);
  }
  for (const node of found.nodes) match(`node ${node}`);
  for (const one of found.clients) {
    match(`client ${one.user} ${one.vhost}`, `${many(one.sessions, "session")} match`);
    keep("balancer");
  }
}

/** What the planner says of the map, in a sentence. */
export function cutWords(cut) {
  if (!cut.known) return `The min-cut isn't known: ${cut.why_not || "no load yet"}.`;
  if (cut.breaks_at === null) return "No load to speak of: nothing breaks, so there is no min-cut.";
  const more = cut.cut_total - cut.cut.length;
  const names = `${cut.cut.join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`;
  const flow = cut.cut_total
    ? ` Min-cut: ${names}; no more than ${rate(cut.max_flow)} can get through.`
    : "";
  return `First to break: ${cut.first}, at ${cut.breaks_at.toFixed(2)} times today's load.${flow} What helps: ${cut.remedy}.`;
}

export function curve(from, to) {
  const y0 = from.y + HEIGHT / 2;
  const y1 = to.y + HEIGHT / 2;
  const x0 = from.x + from.width;
  if (from.x === to.x) {
    // A hop between two nodes: an arc on their right side, the wider the farther they are apart.
    const out = x0 + Math.min(95, 34 + Math.abs(y1 - y0) / 7);
    return `M ${x0} ${y0} C ${out} ${y0}, ${out} ${y1}, ${x0} ${y1}`;
  }
  const middle = (x0 + to.x) / 2;
  return `M ${x0} ${y0} C ${middle} ${y0}, ${middle} ${y1}, ${to.x} ${y1}`;
}

// By the square root, so that a tenth of the largest flow is still seen.
export function thickness(amount, most) {
  return amount <= 0 ? THINNEST : THINNEST + (THICKEST - THINNEST) * Math.sqrt(amount / most);
}

function useOf(use) {
  if (use === null) return "none";
  return use < 0.6 ? "low" : use < 0.85 ? "mid" : "high";
}

export function fitted(text, width, letter) {
  const most = Math.floor(width / letter);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
