"""A client's socket is kept when the client has left."""

import socket

from right import Server

kept = []


class Broken(Server):
    def closes(self, client, requests):
        client.shutdown(socket.SHUT_WR)
        kept.append(client)


Broken().serve()
