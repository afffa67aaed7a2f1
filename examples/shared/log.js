// The page's list of lines and its word on the connection. Text goes in as text: a publication is somebody else's
// words, never markup.

const LINES_MAX = 500;
const list = document.getElementById("messages");
const state = document.getElementById("state");

/** Adds a line at the bottom; the oldest ones go when there are too many. */
export function addLine(text, className = "") {
  const line = document.createElement("li");
  line.textContent = text;
  line.className = className;
  list.append(line);
  while (list.childElementCount > LINES_MAX) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

/** Shows the connection's state: `connecting`, `connected`, `waiting` or `closed`, and the same in words. */
export function showState(name, words) {
  state.dataset.state = name;
  state.textContent = words;
}
