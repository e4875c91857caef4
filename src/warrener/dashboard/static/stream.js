// The token, and documents as the daemon pushes them: one JSON line each, over one request that
// stays open. `fetch` instead of EventSource, since that can't send the token in a header.

export const KEY = "warrener-token";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5000;
const SILENT = 6000; // ms; a document comes every second

/** Takes the token out of the link, so that it is in no history and no bookmark. */
export function takeToken() {
  const match = /^#token=([\w-]+)$/.exec(location.hash);
  if (match) {
    sessionStorage.setItem(KEY, match[1]);
    history.replaceState(null, "", `${location.pathname}#/map`);
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** Follows one view. `onDocument(document)`, `onState(state, text)`: live, lost, refused. */
export class Stream {
  constructor({ onDocument, onState }) {
    this.onDocument = onDocument;
    this.onState = onState;
    this.abort = null;
    this.wanted = null;
  }

  follow(wanted) {
    this.wanted = wanted;
    this.abort?.abort();
    this.abort = new AbortController();
    this.run(wanted, this.abort.signal);
  }

  async run(wanted, signal) {
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      try {
        await this.read(wanted, signal, () => {
          wait = FIRST_WAIT;
        });
        if (!signal.aborted) this.onState("lost", "the daemon closed the connection; trying again");
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused) {
          this.onState("refused", error.message);
          return;
        }
        this.onState("lost", `${error.message}; trying again`);
      }
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(LONGEST_WAIT, wait * 2);
    }
  }

  async read(wanted, signal, onFirst) {
    const token = sessionStorage.getItem(KEY);
    if (!token) throw new Refused("no token");
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(wanted)) {
      if (value !== null && value !== "" && value !== false && value !== undefined)
        query.set(name, value === true ? "1" : value);
    }
    const silence = new AbortController();
    const hangUp = () => silence.abort();
    signal.addEventListener("abort", hangUp, { once: true });
    let timer = setTimeout(hangUp, SILENT);
    try {
      let response;
      try {
        response = await fetch(`/api/live?${query}`, {
          headers: { Authorization: `Bearer ${token}` },
          cache: "no-store",
          signal: silence.signal,
        });
      } catch {
        throw new Error("the daemon doesn't answer");
      }
      if (response.status === 401) throw new Refused("wrong token");
      if (!response.ok) throw new Error((await response.text()).trim());
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        let part;
        try {
          part = await reader.read();
        } catch {
          throw new Error("the connection to the daemon broke");
        }
        if (part.done) return;
        clearTimeout(timer);
        timer = setTimeout(hangUp, SILENT);
        const lines = (rest + part.value).split("\n");
        rest = lines.pop();
        // Only the newest counts: those before it were overtaken while this tab was asleep.
        if (lines.length && !signal.aborted) {
          onFirst();
          this.onState("live", "live");
          this.onDocument(JSON.parse(lines[lines.length - 1]));
        }
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", hangUp);
      silence.abort();
    }
  }
}

class Refused extends Error {}
