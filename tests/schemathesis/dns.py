"""A DNS server over TCP that knows no name, so that a run depends on nobody else's: prints its port, and answers until it is killed.

Each query is answered with its own question and NXDOMAIN (RFC 1035 section 4.1.1; over TCP section 4.2.2).
"""

import socketserver


class Handler(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        length = int.from_bytes(self.rfile.read(2))
        query = self.rfile.read(length)
        if len(query) < 12 or len(query) < length:
            return
        flags = bytes([0x80 | (query[2] & 0x79), 0x83])
        # One question, and nothing else of the query's.
        end = query.index(0, 12) + 5
        answer = query[:2] + flags + bytes([0, 1, 0, 0, 0, 0, 0, 0]) + query[12:end]
        self.wfile.write(len(answer).to_bytes(2) + answer)


with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
