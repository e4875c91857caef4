// Elements, figures for people, and tables that are updated in place. Nothing here knows the cluster.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "circle", "text", "title", "line", "tspan"]);

/** An element. `attributes`: on* are listeners, `class` and the rest attributes; null ones are left
 *  out. Children are nodes or text, never markup. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets text only where it differs, so that a selection or a screen reader isn't disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Text with `commands` in it as elements. */
export function coded(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

const UNKNOWN = "–";

export function count(value) {
  return value === null || value === undefined ? UNKNOWN : value.toLocaleString("en");
}

/** A rate in 1/s. */
export function rate(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0/s";
  if (value < 10) return `${value.toFixed(1)}/s`;
  if (value < 10_000) return `${Math.round(value).toLocaleString("en")}/s`;
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)}k/s`;
  return `${(value / 1e6).toFixed(1)}M/s`;
}

export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${value < 10 && at > 0 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export function share(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return `${(100 * value).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %`;
}

/** How long, from seconds; the two largest units. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

/** A word with the colour of its level beside it. */
export function badge(word, level, title = null) {
  return h("span", { class: "badge", "data-level": level, title }, word);
}

/** How full something is. */
export function meter(value, limit, label, level) {
  if (!value || !limit) return UNKNOWN;
  const part = Math.min(1, value / limit);
  const fill = h("span", { class: "fill" });
  fill.style.width = `${(100 * part).toFixed(1)}%`;
  return h(
    "span",
    { class: "meter", role: "img", "aria-label": label, title: label, "data-level": level },
    h("span", { class: "track", "aria-hidden": "true" }, fill),
    h("span", { class: "meter-text" }, share(value / limit)),
  );
}

/**
 * A table that keeps its rows: `update(rows)` changes what differs and nothing else, so that
 * nothing jumps and a focused row stays focused.
 *
 * columns: {key, title, cell(row) -> text or element, sign(row)?, number?, sort?, wide?}; `sign` says
 * when an element has to be made anew. `onSort(key, number)` and `onPick(row)` are optional.
 */
export class Table {
  constructor({ caption, columns, id, onSort, onPick, empty }) {
    this.columns = columns;
    this.id = id;
    this.onPick = onPick;
    this.rows = new Map();
    this.heads = new Map();
    const heads = columns.map((column) => {
      const content =
        column.sort && onSort
          ? h("button", { type: "button", onclick: () => onSort(column.sort, Boolean(column.number)) }, column.title)
          : column.title;
      const head = h("th", { scope: "col", class: column.number ? "number" : null }, content);
      if (column.width) head.style.width = column.width;
      this.heads.set(column.sort ?? column.key, head);
      return head;
    });
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true }, empty);
    this.table = h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, ...heads)),
      this.body,
    );
    this.element = h(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": caption },
      this.table,
      this.empty,
    );
  }

  sorted(key, descending) {
    for (const [column, head] of this.heads) {
      const order = descending ? "descending" : "ascending";
      setAttribute(head, "aria-sort", column === key ? order : null);
    }
  }

  update(rows, picked = null) {
    const seen = new Set();
    let at = this.body.firstElementChild;
    for (const row of rows) {
      const key = this.id(row);
      seen.add(key);
      let known = this.rows.get(key);
      if (!known) {
        known = this.make(key);
        this.rows.set(key, known);
      }
      known.row = row;
      this.fill(known, row);
      setAttribute(known.element, "aria-selected", this.onPick ? String(key === picked) : null);
      if (known.element === at) at = at.nextElementSibling;
      else this.body.insertBefore(known.element, at);
    }
    for (const [key, known] of this.rows) {
      if (seen.has(key)) continue;
      known.element.remove();
      this.rows.delete(key);
    }
    this.empty.hidden = rows.length > 0;
    this.table.hidden = rows.length === 0;
  }

  make(key) {
    const cells = this.columns.map((column) =>
      h("td", { class: column.number ? "number" : null, "data-title": column.title }),
    );
    const element = h("tr", {}, ...cells);
    const known = { element, cells, signs: [], row: null };
    if (this.onPick) {
      element.setAttribute("tabindex", "0");
      element.classList.add("can-be-picked");
      const pick = () => this.onPick(known.row, key);
      element.addEventListener("click", pick);
      element.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          pick();
        }
      });
    }
    return known;
  }

  fill(known, row) {
    this.columns.forEach((column, index) => {
      const cell = known.cells[index];
      if (!column.sign) {
        setText(cell, column.cell(row));
        return;
      }
      const sign = JSON.stringify(column.sign(row));
      if (known.signs[index] === sign) return;
      known.signs[index] = sign;
      const made = column.cell(row);
      cell.replaceChildren(...(Array.isArray(made) ? made : [made]));
    });
  }
}
