// What a viewer can do: the buttons, the requests they come to, and the line at the bottom that says
// what is being done, whoever began it. The daemon keeps that, so it is there after a reload.

import { ActDialog, END, ending, sentence } from "./dialog.js";
import { coded, h, setAttribute, setText } from "./dom.js";
import { token } from "./stream.js";

/** A request that acts; {status: 0} if nobody answers. */
async function ask(path, body, signal = undefined) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { Authorization: `Bearer ${token()}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      cache: "no-store",
      signal,
    });
    const json = response.headers.get("Content-Type")?.startsWith("application/json");
    return { status: response.status, body: json ? await response.json() : (await response.text()).trim() };
  } catch {
    return { status: 0, body: "The daemon doesn't answer." };
  }
}

const TITLES = {
  drain: (wanted) => `Drain ${wanted.node}?`,
  revive: (wanted) => `Revive ${wanted.node}?`,
  weight: (wanted) => `Set the weight of ${wanted.node}`,
  policy: () => "Set the balancing policy",
  rebalance: () => "Rebalance sessions?",
  leaders: () => "Balance the leaders of queues?",
};
const WAITING = "Looks what it would come to …";
const MEASURING = "Measures for five seconds what each node carries …";

const MOST_ENDED = 2;

class Acts {
  constructor() {
    this.shown = { acts: [], others: [], why_not: {} };
    this.dialog = null;
    this.dismissed = new Set();
    this.rows = new Map();
    this.list = h("ul");
    this.bar = h("section", { class: "acts-bar", "aria-label": "What is being done", hidden: true }, this.list);
    document.body.append(this.bar);
  }

  /** What a document says of acts. */
  show(shown) {
    this.shown = shown;
    this.dialog?.show(shown.acts);
    const seen = new Set();
    const at = (key) => {
      seen.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = key.startsWith("act ") ? new ActRow(this) : new OtherRow();
        this.rows.set(key, row);
        this.list.append(row.element);
      }
      return row;
    };
    // Of those that have ended the newest will do: all of them are among the events.
    const ended = shown.acts.filter((act) => act.end !== null).slice(0, -MOST_ENDED);
    for (const act of shown.acts) {
      if (!this.dismissed.has(act.number) && !ended.includes(act)) at(`act ${act.number}`).show(act);
    }
    for (const text of shown.others) at(`other ${text}`).show(text);
    for (const [key, row] of this.rows) {
      if (seen.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    this.bar.hidden = this.rows.size === 0;
    document.body.classList.toggle("has-acts-bar", this.rows.size > 0);
  }

  /** Opens the dialog for an act. */
  propose(wanted, opener) {
    const title = TITLES[wanted.act](wanted);
    this.open().propose(wanted, title, wanted.act === "leaders" ? MEASURING : WAITING, opener);
  }

  follow(act, opener) {
    this.open().follow(act, opener);
  }

  async callOff(number) {
    await ask("/api/call-off", { number });
  }

  dismiss(number) {
    this.dismissed.add(number);
    this.show(this.shown);
  }

  open() {
    if (!this.dialog) {
      this.dialog = new ActDialog(ask);
      this.dialog.onSeen = (number) => this.dismiss(number);
    }
    return this.dialog;
  }
}

class ActRow {
  constructor(acts) {
    this.what = h("strong");
    this.step = h("span", { class: "act-step", role: "status" });
    this.look = h("button", { type: "button", onclick: () => acts.follow(this.act, this.look) }, "Show");
    this.off = h("button", { type: "button", onclick: () => acts.callOff(this.act.number) }, "Call off");
    this.away = h("button", { type: "button", onclick: () => acts.dismiss(this.act.number) }, "Dismiss");
    this.element = h("li", {}, this.what, this.step, this.look, this.off, this.away);
  }

  show(act) {
    this.act = act;
    setAttribute(this.element, "data-end", act.end);
    this.element.title = `Confirmed by ${act.viewer}`;
    setText(this.what, sentence(act.doing));
    const last = act.lines.at(-1)?.text ?? "begins";
    setText(this.step, act.end ? `${END[act.end]} ${ending(act)}` : act.called_off ? `${last}; is called off` : last);
    this.off.hidden = !act.can_be_called_off;
    this.off.disabled = act.called_off;
    this.away.hidden = act.end === null;
    for (const [button, word] of [[this.look, "Show"], [this.off, "Call off"], [this.away, "Dismiss"]])
      setAttribute(button, "aria-label", `${word}: ${act.doing}`);
  }
}

class OtherRow {
  constructor() {
    this.element = h("li", {}, h("strong"), h("span", { class: "act-step quiet" }, "by a command, or by Warrener itself"));
  }

  show(text) {
    setText(this.element.firstChild, text);
  }
}

export const acts = new Acts();

function button(text, wanted, attributes = {}) {
  const made = h("button", { type: "button", ...attributes, onclick: () => acts.propose(wanted(), made) }, text);
  return made;
}

/** A node's buttons: out of service or back, and its weight. */
export class NodeActs {
  constructor(short) {
    this.short = short;
    this.drained = false;
    const at = (act) => () => ({ act: typeof act === "function" ? act() : act, node: this.short });
    this.service = button("Drain …", at(() => (this.drained ? "revive" : "drain")));
    this.weight = button("Weight …", at("weight"), { "aria-label": `Set the weight of ${short}` });
    this.element = h("div", { class: "node-acts" }, this.service, this.weight);
  }

  show(row, shown) {
    this.drained = row.drained;
    setText(this.service, row.drained ? "Revive …" : "Drain …");
    setAttribute(this.service, "aria-label", `${row.drained ? "Revive" : "Drain"} ${row.short}`);
    const away = AWAY.has(row.word) ? `${row.short} is ${row.word}` : null;
    disable(this.service, away);
    disable(this.weight, shown.why_not.weight ?? null);
  }
}

const AWAY = new Set(["down", "lost", "unreachable", "stopped", "starting", "stopping"]);

function disable(made, why) {
  made.disabled = Boolean(why);
  setAttribute(made, "title", why ? why.replaceAll("`", "") : null);
}

/** The balance as a whole: policy, sessions, leaders; with why not, where something isn't possible. */
export class BalanceActs {
  constructor() {
    this.policy = button("Policy …", () => ({ act: "policy" }), { "aria-describedby": "why-not" });
    this.rebalance = button("Rebalance sessions …", () => ({ act: "rebalance" }), { "aria-describedby": "why-not" });
    this.leaders = button("Balance leaders …", () => ({ act: "leaders" }), { "aria-describedby": "why-not" });
    this.element = h("div", { class: "balance-acts", role: "group", "aria-label": "Balance" }, this.policy, this.rebalance, this.leaders);
    this.note = h("ul", { class: "note why-not", id: "why-not", hidden: true });
  }

  show(shown, head) {
    setText(this.policy, `Policy: ${head.policy || "–"} …`);
    const runs = head.phase === "running" ? null : `The cluster is ${head.phase}`;
    disable(this.policy, runs);
    disable(this.rebalance, runs ?? shown.why_not.rebalance ?? null);
    disable(this.leaders, runs ?? shown.why_not.leaders ?? null);
    const reasons = Object.entries(shown.why_not);
    const sign = JSON.stringify(reasons);
    if (this.sign === sign) return;
    this.sign = sign;
    this.note.hidden = reasons.length === 0;
    this.note.replaceChildren(
      ...reasons.map(([act, why]) => h("li", {}, `${NAMES[act]}: `, ...coded(why))),
    );
  }
}

const NAMES = {
  drain: "Drain",
  revive: "Revive",
  weight: "Weight",
  policy: "Policy",
  rebalance: "Rebalance sessions",
  leaders: "Balance leaders",
};
