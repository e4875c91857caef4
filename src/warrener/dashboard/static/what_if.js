// What would be different: sliders and boxes, and the question that they make.

import { count, h, setAttribute, setText } from "./dom.js";

const STEPS = 100; // of the load's slider for ten times as much
const LEAST = 0.1;
const MOST = 20;
const MORE_NODES = 9;

/** `onChange(settled)`: something else is asked; settled once it isn't being dragged any more. */
export class WhatIf {
  constructor(onChange) {
    this.onChange = onChange;
    this.nodes = [];
    this.queues = new Map(); // name -> consumers as they are
    this.load = this.slider("load", "Load", {
      min: Math.round(STEPS * Math.log10(LEAST)),
      max: Math.round(STEPS * Math.log10(MOST)),
      step: 1,
      value: 0,
    });
    this.more = this.slider("nodes", "Nodes", { min: 0, max: MORE_NODES, step: 1, value: 0 });
    this.dead = h("div", { class: "boxes" });
    this.queue = h("select", {
      id: "what-if-queue",
      onchange: () => {
        this.chooseQueue(this.queue.value);
        this.tell(true);
      },
    });
    this.consumers = this.slider("consumers", "Consumers", { min: 0, max: 10, step: 1, value: 0 });
    this.chooseQueue("");
    this.reset = h("button", { type: "button", disabled: true, onclick: () => this.clear() }, "As it is now");
    this.element = h(
      "form",
      { class: "card what-if", "aria-label": "What if", onsubmit: (event) => event.preventDefault() },
      h("div", { class: "tools" }, h("h3", {}, "What if"), this.reset),
      this.load.element,
      this.more.element,
      h("fieldset", {}, h("legend", {}, "Dead nodes"), this.dead),
      h("label", { for: "what-if-queue" }, "Consumers of queue"),
      this.queue,
      this.consumers.element,
    );
    this.say();
  }

  slider(name, title, range) {
    // Said by the slider itself (aria-valuetext), and not twice.
    const output = h("output", { for: `what-if-${name}`, "aria-live": "off" });
    const input = h("input", {
      type: "range",
      id: `what-if-${name}`,
      name,
      ...range,
      oninput: () => this.tell(false),
      onchange: () => this.tell(true),
    });
    const element = h(
      "div",
      { class: "slider" },
      h("label", { for: `what-if-${name}` }, title),
      output,
      input,
    );
    return { input, output, element };
  }

  tell(settled) {
    this.say();
    this.onChange(settled);
  }

  clear() {
    this.load.input.value = "0";
    this.more.input.value = "0";
    for (const box of this.dead.querySelectorAll("input")) box.checked = false;
    this.queue.value = "";
    this.chooseQueue("");
    this.tell(true);
    this.load.input.focus();
  }

  /** The nodes that there are, and the queues that may be chosen with their consumers. */
  know(nodes, queues) {
    if (nodes.join() !== this.nodes.join()) {
      const dead = new Set(this.killed());
      this.nodes = nodes;
      setAttribute(this.more.input, "min", 1 - Math.max(1, nodes.length));
      this.dead.replaceChildren(
        ...nodes.map((name) =>
          h(
            "label",
            { class: "box-label" },
            h("input", { type: "checkbox", value: name, checked: dead.has(name), onchange: () => this.tell(true) }),
            ` ${name}`,
          ),
        ),
      );
    }
    const chosen = this.queue.value;
    const untouched = Number(this.consumers.input.value) === this.queues.get(chosen);
    for (const queue of queues) if (queue.before) this.queues.set(queue.name, queue.before.consumers);
    if (chosen && untouched) this.chooseQueue(chosen); // as many as there are by now
    const names = queues.map((queue) => queue.name);
    if (chosen && !names.includes(chosen)) names.unshift(chosen);
    names.sort();
    if (names.join("\n") !== this.names) {
      this.names = names.join("\n");
      this.queue.replaceChildren(
        h("option", { value: "" }, "none"),
        ...names.map((name) => h("option", { value: name }, name)),
      );
      this.queue.value = chosen;
    }
    this.say();
  }

  chooseQueue(name) {
    const now = this.queues.get(name) ?? 0;
    this.consumers.input.disabled = name === "";
    this.consumers.input.max = String(Math.max(10, 4 * now));
    this.consumers.input.value = String(now);
  }

  /** A queue of the list below was picked. */
  pickQueue(name) {
    this.queue.value = name;
    this.chooseQueue(name);
    this.tell(true);
    this.consumers.input.focus();
  }

  killed() {
    return [...this.dead.querySelectorAll("input:checked")].map((box) => box.value);
  }

  times() {
    const raw = 10 ** (Number(this.load.input.value) / STEPS);
    return Math.min(MOST, Math.max(LEAST, Number(raw.toPrecision(3))));
  }

  question() {
    const query = new URLSearchParams();
    const times = this.times();
    if (times !== 1) query.set("load", times);
    if (this.more.input.value !== "0") query.set("nodes", this.more.input.value);
    for (const name of this.killed()) query.append("kill", name);
    const queue = this.queue.value;
    if (queue) query.set("queue", queue); // listed first, changed or not
    if (queue && Number(this.consumers.input.value) !== this.queues.get(queue))
      query.set("consumers", this.consumers.input.value);
    return query;
  }

  get isAsked() {
    return [...this.question().keys()].some((key) => key !== "queue");
  }

  // What the sliders say, in words.
  say() {
    const times = this.times();
    this.speak(this.load, times === 1 ? "as it is" : `${times} times`);
    const more = Number(this.more.input.value);
    const will = this.nodes.length + more;
    const change = more === 0 ? "as it is" : more > 0 ? `${more} more` : `${-more} fewer`;
    this.speak(this.more, this.nodes.length ? `${count(will)}, ${change}` : change);
    const queue = this.queue.value;
    const number = this.consumers.input.value;
    const now = this.queues.get(queue);
    this.speak(
      this.consumers,
      queue === "" ? "choose a queue" : Number(number) === now ? `${number}, as it is` : `${number} instead of ${count(now)}`,
    );
    this.reset.disabled = !this.isAsked;
  }

  speak(slider, text) {
    setText(slider.output, text);
    setAttribute(slider.input, "aria-valuetext", text);
  }
}
