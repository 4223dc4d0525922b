"""scripts/broker: what it says if it can't do what it was asked for."""

import socket
import subprocess
import sys
import threading
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def broker(*arguments):
    return subprocess.run([sys.executable, ROOT / "scripts/shared/broker.py", *arguments], capture_output=True, text=True,
                          timeout=60)


class TakenPort(unittest.TestCase):
    def test_another_program_is_not_taken_for_our_broker(self):
        """It speaks AMQP, as Debian's own service does at 5672."""
        def answer(listener):
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(8)
                        connection.sendall(b"\x01")
            except OSError:
                pass

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            threading.Thread(target=answer, args=(listener,), daemon=True).start()
            port = listener.getsockname()[1]
            outcome = broker("--port", str(port), "--", "echo", "it has run")
            listener.shutdown(socket.SHUT_RDWR)
        self.assertEqual(outcome.returncode, 1)
        self.assertEqual(outcome.stdout, "")
        self.assertEqual(outcome.stderr,
                         f"broker: port {port}: Address already in use. Leave out --port, or give another one\n")


if __name__ == "__main__":
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        sys.exit(77)
    unittest.main()
