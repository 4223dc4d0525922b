"""A line gets its reply twice."""

from right import Server


class Broken(Server):
    def reply(self, request):
        return super().reply(request) * 2


Broken().serve()
