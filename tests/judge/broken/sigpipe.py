"""SIGPIPE ends it."""

import signal

from right import Server

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
Server().serve()
