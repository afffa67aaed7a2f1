// Rooms with Socket.IO: `sub` TOPIC joins and is acknowledged, `pub` TOPIC PAYLOAD emits `m` PAYLOAD to the room.
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false, maxHttpBufferSize: 17e6 });

io.on("connection", (socket) => {
  socket.on("sub", (topic, acknowledge) => {
    socket.join(topic);
    acknowledge?.("ok");
  });
  socket.on("pub", (topic, payload) => io.to(topic).emit("m", payload));
});

http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
