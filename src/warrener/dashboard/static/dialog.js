// One dialog for every act: what it would come to, the confirmation, how it goes, what became of it.
//
// It is a modal <dialog>: the browser keeps the focus in it and closes it on Esc. Closing it ends
// nothing that goes on. What was focused before gets the focus back.

import { clock, coded, h, setText } from "./dom.js";

const WAIT = 250; // ms after the last key in the field for a number

/** `ask(path, body, signal)` sends a request: {status, body}, body is text where it isn't JSON. */
export class ActDialog {
  constructor(ask) {
    this.ask = ask;
    this.title = h("h2", { id: "act-title", tabindex: "-1" });
    this.notice = h("p", { class: "act-notice", role: "alert", hidden: true });
    this.form = h("div", { class: "act-form" });
    this.preview = h("div", { class: "act-preview", "aria-live": "polite" });
    this.bar = h("progress", { "aria-label": "How far it is", hidden: true });
    this.log = h("ol", { class: "act-log", role: "log", "aria-label": "Progress" });
    this.who = h("p", { class: "quiet" });
    this.course = h("div", { class: "act-course", hidden: true }, this.who, this.bar, this.log);
    this.outcome = h("p", { class: "act-outcome", role: "status", hidden: true });
    this.close = h("button", { type: "button", onclick: () => this.element.close() });
    this.callOff = h("button", { type: "button", onclick: () => this.endIt() }, "Call off");
    this.again = h("button", { type: "button", onclick: () => this.look() }, "Look again");
    this.confirm = h("button", { type: "button", class: "primary", onclick: () => this.doIt() });
    this.element = h(
      "dialog",
      { class: "act", "aria-labelledby": "act-title" },
      h("header", {}, this.title),
      h("div", { class: "act-body", tabindex: "0", role: "group", "aria-labelledby": "act-title" }, this.notice, this.form, this.preview, this.course, this.outcome),
      h("footer", {}, this.callOff, this.again, h("span", { class: "gap" }), this.close, this.confirm),
    );
    this.element.addEventListener("close", () => this.closed());
    document.body.append(this.element);
  }

  /** Looks what an act would come to, and asks. `title` stands there until that is known. */
  propose(wanted, title, waiting, opener) {
    this.begin(title, opener);
    this.wanted = wanted;
    this.waiting = waiting;
    this.look();
  }

  /** Shows an act that goes on, or has ended. */
  follow(act, opener) {
    this.begin(sentence(act.doing), opener);
    this.goOn(act.number);
    this.show([act]);
  }

  begin(title, opener) {
    this.opener = opener;
    this.wanted = null;
    this.shown = null;
    this.number = null;
    this.ended = false;
    this.lines = new Map();
    setText(this.title, title);
    for (const part of [this.form, this.preview, this.log]) part.replaceChildren();
    for (const part of [this.notice, this.course, this.outcome, this.callOff, this.again, this.bar])
      part.hidden = true;
    this.form.hidden = this.preview.hidden = this.confirm.hidden = false;
    setText(this.close, "Cancel");
    setText(this.confirm, "Go on");
    this.confirm.disabled = true;
    if (!this.element.open) this.element.showModal();
    this.close.focus();
  }

  closed() {
    this.abort?.abort();
    clearTimeout(this.timer);
    const seen = this.ended ? this.number : null;
    this.number = null;
    const { opener } = this;
    if (opener?.isConnected && !opener.disabled) opener.focus();
    else document.getElementById("main").focus();
    if (seen !== null) this.onSeen?.(seen);
  }

  // -- what it would come to

  async look(wanted = this.wanted) {
    this.wanted = wanted;
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    this.confirm.disabled = true;
    this.again.hidden = true;
    this.say("");
    this.preview.setAttribute("aria-busy", "true");
    if (!this.shown) this.preview.replaceChildren(h("p", { class: "quiet" }, this.waiting));
    const { status, body } = await this.ask("/api/preview", wanted, abort.signal);
    if (abort.signal.aborted) return;
    this.preview.setAttribute("aria-busy", "false");
    if (status === 200) {
      this.draw(body);
      return;
    }
    if (!this.shown) this.preview.replaceChildren();
    this.say(body);
    this.again.hidden = false;
  }

  draw(preview) {
    const first = !this.shown;
    this.shown = preview;
    setText(this.title, preview.title);
    if (first) this.drawForm(preview);
    for (const choice of preview.choices) {
      setText(this.marks.get(choice.value), choice.now ? "now" : "");
    }
    const list = (name, label, lines) =>
      lines.length
        ? h("ul", { class: name, "aria-label": label }, ...lines.map((line) => h("li", {}, ...coded(line))))
        : "";
    this.preview.replaceChildren(
      list("act-refusals", "Why it would be refused", preview.refusals),
      list("act-lines", "What it comes to", preview.lines),
      ...preview.sheets.map(sheet),
    );
    setText(this.confirm, preview.button || "Go on");
    const can = preview.id !== "";
    const form = preview.choices.length > 0 || preview.value !== null;
    this.confirm.disabled = !can;
    this.confirm.hidden = !can && !(form && !preview.refusals.length);
    this.again.hidden = can || form;
    setText(this.close, this.confirm.hidden ? "Close" : "Cancel");
  }

  drawForm(preview) {
    this.marks = new Map(preview.choices.map((choice) => [choice.value, h("em")]));
    if (preview.choices.length) {
      const fields = preview.choices.map((choice) => {
        const field = h("input", {
          type: "radio",
          name: "act-choice",
          value: choice.value,
          checked: choice.now,
          onchange: () => this.look({ ...this.wanted, policy: choice.value }),
        });
        return h(
          "label",
          {},
          field,
          h("span", {}, h("strong", {}, choice.value), " ", this.marks.get(choice.value)),
          h("small", {}, choice.hint),
        );
      });
      this.form.replaceChildren(
        h("fieldset", { class: "choices" }, h("legend", { class: "hidden" }, "Policy"), ...fields),
      );
      this.form.querySelector(":checked")?.focus();
    } else if (preview.value !== null && !preview.refusals.length) {
      const field = h("input", {
        id: "act-number",
        type: "number",
        min: "0",
        max: "1000",
        step: "1",
        value: String(preview.value),
        inputmode: "numeric",
        oninput: () => {
          clearTimeout(this.timer);
          this.confirm.disabled = true;
          this.timer = setTimeout(() => this.numberChosen(field), WAIT);
        },
        onkeydown: (event) => {
          if (event.key === "Enter" && !this.confirm.disabled) this.doIt();
        },
      });
      this.form.replaceChildren(h("label", { for: "act-number" }, "New weight, 0 to 1000"), field);
      field.select();
    }
  }

  numberChosen(field) {
    if (field.validity.valid && field.value !== "") {
      this.look({ ...this.wanted, weight: field.valueAsNumber });
    } else {
      this.say("A weight is a whole number from 0 to 1000; 0: only if no other node is fit.");
    }
  }

  // -- the confirmation

  async doIt() {
    if (this.confirm.disabled || !this.shown?.id) return;
    this.confirm.disabled = true;
    this.say("");
    const id = this.shown.id;
    const { status, body } = await this.ask("/api/act", { preview: id });
    if (!this.element.open || this.shown?.id !== id) return;
    if (status === 202) {
      this.goOn(body.number);
    } else if (status === 409 && body.preview) {
      this.draw(body.preview);
      this.say(`${body.message}. This is how it is now.`);
      (this.confirm.hidden ? this.close : this.confirm).focus();
    } else if (status === 0) {
      this.say("The daemon doesn't answer. Whether it began isn't known: what goes on is shown on the page once it does.");
    } else {
      this.say(body);
      this.again.hidden = false;
      this.again.focus();
    }
  }

  // -- how it goes

  goOn(number) {
    this.number = number;
    this.form.hidden = this.preview.hidden = this.confirm.hidden = this.again.hidden = true;
    this.course.hidden = false;
    setText(this.close, "Close; it goes on");
    this.close.focus();
  }

  /** Acts as a document has them. */
  show(acts) {
    const act = acts.find((one) => one.number === this.number);
    if (!act || !this.element.open) return;
    setText(this.title, sentence(act.doing));
    setText(this.who, `Confirmed by ${act.viewer}, ${clock(act.began_at)}`);
    for (const line of act.lines) {
      let item = this.lines.get(line.number);
      if (!item) {
        item = h("li");
        this.lines.set(line.number, item);
        this.log.append(item);
      }
      setText(item, line.text);
    }
    this.bar.hidden = !act.total || act.end !== null;
    if (act.total) {
      this.bar.max = act.total;
      this.bar.value = act.count;
    }
    this.callOff.hidden = !act.can_be_called_off;
    this.callOff.disabled = act.called_off;
    setText(this.callOff, act.called_off ? "Is called off" : "Call off");
    if (act.end === null || this.ended) return;
    this.ended = true;
    this.outcome.hidden = false;
    this.outcome.dataset.end = act.end;
    this.outcome.replaceChildren(h("strong", {}, END[act.end]), " ", ...coded(ending(act)));
    setText(this.close, "Close");
    this.close.focus();
  }

  async endIt() {
    this.callOff.disabled = true;
    const { status, body } = await this.ask("/api/call-off", { number: this.number });
    if (status !== 204) this.say(body);
    this.close.focus();
  }

  say(text) {
    this.notice.hidden = !text;
    this.notice.replaceChildren(...coded(text ?? ""));
  }
}

export const END = {
  done: "Done.",
  refused: "Refused, nothing was done.",
  failed: "It failed.",
  called_off: "Called off:",
  changed: "Nothing was done.",
};

/** What became of an act, after that word. The daemon's own sentence begins with it, too. */
export function ending(act) {
  return act.end === "called_off" ? act.outcome.replace(/^called off: /, "") : act.outcome;
}

export function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function sheet(told) {
  const cell = (tag, text, index, attributes = {}) =>
    h(tag, { class: told.numbers.includes(index) ? "number" : null, ...attributes }, text);
  return h(
    "table",
    { class: "sheet" },
    h("caption", {}, told.caption),
    h("thead", {}, h("tr", {}, ...told.columns.map((name, index) => cell("th", name, index, { scope: "col" })))),
    h("tbody", {}, ...told.rows.map((row) => h("tr", {}, ...row.map((text, index) => cell("td", text, index))))),
  );
}
