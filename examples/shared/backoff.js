// When to come back after a WebSocket closed. Full jitter, from the first try on: when a broker restarts, its
// thousands of pages must not all return in the same moment.

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** A connection that lived this long was a good one: the next back-off starts small again. */
const SETTLED_MS = 5_000;

/** Whether a close code means "do not come back unchanged"; a code nobody has heard of goes by its range. */
export function isFinal(code) {
  return [1000, 1003, 1007, 1009, 1010].includes(code) || (code >= 4400 && code <= 4499);
}

/** The tries since the last good connection. */
export class Backoff {
  #tries = 0;
  #openedAt = null;

  /** To be called when a connection opened. */
  opened() {
    this.#openedAt = performance.now();
  }

  /** How many milliseconds to wait after a close with this code, or `null`: do not come back. */
  closed(code) {
    if (this.#openedAt !== null && performance.now() - this.#openedAt >= SETTLED_MS) this.#tries = 0;
    this.#openedAt = null;
    if (isFinal(code)) return null;
    const limit = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#tries);
    this.#tries += 1;
    return Math.random() * limit;
  }
}
