"""phones.py -- phones of a room, simulated: each speaks HTTP over connections of its own, from an address of its own.

All of 127.0.0.0/8 is this machine, so a room on 127.0.0.1 can have phones from as many addresses as there are seats.
"""

import http.client
import json
import socket

PATIENCE = 60


class Phone:
    def __init__(self, place, source="127.0.0.1", patience=PATIENCE):
        self.place, self.source, self.patience = place, source, patience
        self.token, self.name, self.version = "", "", 0
        self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def request(self, method, path, body=None, headers=None):
        """The status and the text. The headers replace those that the page would send; None leaves one out."""
        usual = {"Host": self.place, "Authorization": f"Phone {self.token}"}
        if method == "POST":
            usual |= {"Content-Type": "application/json", "Origin": f"http://{self.place}"}
        kept = self.connection is not None
        try:
            return self.send(method, path, body, {**usual, **(headers or {})})
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            if not kept:
                raise
        # A connection that was kept may have been ended meanwhile. Then a browser, too, tries once more.
        return self.send(method, path, body, {**usual, **(headers or {})})

    def send(self, method, path, body, headers):
        if not self.connection:
            host, _, port = self.place.partition(":")
            self.connection = http.client.HTTPConnection(host, int(port), timeout=self.patience, source_address=(self.source, 0))
        self.connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if value is not None:
                self.connection.putheader(name, value)
        if body is not None:
            self.connection.putheader("Content-Length", str(len(body.encode())))
        self.connection.endheaders(body.encode() if body is not None else None)
        response = self.connection.getresponse()
        text = response.read().decode()
        self.headers = dict(response.getheaders())
        if self.headers.get("Connection") == "close":
            self.close()
        return response.status, text

    def post(self, path, **wish):
        return self.request("POST", path, json.dumps(wish))

    def join(self, name="Ann"):
        status, text = self.post("/join", name=name)
        if status == 200:
            reply = json.loads(text)
            self.token, self.name = reply["token"], reply["name"]
        return status

    def ask(self, big=False):
        return self.post("/ask", big=big)[0]

    def vote(self, question, answer):
        return self.post("/vote", question=question, answer=answer)[0]

    def leave(self):
        return self.post("/leave")[0]

    def state(self, after=0):
        """The state after that one; {} if there was none in time."""
        status, text = self.request("GET", f"/state?after={after}")
        return (json.loads(text) if status == 200 else {"status": status})

    def until(self, condition):
        """The first state for which this holds, as it comes."""
        after = 0
        while True:
            state = self.state(after)
            if "status" in state:
                raise AssertionError(state)
            if "version" in state:
                after = state["version"]
                if condition(state):
                    return state


def connect(place, source="127.0.0.1", patience=PATIENCE):
    """A plain connection to the room."""
    host, _, port = place.partition(":")
    return socket.create_connection((host, int(port)), timeout=patience, source_address=(source, 0))


def source(number):
    """An address for the phone with this number."""
    return f"127.1.{number // 250}.{number % 250 + 1}"
