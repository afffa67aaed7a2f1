// A page's WebSocket that comes back: after a restart of the broker, a lost network, a laptop's sleep.

import { Backoff } from "./backoff.js";
import { broker } from "./broker.js";
import { showState } from "./log.js";

const backoff = new Backoff();

/** Shows the state of the page's connection; when `socket` closes, calls `connect` after a while to make the next one. */
export function comeBack(socket, connect) {
  showState("connecting", `Connecting to ${broker} ...`);
  socket.addEventListener("open", () => {
    backoff.opened();
    showState("connected", `Connected to ${broker}`);
  });
  socket.addEventListener("close", ({ code, reason }) => {
    const delay = backoff.closed(code);
    if (delay === null) {
      showState("closed", `Closed by the broker: ${code} ${reason}`);
    } else {
      showState("waiting", `No connection to ${broker}, trying again. Is the broker running there?`);
      setTimeout(connect, delay);
    }
  });
}
