"""The annotated reading, compared with the sources and looked at in a browser.

    annotate_test.py [-v] [Page.test_...]      like any unittest
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from browser import Browser, missing  # noqa: E402

# In the order of the page: the talk first.
STAGES = [ROOT / "stages" / f"{name}.cpp" for name in subprocess.run(
    [ROOT / "scripts" / "stages", "--names", "talk", "around", "beyond"], capture_output=True, text=True,
    check=True).stdout.split()]
STAGES = [stage for stage in STAGES if stage.exists()]
HEADERS = sorted(ROOT.glob("common/*/*.hpp"))
PRIMERS = sorted(ROOT.glob("stages/primers/*.cpp"))
NAMES = {path: path.stem if path.parent.name == "stages" else path.name for path in (*STAGES, *PRIMERS, *HEADERS)}


def annotate(*arguments):
    return subprocess.run([ROOT / "scripts" / "annotate", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)


def squeeze(text):
    return " ".join(text.split())


def base_of(stage):
    """The stage whose changes this one shows, or None."""
    name = re.search(r"^// Changed since (\w+):", stage.read_text(), re.MULTILINE)[1]
    return next((path for path in STAGES if path.stem == name), None)


def changed_lines(command):
    """What a diff removes and adds, in order."""
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stdout
    body = [line for line in output.split("\n@@", 1)[1].splitlines()[1:] if not line.startswith("@@")]
    return ([line[1:] for line in body if line.startswith("-")], [line[1:] for line in body if line.startswith("+")])


# For every visible text, its colour and that of its background: returns the pairs with too little contrast.
LOW_CONTRAST = """(() => {
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgb = (colour) => {
    if (!known.has(colour)) known.set(colour, paint(colour));
    return known.get(colour);
  };
  const paint = (colour) => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (rgb(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const low = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === "" || !element.checkVisibility() || element.closest(".vh, .skip")) continue;
    ++texts;
    const [text, ground] = [getComputedStyle(element).color, behind(element)];
    const key = text + " on " + ground;
    if (low.has(key)) continue;
    const [a, b] = [luminance(rgb(text)), luminance(rgb(ground))].sort((x, y) => y - x);
    low.set(key, (a + 0.05) / (b + 0.05));
  }
  return {texts, low: [...low].filter(([, ratio]) => ratio < 4.5).map(([key, ratio]) => `${key}: ${ratio.toFixed(2)}`)};
})()"""


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if why := missing():
            raise unittest.SkipTest(why)
        cls.directory = Path(tempfile.mkdtemp(prefix="annotate-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.file = cls.directory / "annotated.html"
        made = annotate("-o", str(cls.file))
        if made.returncode != 0:
            raise AssertionError(f"scripts/annotate failed: {made.stdout}{made.stderr}")
        cls.browser = Browser(1280, 720, "--hide-scrollbars", note_requests=True)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.media(prefers_color_scheme="light")
        self.browser.resize(1280, 720)
        # Loading takes time, so the tests share one page as long as they leave it as it was.
        if self.js("window.asFound !== true || localStorage.length > 0 || document.querySelector('dialog').open"):
            self.browser.scripts(True)
            self.browser.open(self.file.as_uri())
            self.js("localStorage.clear()")
            self.open()
            self.js("window.asFound = true")
        self.browser.go("home")

    def tearDown(self):
        complaints, self.browser.complaints = self.browser.complaints, []
        requests, self.browser.requests = self.browser.requests, []
        self.assertEqual(complaints, [])
        self.assertLessEqual({request.partition("#")[0] for request in requests}, {self.file.as_uri(), "about:blank"})

    def js(self, expression):
        return self.browser.look(expression)

    def open(self, address=""):
        """As if the address had been typed into a new window."""
        self.browser.open("about:blank")
        self.browser.open(self.file.as_uri() + (f"#{address}" if address else ""))

    def address(self):
        return self.js("decodeURIComponent(location.hash.slice(1))")

    def shown(self):
        """The articles that are shown, with their views."""
        return self.js("""[...document.querySelectorAll("#home, article")].filter((e) => e.checkVisibility())
            .flatMap((e) => [e.id, ...[...e.querySelectorAll(".view")].filter((v) => v.checkVisibility())
                .map((v) => v.id || "read")])""")

    def box(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")

    def assert_in_sight(self, identity):
        box = self.js(f"document.getElementById({json.dumps(identity)}).getBoundingClientRect().toJSON()")
        bar = self.box(".site")
        self.assertGreaterEqual(box["top"], bar["bottom"], f"{identity} is behind the bar")
        self.assertLessEqual(box["bottom"], self.js("innerHeight"), f"{identity} is below the window")

    # ---- What is on the page

    def test_every_line_of_every_source_is_there_unaltered(self):
        for path, name in NAMES.items():
            with self.subTest(name):
                found = self.js(f"""(() => {{
                    const article = document.getElementById({json.dumps(name)});
                    return [...article.querySelectorAll(".top [data-l], .read [data-l], .read .l")].map((e) =>
                        e.matches(".l") ? ["code", Number(e.firstChild.dataset.n), e.textContent]
                                        : ["comment", Number(e.dataset.l), e.textContent]);
                }})()""")
                lines = path.read_text().splitlines()
                numbers = [number for _, number, _ in found]
                self.assertEqual(numbers, sorted(numbers), "not in the order of the source")
                code = {number: text for kind, number, text in found if kind == "code"}
                comments = {}
                for kind, number, text in found:
                    if kind == "comment":
                        comments[number] = f"{comments.get(number, '')} {text}"
                for number, line in enumerate(lines, 1):
                    if line.strip() == "//":
                        continue  # the space between two paragraphs
                    if number in comments:
                        self.assertTrue(line.lstrip().startswith("//"), f"line {number} is not a comment: {line}")
                        # Where an element ends, the page has a blank that the source may lack.
                        tight = re.sub(r"\s", "", line.strip().removeprefix("//"))
                        self.assertEqual(re.sub(r"\s", "", comments.pop(number)), tight)
                    else:
                        self.assertEqual(code.pop(number, None), line + "\n", f"line {number}")
                self.assertEqual((code, comments), ({}, {}), "lines that the source does not have")

    def test_words_of_comments_keep_their_distance(self):
        self.browser.go("02_threads")
        keys = squeeze(self.js("document.querySelector('.current .keys').innerText"))
        for line in STAGES[1].read_text().splitlines()[2:6]:
            self.assertIn(squeeze(line.partition(":")[2]), keys)
        for path, name in NAMES.items():
            lines = path.read_text().splitlines()
            for number, text in self.js(f"""[...document.getElementById("{name}").querySelectorAll(".words p [data-l]")]
                    .map((e) => [Number(e.dataset.l), e.textContent])"""):
                self.assertEqual(text, lines[number - 1].strip()[3:].lstrip())

    def test_comments_stand_left_of_the_code_that_they_are_about(self):
        self.browser.go("02_threads/serve")
        words, code = (self.js(f"""(() => {{
            const row = document.getElementById("02_threads/serve").closest(".row");
            return row.querySelector("{part}").getBoundingClientRect().toJSON();
        }})()""") for part in (".words p", ".code .l"))
        self.assertLess(words["right"], code["left"])
        self.assertAlmostEqual(words["top"], code["top"], delta=8)
        text = self.js("document.getElementById('02_threads/serve').closest('.row').querySelector('.words').innerText")
        source = (ROOT / "stages/02_threads.cpp").read_text()
        comment = re.search(r"((?:^// .*\n)+)void serve", source, re.MULTILINE)[1]
        self.assertEqual(squeeze(text), squeeze(comment.replace("// ", "")))

    def test_a_comment_beside_code_stays_there(self):
        self.assertRegex(self.js("document.body.textContent"),
                         r"log_error\(std::current_exception\(\)\);  // ends only this task; the others go on")

    def test_each_stage_shows_its_four_keys(self):
        for stage in STAGES:
            keys = self.js(f"""[...document.getElementById("{stage.stem}").querySelectorAll("dt")]
                .map((e) => e.textContent)""")
            self.assertEqual([key.split()[0].rstrip(":") for key in keys], ["Changed", "Buys", "Costs", "Leaves"])

    def test_links_resolve_and_no_identity_is_there_twice(self):
        dangling = self.js("""[...document.querySelectorAll("a")].map((a) => a.getAttribute("href"))
            .filter((to) => !to?.startsWith("#") || !document.getElementById(to.slice(1)))""")
        # An empty comment line is not there. Its number leads to the line before it.
        empty = {f"#{NAMES[path]}/L{number}" for path in NAMES
                 for number, line in enumerate(path.read_text().splitlines(), 1) if line.strip() == "//"}
        self.assertEqual(set(dangling) - empty, set())
        self.assertEqual(self.js("""(() => {
            const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
            return ids.filter((id, i) => ids.indexOf(id) !== i);
        })()"""), [])

    def test_names_lead_to_their_definitions(self):
        links = self.js("""Object.fromEntries([...document.querySelectorAll(".read")].map((view) => [
            view.closest("article").id,
            [...view.querySelectorAll(".l a:not([data-n])")].map((a) => [a.textContent, a.getAttribute("href")])]))""")
        for stage, name, to in (("01_blocking", "Requests", "#protocol.hpp/Requests"),
                                ("01_blocking", "recv", "#net.hpp/recv"),
                                ("01_blocking", "accept", "#net.hpp/Listener::accept"),
                                ("02b_threads_gil", "interpret", "#gil.hpp/Gil::Thread::interpret"),
                                ("03_process_pool", "submit", "#pool.hpp/Pool::submit"),
                                ("04_generators", '"common/wait/select.hpp"', "#select.hpp"),
                                ("05_futures", "future_done", "#05_futures/Scheduler::future_done"),
                                ("07_coroutines", "socket", "#net.hpp/tcp::socket")):
            self.assertIn([name, to], links[stage])
        for source, pairs in links.items():
            for text, to in pairs:
                last = re.split(r"/|::", to)[-1].removeprefix("#")
                self.assertEqual(re.sub(r'^"common/\w+/|"$', "", text), last, f"in {source}")
        # A parameter of a template hides the class of that name, within the template.
        self.assertFalse(self.js("""[...document.getElementById("coroutine.hpp").querySelectorAll(".l")]
            .filter((e) => /std::coroutine_handle<Promise> (ended|caller)/.test(e.textContent))
            .flatMap((e) => [...e.querySelectorAll("a.t")]).some((a) => a.textContent === "Promise")"""))
        # A name with another type, or one of the library's, is not taken for ours.
        self.assertNotIn("move", [text for text, _ in links["06_async_sockets"]])

    def test_definitions_are_where_the_source_has_them(self):
        for identity, line in self.js("""[...document.querySelectorAll(".code i[id]")]
                .map((e) => [e.id, e.closest(".l").id])"""):
            name = identity.partition("/")[2]
            path = next(path for path, known in NAMES.items() if identity.startswith(f"{known}/"))
            text = path.read_text().splitlines()[int(line.rpartition("/L")[2]) - 1]
            self.assertRegex(text, rf"\b{re.escape(name.rpartition('::')[2])}\b")
        for stage in STAGES:
            if "int main(" in stage.read_text(encoding="utf-8"):  # 06c is no program
                self.assertTrue(self.js(f"document.getElementById('{stage.stem}/main') !== null"), stage.stem)

    def test_the_file_is_small_and_needs_no_other(self):
        page = self.file.read_text()
        self.assertLess(len(page.encode()), 3_000_000)
        self.assertNotRegex(page, r"(?i)<(img|link|iframe|object|embed|base)\b|\ssrc=|url\(|@import|https?://")
        self.assertIn("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'", page)

    def test_requests_for_other_files_are_refused(self):
        self.assertEqual(self.js("""new Promise((done) => {
            addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
            fetch("http://127.0.0.1:9/").catch(() => setTimeout(() => done("nobody"), 5000));
        })"""), "connect-src")
        self.browser.settle()
        self.browser.complaints.clear()  # it was this test that asked
        self.browser.requests.clear()

    # ---- Differences

    def diff(self, stage, view):
        return self.js(f"""(() => {{
            const view = document.getElementById("{stage.stem}/{view}");
            const lines = [...view.querySelectorAll(".l:not(.twin)")]
                .map((e) => [e.localName, e.textContent.slice(0, -1)]);
            const of = (...names) => lines.filter(([name]) => names.includes(name)).map(([, text]) => text);
            return {{removed: of("del"), added: of("ins"), old: of("span", "del"), new: of("span", "ins"),
                     counts: view.querySelector(".counts").innerText ?? ""}};
        }})()""")

    def test_the_diff_is_that_of_git(self):
        for stage in filter(base_of, STAGES):
            with self.subTest(stage.stem):
                base = base_of(stage)
                self.browser.go(f"{stage.stem}/diff")
                seen = self.diff(stage, "diff")
                command = ["git", "diff", "--no-index", "--histogram", "-U0", "--no-color", base, stage]
                removed, added = changed_lines(command)
                self.assertEqual((seen["removed"], seen["added"]), (removed, added))
                self.assertEqual(seen["old"], base.read_text().splitlines())
                self.assertEqual(seen["new"], stage.read_text().splitlines())
                self.assertEqual(squeeze(seen["counts"]), f"+{len(added)} −{len(removed)} lines")

    def test_the_diff_of_the_code_is_that_of_stage_diff(self):
        for stage in filter(base_of, STAGES):
            with self.subTest(stage.stem):
                command = [ROOT / "scripts/stage-diff", "--code-only", base_of(stage).stem, stage.stem, "-U0",
                           "--no-color"]
                self.browser.go(f"{stage.stem}/diff-code")
                seen = self.diff(stage, "diff-code")
                removed, added = changed_lines(command)
                self.assertEqual((seen["removed"], seen["added"]), (removed, added))
                self.assertEqual(squeeze(seen["counts"]), f"+{len(added)} −{len(removed)} lines")
                self.assertFalse([line for line in seen["new"] if "//" in line or not line.strip()])

    def test_within_a_line_what_differs_is_marked(self):
        marks = self.js("""[...document.getElementById("06_async_sockets/diff-code").querySelectorAll("ins mark")]
            .map((e) => e.textContent)""")
        self.assertIn("co_await", marks)
        for text in marks:
            self.assertTrue(text.strip(), "an indentation is marked")

    def test_a_line_number_in_a_diff_leads_to_the_line(self):
        for stage in filter(base_of, STAGES):
            for to, text in self.js(f"""[...document.querySelectorAll("[id='{stage.stem}/diff'] ins.l")]
                    .map((e) => [e.querySelector("[data-n]").hash.slice(1), e.textContent.slice(0, -1)])"""):
                name, _, number = to.rpartition("/L")
                self.assertEqual((name, stage.read_text().splitlines()[int(number) - 1]), (stage.stem, text))

    def test_side_by_side_or_unified(self):
        def pair():
            return self.js("""(() => {
                const group = [...document.querySelectorAll(".current .shown .changed")]
                    .find((e) => e.querySelector("del mark"));
                const row = group.querySelector("del:has(mark)").style.getPropertyValue("--r");
                const box = (name) => [...group.querySelectorAll(name)]
                    .find((e) => e.style.getPropertyValue("--r") === row).getBoundingClientRect().toJSON();
                return [box("del"), box("ins")];
            })()""")

        self.browser.go("02_threads/diff-code")
        removed, added = pair()  # wide: side by side
        self.assertEqual(removed["top"], added["top"])
        self.assertLessEqual(removed["right"], added["left"] + 1)
        self.browser.press("s")
        removed, added = pair()
        self.assertLess(removed["top"], added["top"])
        self.assertEqual(removed["left"], added["left"])
        self.open("02_threads/diff-code")  # the choice is remembered
        self.assertEqual(pair()[0]["left"], pair()[1]["left"])
        self.js("document.querySelector('.current .shown .bar button').click()")
        self.assertEqual(pair()[0]["top"], pair()[1]["top"])
        # Beside each other, both sides have all unchanged lines.
        self.assertTrue(self.js("""[...document.querySelectorAll(".current .shown .same > .l:not(.twin)")]
            .map((line) => [line, line.nextElementSibling])
            .every(([line, twin]) => twin.matches(".twin") && twin.textContent === line.textContent)"""))

    # ---- Moving on the page

    def test_one_article_in_one_view_is_shown(self):
        self.open()
        self.assertEqual(self.shown(), ["home"])
        for address, shown in (("02_threads", ["02_threads", "read"]),
                               ("02_threads/diff", ["02_threads", "02_threads/diff"]),
                               ("06_async_sockets/diff-code", ["06_async_sockets", "06_async_sockets/diff-code"]),
                               ("net.hpp", ["net.hpp", "read"]), ("common", ["home"]), ("no/such/place", ["home"])):
            self.browser.go(address)
            self.assertEqual(self.shown(), shown)
            headings = self.js("[...document.querySelectorAll('h1')].filter((e) => e.checkVisibility()).length")
            self.assertEqual(headings, 1)

    def test_an_address_can_name_a_definition_a_line_or_lines(self):
        self.open("02_threads/serve")
        self.assertEqual(self.shown(), ["02_threads", "read"])
        self.assert_in_sight("02_threads/serve")
        lines = (ROOT / "stages/05_futures.cpp").read_text().splitlines()
        first = next(number for number, line in enumerate(lines, 1) if "void future_done(" in line)
        self.open(f"05_futures/L{first}-L{first + 2}")
        self.assertEqual(self.js("[...document.querySelectorAll('.hit')].map((e) => e.id)"),
                         [f"05_futures/L{number}" for number in range(first, first + 3)])
        self.assert_in_sight(f"05_futures/L{first + 1}")
        comment = self.js("[...document.getElementById('net.hpp').querySelectorAll('.words [data-l]')].at(-1).id")
        self.open(comment)
        self.assert_in_sight(comment)
        self.open("02_threads/L2")  # an empty line of one
        self.assertEqual(self.shown(), ["02_threads", "read"])

    def test_a_click_on_line_numbers_makes_the_address(self):
        self.browser.go("02_threads/L42")
        self.js("""(() => {
            const click = (id, shiftKey) => document.getElementById(id).querySelector("[data-n]")
                .dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, shiftKey}));
            click("02_threads/L43", false);
            click("02_threads/L46", true);
        })()""")
        self.browser.settle()
        self.assertEqual(self.address(), "02_threads/L43-L46")
        self.assertEqual(self.js("document.querySelectorAll('.hit').length"), 4)

    def test_arrow_keys_turn_the_pages(self):
        self.browser.press("ArrowRight")
        self.assertEqual(self.address(), "01_blocking")
        for stage in STAGES[1:]:
            self.browser.press("ArrowRight")
            self.assertEqual(self.address(), stage.stem)
        self.browser.press("ArrowRight")  # the last
        self.assertEqual(self.address(), STAGES[-1].stem)
        self.browser.press("d")
        self.assertEqual(self.address(), f"{STAGES[-1].stem}/diff")
        self.browser.press("ArrowLeft")
        self.assertEqual(self.address(), f"{STAGES[-2].stem}/diff")
        self.browser.press("d")
        self.assertEqual(self.address(), f"{STAGES[-2].stem}/diff-code")
        self.browser.press("d")
        self.assertEqual(self.address(), STAGES[-2].stem)

    def test_links_to_the_previous_and_the_next(self):
        for before, after in zip(STAGES, STAGES[1:]):
            for stage, relation, other in ((before, "next", after), (after, "prev", before)):
                self.assertEqual(self.js(f"""document.getElementById("{stage.stem}")
                    .querySelector(".turn [rel={relation}]").getAttribute("href")"""), f"#{other.stem}")

    def test_back_leads_to_the_place_before(self):
        self.browser.go("05_futures")
        self.js("""new Promise((done) => {
            const look = () => history.state?.y === 700 ? done() : requestAnimationFrame(look);
            scrollTo(0, 700);
            look();
        })""")
        self.browser.go("protocol.hpp/Requests")
        self.assertNotEqual(self.js("scrollY"), 700)
        self.js("new Promise((done) => { addEventListener('hashchange', done, {once: true}); history.back(); })")
        self.browser.settle()
        self.assertEqual((self.address(), self.js("scrollY")), ("05_futures", 700))

    def test_search_finds_a_symbol_and_goes_there(self):
        self.browser.go("03_process_pool")
        self.browser.press("/")
        self.assertTrue(self.js("document.getElementById('search').open"))
        self.assertEqual(self.js("document.activeElement.id + document.activeElement.value"), "query")
        self.browser.type("try_accept")
        self.browser.press("ArrowLeft")  # moves in the text, and not to another stage
        self.assertEqual(self.address(), "03_process_pool")
        first = self.js("[...document.querySelectorAll('#results a')][0].getAttribute('href')")
        self.assertEqual(first, "#net.hpp/Listener::try_accept")
        self.browser.press("Enter")
        self.assertFalse(self.js("document.getElementById('search').open"))
        self.assertEqual(self.address(), "net.hpp/Listener::try_accept")
        self.assert_in_sight("net.hpp/Listener::try_accept")

    def test_search_finds_lines_of_code_and_comments_in_all_files(self):
        self.browser.press("/")
        for query in ("backlog keeps", "socketpair();", "zygote", "listener", "no such words"):
            self.js(f"document.getElementById('query').value = {json.dumps(query)}")
            self.js("document.getElementById('query').dispatchEvent(new Event('input'))")
            expected = []
            for path, name in NAMES.items():
                for number, line in enumerate(path.read_text().splitlines(), 1):
                    if all(word in line.lower() for word in query.lower().split()):
                        expected.append(f"#{name}/L{number}")
            found = self.js("""(() => {
                const items = [...document.querySelectorAll("#results li")];
                const lines = items.findIndex((item) => item.textContent === "Lines");
                return items.slice(lines + 1).map((item) => item.firstChild.getAttribute("href"));
            })()""")
            self.assertLessEqual(set(found), set(expected))
            self.assertTrue(len(found) == len(expected) or len(found) > 40, query)
        self.browser.press("Escape")
        self.assertFalse(self.js("document.getElementById('search').open"))

    def test_search_results_can_be_walked_with_the_keyboard(self):
        self.browser.press("/")
        self.browser.type("serve")
        self.browser.press("ArrowDown")
        self.browser.press("ArrowDown")
        link = self.js("document.activeElement.getAttribute('href')")
        self.assertEqual(link, self.js("[...document.querySelectorAll('#results a')][1].getAttribute('href')"))
        self.browser.press("Enter")
        self.assertEqual("#" + self.address(), link)

    # ---- How it looks

    def ground(self):
        return self.js("getComputedStyle(document.body).backgroundColor")

    def test_the_theme_follows_the_system_and_can_be_switched(self):
        white = self.ground()
        self.assertEqual(white, "rgb(255, 255, 255)")
        self.browser.media(prefers_color_scheme="dark")
        dark = self.ground()
        self.assertNotEqual(dark, white)

        def choose(theme):
            self.js(f"""(() => {{
                const theme = document.getElementById("theme");
                theme.value = "{theme}";
                theme.dispatchEvent(new Event("change"));
            }})()""")

        choose("light")
        self.assertEqual(self.ground(), white)
        self.open()  # it is remembered
        self.assertEqual((self.ground(), self.js("document.getElementById('theme').value")), (white, "light"))
        choose("")
        self.assertEqual(self.ground(), dark)
        choose("dark")
        self.browser.media(prefers_color_scheme="light")
        self.assertEqual(self.ground(), dark)
        self.browser.media("print", prefers_color_scheme="dark")
        self.assertEqual(self.ground(), white)

    def test_contrast_suffices_in_both_themes(self):
        for theme in ("light", "dark"):
            self.browser.media(prefers_color_scheme=theme)
            for address in ("home", "02_threads", "02b_threads_gil/L3", "05_futures/L93-L95", "06_async_sockets/diff",
                            "06_async_sockets/diff-code", "process_pool.hpp", "protocol.hpp/L42",
                            "gil.hpp/Gil::Thread"):
                with self.subTest(theme=theme, address=address):
                    self.browser.go(address)
                    seen = self.js(LOW_CONTRAST)
                    self.assertGreater(seen["texts"], 20)
                    self.assertEqual(seen["low"], [])
            self.browser.press("/")
            self.browser.type("future")
            self.assertEqual(self.js(LOW_CONTRAST)["low"], [])
            self.browser.press("Escape")

    def test_on_a_phone_nothing_is_wider_than_the_window(self):
        self.browser.resize(360, 740)
        # Without scripts everything is there at once.
        self.browser.scripts(False)
        self.open()
        self.assertGreater(self.js("document.querySelectorAll('article, .view[id]').length"), 30)
        self.assertEqual(self.js("""document.documentElement.scrollWidth <= 360 ? [] :
            [...document.querySelectorAll("#home, article, .view[id]")].filter((e) => e.scrollWidth > 360).map((e) => e.id)"""), [])
        self.browser.scripts(True)
        self.open()
        for address in ("home", "02_threads", "02_threads/diff", "06_async_sockets/diff-code", "net.hpp"):
            self.browser.go(address)
            self.assertLessEqual(self.js("document.documentElement.scrollWidth"), 360, address)
        self.browser.go("02_threads/serve")
        words, code = (self.js(f"""document.getElementById("02_threads/serve").closest(".row").querySelector("{part}")
            .getBoundingClientRect().toJSON()""") for part in (".words", ".code"))
        self.assertLessEqual(words["bottom"], code["top"] + 1)
        self.assertLessEqual(code["right"], 360)

    def test_all_entries_of_the_navigation_are_seen(self):
        for width in (1024, 1280, 1600, 1920):
            self.browser.resize(width, 1000)
            self.browser.go("07_coroutines")
            hidden = self.js("""[...document.querySelectorAll(".tabs a")].filter((link) => {
                const { left, right, top, bottom } = link.getBoundingClientRect();
                const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
                return !link.contains(hit) && hit !== link;
            }).map((link) => link.textContent).join(" ")""")
            self.assertEqual(hidden, "", f"{width} columns")
            # What sticks below the header is not covered by it.
            self.assertEqual(self.js("""getComputedStyle(document.documentElement).getPropertyValue("--bar").trim()
                === `${document.querySelector(".site").offsetHeight}px`"""), True)

    def test_a_line_of_100_columns_fits_beside_its_comment(self):
        for width in (1280, 1920):
            self.browser.resize(width, 1080)
            self.browser.go("home")
            for stage in STAGES:
                self.browser.go(stage.stem)
                wrapped = self.js("""[...document.querySelectorAll(".current .shown .l")]
                    .filter((e, i, [first]) => e.clientHeight > 1.5 * first.clientHeight).length""")
                self.assertEqual(wrapped, 0, f"{stage.stem} in {width} columns")

    def test_without_javascript_all_of_it_is_there(self):
        self.browser.scripts(False)
        self.open()
        self.assertEqual(self.js("document.querySelectorAll('.twin, .hit').length"), 0)
        self.assertTrue(self.js("""[...document.querySelectorAll("article, .view, .l:not(details .l)")]
            .every((e) => e.checkVisibility())"""))
        self.assertFalse(self.js("[...document.querySelectorAll('.js-only')].some((e) => e.checkVisibility())"))

    def test_the_overview_is_printed_whole_and_a_stage_by_itself(self):
        self.browser.media("print")
        self.assertEqual(self.js("""[...document.querySelectorAll("article")].every((e) => e.checkVisibility() &&
            e.querySelector(".read").checkVisibility() && !e.querySelector(".diff")?.checkVisibility())"""), True)
        self.assertFalse(self.js("document.querySelector('.site').checkVisibility()"))
        self.browser.go("03_process_pool/diff")
        self.assertEqual(self.shown(), ["03_process_pool", "03_process_pool/diff"])
        self.assertTrue(self.browser.call("Page.printToPDF")["data"].startswith("JVBER"))  # %PDF


class Program(unittest.TestCase):
    def test_a_file_that_cannot_be_written_gets_one_line(self):
        for file in ("/proc/such.html", "/no/such/directory/page.html", "/etc/passwd/page.html"):
            made = annotate("-o", file)
            self.assertEqual(made.returncode, 1)
            self.assertRegex(made.stderr, rf"\Aannotate: can't write '{file}' \(.*\); choose another file with -o\n\Z")

    def test_a_file_is_replaced_and_a_device_is_not(self):
        with tempfile.TemporaryDirectory() as directory:
            pipe = Path(directory) / "pipe"
            os.mkfifo(pipe)
            # Opened for both, so that no side ever waits for the other end to be opened.
            reader = os.open(pipe, os.O_RDWR)
            os.set_blocking(reader, False)
            with subprocess.Popen([ROOT / "scripts" / "annotate", "-o", pipe], stdout=subprocess.DEVNULL) as program:
                page = b""
                while not page.endswith(b"</html>\n"):
                    if select.select([reader], [], [], 1)[0]:
                        page += os.read(reader, 1 << 16)
                    elif program.poll() is not None:
                        break
            os.close(reader)
            self.assertEqual(program.returncode, 0)
            self.assertTrue(page.endswith(b"</html>\n"))
            self.assertTrue(pipe.is_fifo())
            self.assertEqual(list(Path(directory).iterdir()), [pipe])

    def test_ctrl_c_ends_it_and_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as tools, tempfile.TemporaryDirectory() as directory:
            # When it asks ctags it has begun to write. This ctags never answers, so it can't be done before Ctrl-C.
            asked, ctags = Path(tools) / "asked", Path(tools) / "ctags"
            os.mkfifo(asked)
            ctags.write_text(f"#!/bin/sh\necho >'{asked}'\nexec sleep 600\n", encoding="utf-8")
            ctags.chmod(0o755)
            environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
            with subprocess.Popen([ROOT / "scripts" / "annotate", "-o", f"{directory}/page.html"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                  env=environment) as program:
                reader = os.open(asked, os.O_RDWR)
                self.assertTrue(select.select([reader], [], [], 60)[0])
                os.close(reader)
                self.assertEqual(len(os.listdir(directory)), 1)
                os.killpg(program.pid, signal.SIGINT)  # as a terminal does
                self.assertEqual(program.communicate(timeout=60), ("", ""))
            self.assertEqual(program.returncode, -signal.SIGINT)
            self.assertEqual(os.listdir(directory), [])

    def test_a_mistake_gets_one_line(self):
        made = annotate("--output")
        self.assertEqual((made.returncode, len(made.stderr.splitlines())), (2, 1), made.stderr)

    def test_it_says_what_it_does(self):
        self.assertIn("scripts/annotate [-o FILE]", annotate("--help").stdout)


if __name__ == "__main__":
    sys.exit(unittest.main())
