"""Two counters that threads share are no counters: under load a reply is lost."""

import threading

from right import Server

talking = 0
lock = threading.Lock()


class Broken(Server):
    def talk(self, client):
        global talking
        with lock:
            talking += 1
        super().talk(client)
        with lock:
            talking -= 1

    def answer(self, client, requests):
        for number, request in enumerate(requests):
            if talking < 3 or number != 19:
                client.sendall(self.reply(request))


Broken().serve()
