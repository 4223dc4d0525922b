"""Each request has a thread, which sends its reply when it has it."""

import threading

import right


class Broken(right.Server):
    def compute(self, n):
        return right.protocol.fib(n)  # slowly, so that a later one may overtake

    def answer(self, client, requests):
        threads = [threading.Thread(target=self.one, args=(client, request)) for request in requests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def one(self, client, request):
        client.sendall(self.reply(request))


Broken().serve()
