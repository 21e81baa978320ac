// A Node socket.io server, WebSocket only.
const { createServer } = require("http");
const { Server } = require("socket.io");

const EVENT = "events".padEnd(Number(process.argv[2]) - 20, "x"); // the rest is socket.io's own
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"], pingInterval: 3600000, perMessageDeflate: false, serveClient: false,
});
io.on("connection", (client) => {
  client.emit("welcome");
  client.on("all", () => io.emit("m", EVENT));
  client.on("echo", (data) => client.emit("echo", data));
});
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  const address = `ws://127.0.0.1:${http.address().port}/socket.io/?EIO=4&transport=websocket`;
  console.log(JSON.stringify({ ready: true, ws: address }));
});
