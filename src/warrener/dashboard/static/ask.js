// One question, one answer: for what isn't pushed.

import { KEY } from "./stream.js";

/** A JSON answer to a GET. Throws `NoAnswer` with the daemon's sentence. */
export async function ask(path, query, signal) {
  let response;
  try {
    response = await fetch(`${path}?${query}`, {
      headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` },
      cache: "no-store",
      signal,
    });
  } catch {
    throw new NoAnswer("the daemon doesn't answer", 0);
  }
  if (!response.ok) throw new NoAnswer((await response.text()).trim(), response.status);
  return response.json();
}

export class NoAnswer extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}
