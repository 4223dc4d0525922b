"""A Chromium without a window, for the tests of our pages. Selenium drives it.

The browser reaches only this machine: names do not resolve, and it does not look for updates. Its profile is empty.
Everything that a test starts ends with it.

    with Browser() as browser:
        browser.open(file_url(page))
        browser.press("Enter")
        assert browser.look("document.title") == "..."
        assert browser.complaints == []

Starting one takes about a second, so the tests of one file share it.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.parse

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = None

PATIENCE = 60  # seconds for any single answer, on a busy machine

FLAGS = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-quic", "--no-proxy-server",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


def chromium():
    """Chromium without windows needs a fifth less CPU than the whole one. Either will do."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def can_have_sandbox():
    """Root can have none, and others only if the kernel lets them make namespaces."""
    return os.geteuid() != 0 and subprocess.run(["unshare", "--user", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def missing():
    """What to install, in a sentence, or None if nothing is missing."""
    packages = [package for package, there in (("chromium-headless-shell", chromium()),
                                               ("chromium-driver", shutil.which("chromedriver")),
                                               ("python3-selenium", webdriver)) if not there]
    return f"there is no browser to test with. On Debian: apt-get install {' '.join(packages)}" if packages else None


def file_url(path):
    return "file://" + urllib.parse.quote(str(path))


def processes_of(session):
    """All living processes of a session, by number."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == session:
            found.append(int(entry))
    return found


def end_all(program):
    """Ends what is left of its session."""
    for pid in processes_of(program.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    program.wait()


class Browser:
    """One window with one page. It keeps the page's complaints and, if asked to, its requests."""

    def __init__(self, width=1280, height=720, *flags, note_requests=False):
        os.environ["no_proxy"] = "localhost,127.0.0.1"  # Selenium asks the driver through HTTP
        self.directory = tempfile.mkdtemp(prefix="browser-")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium()
        for flag in (*FLAGS, *flags):
            options.add_argument(flag)
        if not can_have_sandbox():
            options.add_argument("--no-sandbox")
        logs = {"browser": "ALL", **({"performance": "ALL"} if note_requests else {})}
        options.set_capability("goog:loggingPrefs", logs)
        # What the driver keeps for the browser goes into our folder, and so goes with it.
        self.service = Service(shutil.which("chromedriver"), popen_kw={"start_new_session": True},
                               env={**os.environ, "TMPDIR": self.directory})
        self.driver = None
        try:
            self.driver = webdriver.Chrome(service=self.service, options=options)
            self.driver.set_page_load_timeout(PATIENCE)
            self.driver.set_script_timeout(PATIENCE)
            self.resize(width, height)
            self.open("about:blank")
            for log in logs:
                self.driver.get_log(log)  # its first page was Chromium's own
        except BaseException:
            self.close()
            raise
        self.noted = {"complaints": [], "requests": []}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            if self.driver:
                self.driver.quit()
        finally:
            if getattr(self.service, "process", None):
                end_all(self.service.process)
            shutil.rmtree(self.directory, ignore_errors=True)

    # ---- What the page has reported

    @property
    def complaints(self):
        """Errors, exceptions, and all that the page has written on the console. The list may be changed."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] != "DEBUG":
                self.noted["complaints"].append(entry["message"])
        return self.noted["complaints"]

    @complaints.setter
    def complaints(self, left):
        self.noted["complaints"] = left

    @property
    def requests(self):
        """The addresses that it has requested, with note_requests. The list may be changed."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.noted["requests"].append(message["params"]["request"]["url"])
        return self.noted["requests"]

    @requests.setter
    def requests(self, left):
        self.noted["requests"] = left

    # ---- What is on the page

    def call(self, method, **parameters):
        """A command of Chromium's DevTools protocol, for what Selenium can't do."""
        return self.driver.execute_cdp_cmd(method, parameters)

    def open(self, url):
        """Returns when the page has been loaded."""
        self.driver.get(url)

    def go(self, address):
        """Goes to another place of the page, by what follows the #. Returns when the page has dealt with it."""
        self.look(f"""new Promise((done) => {{
            if (location.hash === {json.dumps('#' + address)}) return done();
            addEventListener("hashchange", () => requestAnimationFrame(() => done()), {{once: true}});
            location.hash = {json.dumps(address)};
        }})""")

    def look(self, expression):
        """The value of an expression, of whatever JSON can say; waits if it is a promise. It sees what the page's own
        scripts have declared with const and let, too."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                           userGesture=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def settle(self):
        """Until what was under way, a hashchange too, has been dealt with and painted."""
        self.look("new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done))))")

    # ---- What a user does

    def press(self, key):
        """A key by its name in JavaScript: "a", "?", "Enter", "ArrowLeft"."""
        name = key if len(key) == 1 else getattr(Keys, {"ArrowLeft": "ARROW_LEFT", "ArrowRight": "ARROW_RIGHT",
                                                        "ArrowUp": "ARROW_UP", "ArrowDown": "ARROW_DOWN"}.get(key, key.upper()))
        self.type(name)

    def type(self, text):
        ActionChains(self.driver, duration=0).send_keys(text).perform()
        self.settle()

    def click(self, selector):
        """As a mouse does, in the middle of it. (Selenium's click() wants elements that stay; ours are drawn anew.)"""
        x, y = self.look(f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                         " return [box.x + box.width / 2, box.y + box.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    # ---- How it is shown

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, medium="", **features):
        """media("print"), media(prefers_color_scheme="dark")"""
        self.call("Emulation.setEmulatedMedia", media=medium,
                  features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def dark(self, dark=True):
        self.media(prefers_color_scheme="dark" if dark else "light")

    def scripts(self, allowed):
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def picture(self, file):
        with open(file, "wb") as out:
            out.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
