// Socket.IO: its rooms, over its WebSocket transport alone.
const { createServer } = require("http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("join", (room) => {
    socket.join(room);
    socket.emit("joined");
  });
  socket.on("say", (room, data) => io.to(room).emit("say", data));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
