"""Its lines end as in many other protocols."""

from right import Server


class Broken(Server):
    def reply(self, request):
        return super().reply(request).replace(b"\n", b"\r\n")


Broken().serve()
