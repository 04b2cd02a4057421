// Preloaded into servers that listen on every address: makes `listen(port)` mean 127.0.0.1.
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const [port, host] = args;
  if ((typeof port === "number" || typeof port === "string") && typeof host !== "string") args.splice(1, 0, "127.0.0.1");
  return listen.apply(this, args);
};
