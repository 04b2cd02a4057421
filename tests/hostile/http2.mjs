// HTTP/2 as somebody sends it who does not mean well: frames by hand, RFC 9113 and RFC 7541.
import { connect } from "node:tls";

export const DATA = 0x0;
export const HEADERS = 0x1;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;

/** One frame. */
export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const number = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** A header field that enters no table, without Huffman coding; both parts are shorter than 127 bytes. */
const literal = (name, value) =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);

/** The fields of a request. */
export const fields = (port, path, more = {}) =>
  Buffer.concat(
    Object.entries({ ":method": "POST", ":scheme": "https", ":authority": `127.0.0.1:${port}`, ":path": path, ...more }).map(
      ([name, value]) => literal(name, value),
    ),
  );

/** One more field, of about a hundred bytes. */
export const padding = (at) => literal(`x-${at}`, "y".repeat(100));

/** A setting: its number and its value. */
export const setting = (id, value) => {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
};

/**
 * A connection after its preface; `settings`: payload of ours. `ended` is true once the other end has closed it, `goaway` its
 * error code, and `received` counts its frames by type.
 */
export function open(port, from, settings = Buffer.alloc(0)) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, localAddress: from, ALPNProtocols: ["h2"], rejectUnauthorized: false };
    const socket = connect(options, () => {
      socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, settings)]));
      resolve(peer);
    });
    const peer = { socket, ended: false, goaway: null, received: {} };
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const type = rest.readUInt8(3);
        peer.received[type] = (peer.received[type] ?? 0) + 1;
        if (type === GOAWAY) peer.goaway = rest.readUInt32BE(13);
        rest = rest.subarray(9 + rest.readUIntBE(0, 3));
      }
    });
    const over = (error) => {
      peer.ended = true;
      reject(error ?? new Error("closed"));
    };
    socket.on("error", over).on("close", () => over());
    socket.setTimeout(10_000, () => socket.destroy());
  });
}

/** Writes, and waits while the other end does not read. */
export function send(peer, bytes) {
  if (peer.ended || peer.socket.write(bytes)) return new Promise(setImmediate);
  return new Promise((resolve) => {
    const go = () => {
      for (const name of ["drain", "close"]) peer.socket.off(name, go);
      resolve();
    };
    for (const name of ["drain", "close"]) peer.socket.on(name, go);
  });
}
