"""Two clients send three requests each, in three parts that are no requests."""

import socket
import sys

server = "localhost", int(sys.argv[1])
clients = [socket.create_connection(server) for _ in range(2)]
for part in b"30\n2", b"0\n1", b"0\n":
    for i, client in enumerate(clients):
        print("client", i, "sends", len(part), "bytes")
        client.sendall(part)
for i, client in enumerate(clients):
    replies = b""
    while replies.count(b"\n") < 3:
        part = client.recv(100)
        if not part:
            sys.exit("the server has gone")
        replies += part
    print("client", i, "has")
    print(replies.decode(), end="")
    client.close()
