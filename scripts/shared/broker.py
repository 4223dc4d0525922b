"""The part of scripts/broker that runs when the packages are installed. The script explains the command line.

    broker.py ──┬── epmd        finds the port of a node by its name
                ├── beam.smp    Erlang's virtual machine, with RabbitMQ in it
                ├── workers     ours, if asked for
                └── COMMAND

All are children of this process, and the kernel kills them when it ends, however that happens
(PR_SET_PDEATHSIG). This process ends when the process that started it ends.
"""

import argparse
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RABBITMQ = Path("/usr/lib/rabbitmq/bin")
PATIENCE = 300  # seconds for a start; 4 to 10 are usual, but a busy machine has taken over 120
# For Erlang: the node and rabbitmqctl. With several schedulers both have stood still for half a minute on a busy
# machine, runnable and without a CPU. Probably because they yield while they wait for each other's locks, and Linux
# (6.18) takes each yield for patience. With one scheduler neither does.
ONE_SCHEDULER = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
STARTED = b"Server startup complete"
SKIPPED = 77  # --or-skip ends with this if there is no RabbitMQ; ctest knows it
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def die(text):
    sys.exit(f"broker: {text}")


def end_with_parent(number, parent):
    """Makes the kernel send this process a signal when its parent has died."""
    libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # the parent has died already
        os._exit(1)


def start(command, environment, own_group=True, **how):
    """A child that does not outlive us. In a process group of its own Ctrl-C reaches us, but not the child."""
    us = os.getpid()

    def prepare():
        if own_group:
            os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        end_with_parent(signal.SIGKILL, us)

    return subprocess.Popen(command, env=environment, preexec_fn=prepare, **how)


def take_ports(count):
    """Free ports, and locks that keep them from other brokers of ours until RabbitMQ listens.

    They are below those that the kernel gives to clients. With thousands of clients, one would soon be taken."""
    first_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = list(range(max(1024, first_of_clients - 8000), first_of_clients))
    random.shuffle(candidates)
    taken = []
    for port in candidates:
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0ground-broker-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        taken.append((port, mark))
        if len(taken) == count:
            return taken
    die("there are no free ports; end some servers")


def speaks_amqp(port):
    """Whether a broker answers a client's first eight bytes with a method frame (connection.start)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            s.sendall(b"AMQP\0\0\x09\x01")
            return s.recv(1) == b"\x01"
    except OSError:
        return False


def check_free(port):
    """A client would take another program at our port for our broker."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Erlang does
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        die(f"port {port}: {error.strerror}. Leave out --port, or give another one"
            + (" (Debian's own RabbitMQ listens at 5672: systemctl status rabbitmq-server)" if port == 5672 else ""))


class Broker:
    def __init__(self, directory, port):
        if port:
            check_free(port)
        self.taken = take_ports(3)
        free = [taken for taken, _ in self.taken]
        self.directory = directory
        self.port = port or free[0]
        self.log = directory / "output.log"
        (directory / "enabled_plugins").write_text("[].\n")
        self.environment = os.environ | {
            "HOME": str(directory),  # Erlang keeps its cookie there
            "RABBITMQ_NODENAME": f"ground_{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free[1]),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            # To its output, and so into our file. RabbitMQ would write through to the disk every few seconds if it had
            # a file of its own. Whatever it logs then, such as a refused login, waits until a busy disk has done that.
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                # Loopback only. (An idle scheduler sleeps at once instead of looking for work for a while, because it
                # shares the CPUs with what is measured.)
                f"-kernel inet_dist_use_interface {{127,0,0,1}} {ONE_SCHEDULER}",
            "RABBITMQ_CTL_ERL_ARGS": ONE_SCHEDULER,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free[2]),
            "RUNNING_UNDER_SYSTEMD": "true",  # no shell stays between us and Erlang
            "GROUND_BROKER": f"amqp://guest:guest@127.0.0.1:{self.port}",
            "GROUND_BROKER_PID_FILE": str(directory / "beam.pid"),
        }
        self.epmd = start(["epmd", "-port", str(free[2])], self.environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
        self.node = None

    def start(self):
        with self.log.open("ab") as log:
            self.node = start([RABBITMQ / "rabbitmq-server"], self.environment, stdin=subprocess.DEVNULL,
                              stdout=log, stderr=log, cwd=self.directory)
        pid = self.directory / "beam.new"
        pid.write_text(f"{self.node.pid}\n")
        pid.rename(self.directory / "beam.pid")

    def wait_until_up(self):
        deadline = time.monotonic() + PATIENCE
        # It listens before it is ready: RabbitMQ 4 drops direct replies until it says that it is.
        while not (STARTED in self.log.read_bytes() and speaks_amqp(self.port)):
            if self.node.poll() is not None or time.monotonic() > deadline:
                sys.stderr.write(self.log.read_text(errors="replace")[-4000:])
                die("RabbitMQ did not start (see above)")
            time.sleep(0.1)

    def environment_of_others(self):
        """With a rabbitmqctl that finds this broker (and is not Debian's, which asks for root)."""
        programs = self.directory / "bin"
        programs.mkdir()
        rabbitmqctl = programs / "rabbitmqctl"
        variables = (f"{name}='{value}'" for name, value in self.environment.items()
                     if name == "HOME" or name == "RABBITMQ_NODENAME" or name.startswith("ERL_EPMD"))
        rabbitmqctl.write_text(f"#!/bin/sh\nexec env {' '.join(variables)} {RABBITMQ}/rabbitmqctl \"$@\"\n")
        rabbitmqctl.chmod(0o755)
        ours = {name: value for name, value in self.environment.items() if name.startswith("GROUND_")}
        return os.environ | ours | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def end(self):
        for process in (self.node, self.epmd):
            if process and process.poll() is None:
                # Nothing in it is worth keeping, so there is no reason to wait for its own, slow end.
                process.kill()
                process.wait()


SHELL_HELP = """\
A shell beside a RabbitMQ of your own. For a worker on another machine it needs a user with permissions, since
guest may only come from this one:

  rabbitmqctl add_user alex alex3714
  rabbitmqctl set_permissions -p / alex '^ground\\.fib$' '^(ground\\.fib|amq\\.default)$' '^ground\\.fib$'
                                        what it may: create   write to             read from
  rabbitmqctl list_permissions -p /
  rabbitmqctl list_queues name messages_ready messages_unacknowledged consumers

(Everybody's notes say ".*" ".*" ".*": everything.) The address is in GROUND_BROKER: {url}
exit ends the broker, too.
"""


def parse_arguments():
    parser = argparse.ArgumentParser(prog="broker", add_help=False)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--shell", action="store_true")
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--or-skip", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.command[:1] == ["--"]:
        del arguments.command[0]
    return arguments


def say_what_to_type(broker):
    print(f"RabbitMQ is up on 127.0.0.1:{broker.port}. In other terminals:\n\n"
          f"  export GROUND_BROKER={broker.environment['GROUND_BROKER']}\n"
          "  build/release/stages/10_worker\n"
          "  build/release/stages/07_coroutines --pool broker\n\nCtrl-C ends it.", flush=True)


def run(arguments, directory):
    broker = Broker(directory, arguments.port)
    others = []
    try:
        broker.start()
        broker.wait_until_up()
        environment = broker.environment_of_others()
        for _ in range(arguments.workers):
            others.append(start([arguments.build / "stages/10_worker"], environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL))
        if arguments.shell:
            print(SHELL_HELP.format(url=environment["GROUND_BROKER"]), flush=True)
            arguments.command = [os.environ.get("SHELL", "/bin/bash")]
        if not arguments.command:
            say_what_to_type(broker)
            command = None
        else:
            command = start(arguments.command, environment, own_group=False)  # it has our terminal
            others.append(command)
        return watch(arguments, broker, command)
    finally:
        for process in others:
            if process.poll() is None:
                process.terminate()
        for process in others:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        broker.end()


def watch(arguments, broker, command):
    """Waits until the command has ended or, without one, until we are told to end."""
    while True:
        # A signal: one of our children has ended, or this process is to end.
        signal.sigtimedwait({signal.SIGCHLD}, 1)
        if command and command.poll() is not None:
            return command.returncode if command.returncode >= 0 else 128 - command.returncode
        if broker.node.poll() is not None:
            if not arguments.restart:
                die("RabbitMQ has ended; its log is gone with its directory")
            broker.start()


def main():
    arguments = parse_arguments()
    end_with_parent(signal.SIGTERM, os.getppid())
    if not (RABBITMQ / "rabbitmq-server").exists():
        if arguments.or_skip:
            print("skipped: RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)")
            return SKIPPED
        die("RabbitMQ is missing. On Debian or Ubuntu: apt-get install rabbitmq-server")
    if arguments.workers and not (arguments.build / "stages/10_worker").exists():
        die(f"there is no {arguments.build}/stages/10_worker; build it, or name another --build")

    def stop(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    directory = Path(tempfile.mkdtemp(prefix="ground-broker-"))
    try:
        return run(arguments, directory)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        die(error)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
