// The planner: what the cluster carries, what breaks first, and what if. What is pushed says only that
// there is another load; what it means is asked for, one question at a time: while a slider is dragged
// the newest one is asked as soon as the last is answered.

import { ask, NoAnswer } from "./ask.js";
import { clock, coded, count, h, meter, rate, setText, share, span, Table } from "./dom.js";
import { WhatIf } from "./what_if.js";

const REST = 350; // ms without a change until everything is asked, and said aloud

export class PlannerView {
  constructor() {
    this.viewer = crypto.randomUUID();
    this.number = 0;
    this.asking = false;
    this.again = null;
    this.whatIf = new WhatIf((settled) => this.changed(settled));
    this.source = h("p", { class: "count" });
    this.state = h("p", { class: "count reckoning" });
    this.empty = h("section", { class: "card drawn", hidden: true });
    this.said = h("p", { class: "said", role: "status", "aria-live": "polite" });
    this.verdict = h("div", { class: "verdict" });
    this.sides = new Table({
      caption: "Now, and what if",
      id: (row) => row.key,
      empty: "",
      columns: [
        { key: "what", title: "", width: "38%", cell: (row) => row.what },
        { key: "now", title: "now", number: true, sign: (row) => row.now, cell: (row) => figure(row.now) },
        { key: "then", title: "what if", number: true, sign: (row) => row.then, cell: (row) => figure(row.then) },
      ],
    });
    this.parts = new Table({
      caption: "What is used up first, if the load grows",
      id: (row) => `${row.kind} ${row.name}`,
      empty: "No part is known to be used up by the load.",
      columns: [
        { key: "part", title: "part", width: "36%", sign: (row) => row.words, cell: (row) => h("span", { title: row.words }, partName(row)) },
        { key: "capacity", title: "has", number: true, cell: (row) => `${row.at_least ? "≥ " : ""}${amount(row, row.capacity)}` },
        { key: "used", title: "used", number: true, cell: (row) => amount(row, row.used) },
        { key: "rho", title: "rho", number: true, sign: (row) => row.rho, cell: (row) => figure(rho(row.rho)) },
        { key: "breaks", title: "breaks at", number: true, cell: (row) => times(row.breaks_at) },
      ],
    });
    this.losses = new Table({
      caption: "Without each node",
      id: (row) => row.node,
      empty: "Reckoned when nothing is dragged.",
      columns: [
        { key: "node", title: "without", width: "18%", cell: (row) => row.node },
        {
          key: "breaks",
          title: "takes",
          number: true,
          width: "14%",
          sign: (row) => [row.breaks_at, row.stopped_total],
          cell: (row) => figure(left(row)),
        },
        {
          key: "stops",
          title: "queues stop",
          number: true,
          width: "20%",
          sign: (row) => [row.stopped_total, row.stopped],
          cell: (row) =>
            h("span", { class: "fig", "data-level": row.stopped_total ? "warn" : null, title: row.stopped.join(", ") || null }, count(row.stopped_total)),
        },
        { key: "first", title: "then breaks first", sign: (row) => row.first, cell: (row) => h("span", { title: row.first }, row.first || "–") },
      ],
    });
    this.nodes = new Table({
      caption: "Nodes",
      id: (row) => row.name,
      empty: "No node is known.",
      columns: [
        {
          key: "name",
          title: "node",
          sign: (row) => [row.name, row.gone],
          cell: (row) => (row.gone ? h("s", { title: "gone then" }, row.name) : h("strong", { title: row.name }, row.name)),
        },
        both("queues", "leads", "queues", "9%", (value) => ({ text: count(value) })),
        both("arrivals", "lambda", "arrivals", "13%", (value) => ({ text: rate(value) })),
        both("service", "mu", "service", "14%", (value) => ({ text: rate(value) })),
        both("rho", "rho", "rho", "11%", rho),
        measured("rho_measured", "measured", (row) => share(row.rho_measured)),
        both("time", "R", "time", "12%", (value) => ({ text: span(value) })),
        measured("time_measured", "measured", (row) => span(row.time_measured)),
        both("length", "L", "length", "10%", (value) => ({ text: number(value) })),
        measured("length_measured", "measured", (row) => number(row.length_measured)),
      ],
    });
    this.queues = new Table({
      caption: "Queues, the busiest first",
      id: (row) => row.name,
      empty: "Nothing goes through any queue.",
      onPick: (row) => this.whatIf.pickQueue(row.name),
      columns: [
        {
          key: "name",
          title: "queue",
          sign: (row) => [row.name, row.stops],
          cell: (row) => (row.stops ? h("s", { title: "nobody serves it then" }, row.name) : h("strong", { title: row.name }, row.name)),
        },
        both("arrivals", "lambda", "arrivals", "11%", (value) => ({ text: rate(value) })),
        both("service", "mu", "service", "12%", (value) => ({ text: rate(value) })),
        both("consumers", "consumers", "consumers", "9%", (value) => ({ text: count(value) })),
        both("rho", "rho", "rho", "12%", rho),
        both("time", "R", "time", "14%", (value, side) => (side.grows > 0 ? { text: "grows", level: "bad" } : { text: span(value) })),
        measured("time_measured", "measured", (row) => span(row.time_measured)),
        both("length", "L", "length", "12%", (value, side) => (side.grows > 0 ? { text: "grows", level: "bad" } : { text: number(value) })),
        measured("length_measured", "measured", (row) => number(row.length_measured)),
      ],
    });
    this.queueCount = h("p", { class: "count" });
    this.growing = h("ul", { class: "growing" });
    this.notes = h("ul", { class: "notes" });
    this.lossesOf = h("h3", {}, "Without each node");
    this.partsOf = h("h3", {}, "Used up first");
    this.result = h(
      "div",
      { class: "planned" },
      h("div", { class: "plan-top" }, this.whatIf.element, h("div", { class: "plan-sides" }, this.verdict, this.sides.element)),
      this.said,
      this.growing,
      h(
        "div",
        { class: "plan-two" },
        h("section", {}, this.partsOf, this.parts.element),
        h("section", {}, this.lossesOf, this.losses.element),
      ),
      h("div", { class: "tools" }, h("h3", {}, "Nodes")),
      this.nodes.element,
      h("div", { class: "tools" }, h("h3", {}, "Queues"), this.queueCount),
      this.queues.element,
      this.notes,
    );
    this.element = h(
      "section",
      { "aria-label": "Planner", class: "planner" },
      h("div", { class: "tools" }, h("h2", {}, "Planner"), this.source, this.state),
      this.empty,
      this.result,
    );
    this.result.hidden = true;
  }

  wanted() {
    return {};
  }

  show(told) {
    const body = told.body;
    this.body = body;
    this.drawEmpty(body);
    this.result.hidden = body.number === 0;
    this.result.classList.toggle("uncalibrated", !body.calibrated);
    const costs = body.taken_at === null ? "" : `, costs ${body.by_history ? "by the history since" : "measured on"} ${day(body.taken_at)}`;
    const read = body.at === null ? "" : `Load of the last ${Math.round(body.window / 60)} min, read at ${clock(body.at)}${costs}`;
    setText(this.source, read);
    if (body.number !== this.number) {
      this.number = body.number;
      if (body.number) this.request(true);
    }
  }

  // -- questions

  changed(settled) {
    clearTimeout(this.timer);
    this.request(false);
    this.timer = setTimeout(() => this.request(true), settled ? 0 : REST);
  }

  request(full) {
    if (this.asking) {
      this.again = { full: full || (this.again?.full ?? false) };
      return;
    }
    this.asking = true;
    setText(this.state, "reckoning");
    const query = this.whatIf.question();
    query.set("viewer", this.viewer);
    if (full) query.set("losses", "1");
    ask("/api/plan", query)
      .then((answer) => this.answered(answer, full))
      .catch((error) => {
        if (!(error instanceof NoAnswer)) throw error;
        if (error.status !== 409) this.say(`No answer: ${error.message}.`, "bad");
      })
      .finally(() => {
        this.asking = false;
        const again = this.again;
        this.again = null;
        if (again && this.element.isConnected) this.request(again.full);
        else setText(this.state, "");
      });
  }

  say(text, level) {
    setText(this.said, text);
    this.said.dataset.level = level;
  }

  answered(answer, full) {
    const { before, after } = answer;
    const side = after ?? before;
    this.whatIf.know(
      before.nodes.filter((node) => node.running).map((node) => node.name),
      answer.queues,
    );
    this.showVerdict(answer);
    this.sides.update(sides(answer));
    this.parts.update(side.parts);
    setText(this.partsOf, after ? "Used up first, then" : "Used up first");
    setText(this.lossesOf, after ? "Without each node, then" : "Without each node");
    if (side.losses) this.losses.update(lossRows(side));
    this.losses.element.classList.toggle("old", !side.losses);
    this.nodes.update(nodeRows(answer));
    this.queues.update(queueRows(answer), null);
    const shown = answer.queues.length;
    const active = answer.queues_active;
    setText(
      this.queueCount,
      `${count(answer.queues_total)}, ${count(active)} of them active${shown < active ? `; the busiest ${shown}` : ""}.${answer.calibrated ? " Choose one to change its consumers." : ""}`,
    );
    list(this.growing, growing(side, answer));
    list(this.notes, [...side.stalling, ...answer.warnings.map((text) => `Note: ${text}`)]);
    if (full) this.say(sentence(answer), after && bad(after, answer) ? "bad" : "good");
  }

  showVerdict({ before, after, calibrated }) {
    const sign = JSON.stringify([before.capacity, before.breaks_at, before.first, after, calibrated]);
    if (sign === this.verdictSign) return;
    this.verdictSign = sign;
    this.verdict.replaceChildren(
      tile("Now", before, calibrated),
      after ? tile("What if", after, calibrated) : h("div", { class: "tile waits" }, h("h3", {}, "What if"), h("p", { class: "quiet" }, "Move a slider, or let a node die.")),
    );
  }

  // -- nothing to reckon with

  drawEmpty(body) {
    const why = body.why_not || (body.number && !body.calibrated ? body.why_uncalibrated : "");
    this.empty.hidden = !why;
    const sign = JSON.stringify([why, body.number > 0]);
    if (sign === this.emptySign) return;
    this.emptySign = sign;
    if (!why) return;
    const command = h("code", {}, "warrener plan calibrate");
    const text = body.number
      ? [
          h("h3", {}, "What a message costs here isn't known"),
          h("p", {}, ...coded(upper(why)), ". In a terminal, ", command, " does, in a minute and a half (it loads the cluster meanwhile). Then this view says what the cluster carries, what breaks first and what if."),
          h("p", { class: "quiet" }, "Below is what is measured without it; what is said of consumers is by how long they were seen at work."),
        ]
      : [
          h("h3", {}, "Nothing to plan with yet"),
          h("p", {}, ...coded(upper(why)), "."),
          h("p", { class: "quiet" }, "The planner needs some seconds of history, and ", command, " once, for what a message costs."),
        ];
    this.empty.replaceChildren(gauge(), h("div", {}, ...text));
  }
}

// -- words and figures

function number(value) {
  if (value === null || value === undefined) return "–";
  return value < 100 ? value.toFixed(1) : count(Math.round(value));
}

function times(value) {
  if (value === null || value === undefined) return "–";
  return `${value < 100 ? value.toFixed(2) : count(Math.round(value))} ×`;
}

function rho(value) {
  if (value === null || value === undefined) return { text: "–" };
  return { text: value < 10 ? share(value) : "> 999 %", level: value >= 1 ? "bad" : value >= 0.8 ? "warn" : "" };
}

function figure(value) {
  const { text, level } = value ?? { text: "–" };
  return h("span", { class: "fig", "data-level": level || null }, text);
}

function amount(part, value) {
  return part.unit === "cores" ? `${value.toFixed(2)} cores` : rate(value);
}

function partName(part) {
  if (part.kind === "host" || part.kind === "node") return `CPU of ${part.kind} ${part.name}`;
  if (part.kind === "consumers") return `consumers of ${part.name}`;
  return part.kind === part.name ? part.name : `${part.kind} ${part.name}`;
}

function queuesGrow(number) {
  return number === 1 ? "1 queue grows" : `${count(number)} queues grow`;
}

// A column of figures now and, after an arrow, what if.
function both(key, title, field, width, format) {
  const of = (side) => (side ? format(side[field], side) : null);
  return {
    key,
    title,
    number: true,
    width,
    sign: (row) => [of(row.before), of(row.after), row.asked],
    cell: (row) => {
      const now = of(row.before) ?? { text: "–" };
      if (!row.asked) return figure(now);
      const then = of(row.after) ?? { text: "–" };
      if (now.text === then.text) return figure(then);
      return [h("span", { class: "was" }, now.text), " → ", figure(then)];
    },
  };
}

function measured(key, title, cell) {
  return { key, title, number: true, width: "6.5%", cell: (row) => cell(row.before ?? row) };
}

function nodeRows({ before, after }) {
  const then = new Map((after?.nodes ?? []).map((node) => [node.name, node]));
  const rows = before.nodes.map((node) => ({
    name: node.name,
    before: node,
    after: then.get(node.name) ?? null,
    asked: Boolean(after),
    gone: after ? !(then.get(node.name)?.running ?? false) : !node.running,
  }));
  const known = new Set(rows.map((row) => row.name));
  for (const node of then.values())
    if (!known.has(node.name)) rows.push({ name: node.name, before: null, after: node, asked: true, gone: false });
  // Those that have nothing to measure have no figures of their own.
  return rows.map((row) => ({ ...row, rho_measured: null, time_measured: null, length_measured: null }));
}

function queueRows({ queues, after }) {
  return queues.map((queue) => ({
    name: queue.name,
    before: { ...queue.before, time_measured: queue.time_measured, length_measured: queue.length_measured },
    after: queue.after,
    asked: Boolean(after),
    stops: Boolean(after) && !queue.after,
  }));
}

function lossRows(side) {
  return side.losses.map((loss) => ({ ...loss, idle: side.published === 0 }));
}

// What is left without a node: nothing, if all that had traffic stops with it.
function left(loss) {
  if (loss.breaks_at === null) return loss.stopped_total && !loss.idle ? { text: "nothing", level: "bad" } : { text: "–" };
  return { text: times(loss.breaks_at), level: loss.breaks_at < 1 ? "bad" : "" };
}

function worst(side) {
  if (!side.losses?.length) return { text: "–" };
  const worth = (loss) => loss.breaks_at ?? (loss.stopped_total ? 0 : Infinity);
  return left(lossRows(side).reduce((one, other) => (worth(other) < worth(one) ? other : one)));
}

function sides({ before, after }) {
  const row = (key, what, of) => ({ key, what, now: of(before), then: after ? of(after) : null });
  const text = (made) => (side) => ({ text: made(side) });
  const busiest = (kind) => (side) => rho(side.busiest[kind]);
  return [
    row("published", "comes in", text((side) => rate(side.published))),
    row("capacity", "carries", text((side) => rate(side.capacity))),
    row("breaks", "breaks at", (side) => ({ text: times(side.breaks_at), level: side.breaks_at !== null && side.breaks_at < 1 ? "bad" : "" })),
    row("worst", "without any one node", worst),
    row("flow", "if every queue got what it takes", text((side) => rate(side.max_flow))),
    row("time", "R, mean", text((side) => span(side.time))),
    row("length", "L, all queues", text((side) => number(side.length))),
    row("host", "busiest host", busiest("host")),
    row("node", "busiest node", busiest("node")),
    row("balancer", "balancer", busiest("balancer")),
    row("consumers", "busiest consumers", busiest("consumers")),
    row("growing", "queues that grow", (side) => ({ text: count(side.growing_total), level: side.growing_total ? "bad" : "" })),
  ];
}

function tile(title, side, calibrated) {
  const known = side.capacity !== null;
  const level = !known ? "good" : side.breaks_at < 1 ? "bad" : side.breaks_at < 1.25 ? "warn" : "good";
  const error = side.error >= 0.005 ? ` ± ${share(side.error)}` : "";
  const parts = [
    h("h3", {}, title),
    h("p", { class: "big" }, known ? rate(side.capacity) : "–", h("small", {}, known ? ` carried${error}` : " nothing goes through, or nothing is known of what it costs")),
  ];
  if (known) {
    parts.push(
      meter(side.published, side.capacity, `${rate(side.published)} of ${rate(side.capacity)}`, level),
      h("p", { class: "headroom" }, side.breaks_at < 1 ? "More than it carries: " : "Headroom: ", h("strong", {}, times(side.breaks_at)), side.breaks_at < 1 ? " of this load is all it takes" : " this load"),
      h("p", {}, h("strong", {}, "First to break: "), side.first, calibrated ? "" : " (of consumers alone)"),
      h("p", {}, h("strong", {}, "What helps: "), ...coded(side.remedy)),
    );
    if (side.cut_total)
      parts.push(h("p", { class: "quiet" }, `Min-cut: ${side.cut.join(", ")}${side.cut_total > side.cut.length ? ` and ${count(side.cut_total - side.cut.length)} more` : ""}`));
  }
  return h("div", { class: "tile", "data-level": level }, ...parts);
}

function growing(side, answer) {
  const lines = [...side.growing];
  if (side.growing_total > lines.length) lines.push(`and ${count(side.growing_total - lines.length)} more`);
  if (answer.stopped_total) {
    const more = answer.stopped_total - answer.stopped.length;
    lines.push(`Nobody serves any more: ${answer.stopped.join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`);
  }
  return lines;
}

function bad(side, answer) {
  return (side.breaks_at !== null && side.breaks_at < 1) || side.growing_total > 0 || answer.stopped_total > 0;
}

function sentence(answer) {
  const { before, after, asked } = answer;
  const side = after ?? before;
  const start = after ? `With ${asked}: ` : "As it is: ";
  if (side.capacity === null) return `${start}there is no load, or nothing is known of what it costs, so nothing breaks.`;
  const parts = [`${start}the cluster carries ${rate(side.capacity)}, ${times(side.breaks_at)} what comes in; first to break is ${side.first}`];
  if (side.growing_total) parts.push(`${queuesGrow(side.growing_total)}: ${side.growing[0]}`);
  if (answer.stopped_total) parts.push(`nobody serves ${count(answer.stopped_total)} ${answer.stopped_total === 1 ? "queue" : "queues"} any more`);
  return `${parts.join("; ")}.`;
}

function list(element, lines) {
  const sign = JSON.stringify(lines);
  if (element.dataset.sign === sign) return;
  element.dataset.sign = sign;
  element.hidden = lines.length === 0;
  element.replaceChildren(...lines.map((line) => h("li", {}, ...coded(line))));
}

function upper(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function day(at) {
  return new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

// A gauge without a hand.
function gauge() {
  return h(
    "svg",
    { viewBox: "0 0 120 74", width: 120, height: 74, "aria-hidden": "true", class: "gauge-drawn" },
    h("path", { d: "M 12 64 A 48 48 0 0 1 108 64", class: "arc" }),
    h("path", { d: "M 12 64 A 48 48 0 0 1 36 22.4", class: "arc low" }),
    h("text", { x: 60, y: 62, "text-anchor": "middle" }, "?"),
  );
}
