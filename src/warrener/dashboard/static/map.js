// The map: clients -> balancer -> nodes -> queues' leaders -> consumers, left to right. Thickness is
// the measured rate, colour the utilisation, red the min-cut; hops between nodes are dashed. Queues are
// drawn by leader and type, never one by one, so that it stays as large with 2,000 queues as with two;
// a search says in which of them they are.

import { badge, count, h, rate, setAttribute, setText, Table } from "./dom.js";
import { COLUMNS, curve, cutWords, fitted, HEIGHT, layOut, thickness, TITLES, WIDTH } from "./map_layout.js";

const SEARCH_WAIT = 200; // ms after the last key

export class MapView {
  constructor(follow) {
    this.follow = follow;
    this.sign = "";
    this.search = "";
    this.picked = null; // chosen: stays until it is closed
    this.pointed = null; // under the pointer, or focused
    this.drawing = h("div", { class: "map", tabindex: "0", role: "region", "aria-label": "Map of the flow" });
    this.note = h("p", { class: "note", hidden: true });
    this.cut = h("p", { class: "cut-said" });
    this.field = h("input", {
      type: "search",
      placeholder: "Find queues, nodes, clients",
      "aria-label": "Find queues, nodes, clients",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.find(this.field.value.trim()), SEARCH_WAIT);
      },
    });
    this.count = h("p", { class: "count", role: "status" });
    this.list = new Table({
      caption: "Queues that match",
      id: (row) => `${row.vhost}\n${row.name}`,
      empty: "",
      onPick: (row) => this.goTo(`group ${row.leader} ${row.type}`),
      columns: [
        {
          key: "name",
          title: "queue",
          width: "34%",
          sign: (row) => [row.vhost, row.name],
          cell: (row) => [h("strong", { title: row.name }, row.name), row.vhost === "/" ? "" : h("small", {}, ` ${row.vhost}`)],
        },
        { key: "type", title: "type", cell: (row) => row.type },
        { key: "leader", title: "leader", cell: (row) => row.leader || "none" },
        { key: "state", title: "state", sign: (row) => [row.word, row.level], cell: (row) => badge(row.word, row.level) },
        { key: "in", title: "in", number: true, cell: (row) => rate(row.published) },
        { key: "ready", title: "ready", number: true, cell: (row) => count(row.ready) },
      ],
    });
    this.found = h("div", { class: "found", hidden: true }, this.list.element);
    this.detail = h("aside", { class: "card map-detail", "aria-label": "Chosen on the map", "aria-live": "polite", hidden: true });
    this.hint = h("p", { class: "map-hint" }, "Point at a part of the map to see its figures, choose it (click, or Enter) to keep them, Esc closes.");
    this.element = h(
      "section",
      {
        "aria-label": "Map",
        onkeydown: (event) => {
          if (event.key === "Escape" && this.picked !== null) this.close();
        },
      },
      h(
        "div",
        { class: "tools" },
        h("h2", {}, "Map"),
        this.field,
        this.count,
      ),
      h(
        "p",
        { class: "legend" },
        h("span", { class: "key thick" }, "thickness: messages/s"),
        h("span", { class: "key", "data-use": "low" }, "under 60 % used"),
        h("span", { class: "key", "data-use": "mid" }, "60 to 85 %"),
        h("span", { class: "key", "data-use": "high" }, "over"),
        h("span", { class: "key dashed" }, "hop between nodes"),
        h("span", { class: "key cut" }, "min-cut"),
      ),
      this.cut,
      this.note,
      this.found,
      this.drawing,
      this.hint,
      this.detail,
    );
  }

  wanted() {
    return { search: this.search };
  }

  find(search) {
    if (search === this.search) return;
    this.search = search;
    this.follow(this.wanted());
  }

  show(told) {
    const body = told.body;
    this.told = told;
    const parts = layOut(told);
    const sign = JSON.stringify([parts.boxes.map((box) => [box.key, box.x, box.y]), parts.empties]);
    if (sign !== this.sign) {
      this.sign = sign;
      this.draw(parts);
    }
    this.refresh(parts);
    this.note.hidden = !body.note;
    setText(this.note, body.note);
    setText(this.cut, cutWords(body.cut));
    this.cut.dataset.known = String(body.cut.known && body.cut.breaks_at !== null);
    this.showFound(body, told.head);
    this.describe(parts);
  }

  showFound({ found, nodes, clients_known: known }, head) {
    this.found.hidden = found === null;
    if (found === null) {
      setText(this.count, "");
      return;
    }
    const groups = found.groups.length;
    const some = found.queues + found.nodes.length + found.sessions > 0;
    setText(
      this.count,
      some
        ? `${count(found.queues)} of ${count(found.of_queues)} queues in ${groups} group${groups === 1 ? "" : "s"}, ${found.nodes.length} nodes, ${count(found.sessions)} sessions`
        : "Nothing matches",
    );
    this.list.update(found.listed);
    setText(
      this.list.empty,
      some
        ? "No queue matches; what does is marked on the map."
        : `Nothing matches: ${count(found.of_queues)} queues, ${nodes.length} nodes and ${known ? count(head.sessions) : "no"} sessions were looked through${known ? "" : " (they aren't known singly)"}, by name, type, leader, user and virtual host.`,
    );
  }

  // What is where has changed: drawn anew. Else only figures, colours and thickness change.
  draw(parts) {
    const focused = document.activeElement?.dataset?.key;
    this.edges = h("g", { class: "edges" });
    this.boxes = new Map();
    this.lines = new Map();
    const titles = Object.entries(COLUMNS).map(([name, x]) => h("text", { x: x + 10, y: 18, class: "column" }, TITLES[name]));
    const boxes = parts.boxes.map((box) => {
      const name = h("text", { x: box.x + 12, y: box.y + 18, class: "box-name" });
      const text = h("text", { x: box.x + 12, y: box.y + 35, class: "box-text" });
      const word = h("text", { x: box.x + box.width - 8, y: box.y + 17, class: "mark", "text-anchor": "end" });
      const group = h(
        "g",
        { class: "box", tabindex: "0", role: "button", "data-key": box.key, ...this.acts(box.key) },
        h("rect", { x: box.x, y: box.y, width: box.width, height: HEIGHT, rx: 7 }),
        h("rect", { x: box.x, y: box.y, width: 5, height: HEIGHT, rx: 2.5, class: "use" }),
        name,
        text,
        word,
      );
      this.boxes.set(box.key, { group, name, text, word });
      return group;
    });
    const svg = h(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${parts.height}`, width: WIDTH, height: parts.height, role: "group", "aria-label": "Flow of messages" },
      ...titles,
      ...parts.empties.map(({ text, x, y }) => h("text", { x, y, class: "none" }, text)),
      this.edges,
      ...boxes,
    );
    this.drawing.replaceChildren(svg);
    if (focused) this.boxes.get(focused)?.group.focus();
  }

  acts(key) {
    return {
      onclick: () => this.pick(key),
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          this.pick(key);
        }
      },
      onpointerenter: () => this.point(key),
      onpointerleave: () => this.point(null),
      onfocus: () => this.point(key),
      onblur: () => this.point(null),
    };
  }

  refresh(parts) {
    for (const box of parts.boxes) {
      const drawn = this.boxes.get(box.key);
      const taken = box.word ? 6 * box.word.length : 0;
      setText(drawn.name, fitted(box.name, box.width - 20 - taken, 7.3));
      setText(drawn.text, fitted(box.text, box.width - 24, 6.3));
      setText(drawn.word, box.word ?? "");
      const { group } = drawn;
      setAttribute(group, "data-level", box.level ?? "good");
      setAttribute(group, "data-use", box.use ?? "none");
      setAttribute(group, "aria-label", `${box.name}: ${box.text}${box.word ? `, ${box.word}` : ""}`);
      setAttribute(group, "aria-pressed", box.key === this.picked);
      group.classList.toggle("picked", box.key === this.picked);
      group.classList.toggle("cut", Boolean(box.word));
      group.classList.toggle("match", Boolean(box.match));
      group.classList.toggle("dim", Boolean(box.dim));
    }
    const most = Math.max(1, ...parts.edges.map((edge) => edge.rate));
    const about = this.pointed ?? this.picked;
    const touches = (edge) => edge.key === about || edge.from.key === about || edge.to.key === about;
    this.drawing.classList.toggle("focusing", parts.edges.some(touches));
    this.drawing.classList.toggle("many-hops", parts.edges.filter((edge) => edge.hop).length > 12);
    const seen = new Set();
    for (const edge of parts.edges) {
      seen.add(edge.key);
      let line = this.lines.get(edge.key);
      if (!line) {
        const { onclick, onpointerenter, onpointerleave } = this.acts(edge.key);
        line = h("g", { class: "way", "data-key": edge.key, onclick, onpointerenter, onpointerleave }, h("title"), h("path", { class: "hit" }), h("path"));
        this.lines.set(edge.key, line);
      }
      if (line.parentNode !== this.edges) this.edges.append(line);
      const [title, hit, path] = line.children;
      const d = curve(edge.from, edge.to);
      setAttribute(hit, "d", d);
      setAttribute(path, "d", d);
      setAttribute(path, "data-use", edge.use ?? "none");
      const dim = edge.from.dim || edge.to.dim;
      const names = ["edge", edge.hop && "hop", edge.rate <= 0 && "still", edge.word && "cut", touches(edge) && "touched", dim && "dim"];
      setAttribute(path, "class", names.filter(Boolean).join(" "));
      path.style.strokeWidth = String(thickness(edge.rate, most));
      setText(title, `${edge.title}: ${edge.rate < 0 ? "not known" : rate(edge.rate)}`);
    }
    for (const [key, line] of this.lines) {
      if (seen.has(key)) continue;
      line.remove();
      this.lines.delete(key);
    }
  }

  again() {
    if (!this.told) return;
    const parts = layOut(this.told);
    this.refresh(parts);
    this.describe(parts);
  }

  point(key) {
    this.pointed = key;
    this.again();
  }

  pick(key) {
    if (this.picked === key) {
      this.close();
      return;
    }
    this.picked = key;
    this.pointed = null;
    this.again();
  }

  goTo(key) {
    if (this.picked !== key) this.pick(key);
    this.boxes.get(key)?.group.scrollIntoView({ block: "center", inline: "center" });
  }

  // The focus goes back to where it was chosen, unless it is elsewhere on the map.
  close() {
    const was = this.boxes.get(this.picked);
    const inside = this.detail.contains(document.activeElement);
    this.picked = null;
    this.pointed = null;
    this.again();
    if (inside) (was?.group ?? this.drawing).focus();
    this.point(null);
  }

  describe(parts) {
    const key = this.pointed ?? this.picked;
    const one = parts.at.get(key) ?? parts.edges.find((edge) => edge.key === key);
    const pinned = this.picked !== null && key === this.picked;
    const near = one && pinned ? parts.edges.filter((edge) => edge.hop && (edge.from === one || edge.to === one)) : [];
    const sign = one ? JSON.stringify([key, one.name, one.title, one.facts, one.word, pinned, near.map((edge) => [edge.key, edge.rate])]) : "none";
    if (sign === this.described) return;
    this.described = sign;
    setAttribute(this.detail, "aria-live", pinned ? "polite" : "off");
    this.detail.hidden = !one;
    this.detail.classList.toggle("pinned", pinned);
    if (!one) {
      this.detail.replaceChildren();
      return;
    }
    const focused = this.detail.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const title = one.name ?? one.title.charAt(0).toUpperCase() + one.title.slice(1);
    const word = one.word ? h("span", { class: "badge", "data-level": "bad" }, one.word) : null;
    const close = pinned ? h("button", { type: "button", "data-key": "close", onclick: () => this.close() }, "Close") : null;
    const hops = near.map((edge) => h("button", { type: "button", "data-key": edge.key, onclick: () => this.pick(edge.key) }, `${edge.title.replace("hop from ", "").replace(" to ", " → ")} ${rate(edge.rate)}`));
    this.detail.replaceChildren(
      h("div", { class: "tools" }, h("h3", {}, title), word, close),
      h("dl", {}, ...one.facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      hops.length ? h("p", { class: "hops" }, h("span", { class: "quiet" }, "hops: "), ...hops) : "",
    );
    if (focused) (this.detail.querySelector(`[data-key="${CSS.escape(focused)}"]`) ?? close)?.focus();
  }
}
