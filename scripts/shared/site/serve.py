"""Serves a directory on this machine alone: serve.py DIRECTORY BASE PORT. Run by scripts/site --serve."""

import functools
import http.server
import sys

directory, base, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path):
        return super().translate_path("/" + path.removeprefix(base))

    def log_message(self, *_):
        pass


try:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=directory))
except (OSError, OverflowError) as error:
    sys.exit(f"site: can't listen on port {port} ({error}); choose another one: --serve PORT")
print(f"http://127.0.0.1:{server.server_port}{base}  (Ctrl-C ends it)", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
