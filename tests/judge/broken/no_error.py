"""A line that is no number gets no reply."""

from right import Server


class Broken(Server):
    def reply(self, request):
        return b"" if isinstance(request, bytes) else super().reply(request)


Broken().serve()
