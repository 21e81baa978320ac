// A server on Node's ws: one prepared buffer, sent to every client in a loop.
const { WebSocketServer } = require("ws");

const EVENT = Buffer.alloc(Number(process.argv[2]) - 4, "x");
EVENT.write("events");
const server = new WebSocketServer({
  host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false, clientTracking: true,
});
server.on("connection", (client) => {
  let isWelcome = false;
  client.on("error", () => {});
  client.on("message", (data, isBinary) => {
    if (!isWelcome) {
      isWelcome = true;
      client.send("welcome");
    } else if (data.subarray(0, 3).toString() === "all") {
      for (const each of server.clients) each.send(EVENT);
    } else {
      client.send(data, { binary: isBinary });
    }
  });
});
server.on("listening", () => {
  console.log(JSON.stringify({ ready: true, ws: `ws://127.0.0.1:${server.address().port}/` }));
});
