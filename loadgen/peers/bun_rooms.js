// Rooms with Bun's own pub/sub: `S:TOPIC` subscribes (answer `OK S:TOPIC`), `P:TOPIC:PAYLOAD` publishes.
// A topic may hold colons, a payload may not.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
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
        const end = message.lastIndexOf(":");
        server.publish(message.slice(2, end), message.slice(end + 1));
      }
    },
  },
});
