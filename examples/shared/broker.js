// Where the broker is: `?broker=HOST:PORT` in the page's address, else this machine's port 8000.

const asked = new URLSearchParams(location.search).get("broker");

/** The broker's host and port. */
export const broker = asked ?? "127.0.0.1:8000";

/** The address of a topic's raw WebSocket: every frame is one publication's payload, both ways. */
export function rawUrl(topic, query = "") {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${broker}/ws/${encodeURIComponent(topic)}${query}`;
}
