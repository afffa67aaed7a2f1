// Rooms with Bun's own pub/sub: `S:TOPIC` subscribes (answer `OK S:TOPIC`), `P:TOPIC:PAYLOAD` publishes.
// A topic may hold colons, a payload may not.
//
// usage: bun run bun_rooms.js PORT PROCESSES
//
// Several processes share the port, and the kernel shares out the connections. A publication goes from the process that
// got it to all others, through the first one.
const [port, processes] = process.argv.slice(2).map(Number);
const isFirst = process.send === undefined;
const others = [];

// To the subscribers of this process: a topic and a payload, as `P:TOPIC:PAYLOAD`.
let server;
function deliver(publication) {
  const end = publication.lastIndexOf(":");
  server.publish(publication.slice(2, end), publication.slice(end + 1));
}

function pass(publication, from) {
  for (const other of others) if (other !== from) other.send(publication);
}

function serve() {
  server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    reusePort: processes > 1,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("WebSocket only", { status: 426 })),
    websocket: {
      perMessageDeflate: false,
      sendPings: false,
      idleTimeout: 0,
      maxPayloadLength: 17 * 1024 * 1024,
      backpressureLimit: 64 * 1024 * 1024,
      message(socket, message) {
        if (message.startsWith("S:")) {
          socket.subscribe(message.slice(2));
          socket.send(`OK ${message}`);
        } else if (message.startsWith("P:")) {
          deliver(message);
          if (!isFirst) process.send(message);
          else if (others.length > 0) pass(message);
        }
      },
    },
  });
}

if (isFirst) {
  // Last, so that all of them listen when it does.
  let waiting = processes - 1;
  for (let n = 1; n < processes; n++) {
    const other = Bun.spawn({
      cmd: [process.execPath, "run", import.meta.path, String(port), String(processes)],
      stdout: "ignore",
      stderr: "inherit",
      ipc(message) {
        if (message === "listening") {
          waiting -= 1;
          if (waiting === 0) serve();
        } else {
          deliver(message);
          pass(message, other);
        }
      },
    });
    others.push(other);
  }
  if (waiting === 0) serve();
  process.on("exit", () => others.forEach((other) => other.kill()));
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit());
} else {
  process.on("message", deliver);
  process.on("disconnect", () => process.exit());
  serve();
  process.send("listening");
}
