"""How the site's pages are laid out, without making the site: neither Node nor a browser is needed.

    pages_test.py [-v]      like any unittest
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "shared" / "site"))
import questions  # noqa: E402
import recordings  # noqa: E402

PAGE = """# A page

## Predict

1. What does it see?
   <!-- vote: an error | *nothing -->
2. How many?
   <!-- predict: a number from 100 to 140 -->
3. Why?

## Next

<details><summary>What it sees (question 1)</summary>

Nothing.

</details>

<details><summary>The rest (questions 2 and 3, stage 02)</summary>

More.

</details>
"""


class Questions(unittest.TestCase):
    def test_each_question_gets_a_form_and_each_answer_a_verdict(self):
        text = questions.put_forms(PAGE, "page")
        self.assertEqual(re.findall(r"<Predict :form='\{\"n\": (\d), \"kind\": \"(\w+)\"", text),
                         [("1", "choice"), ("2", "number"), ("3", "words")])
        self.assertIn('"answers": ["an error", "nothing"], "right": [1]', text)
        self.assertEqual(re.findall(r"<Verdict :of='(.*?)' />", text), ["[1]", "[2, 3]"])
        self.assertIn("<Score :questions='[1, 2, 3]' />", text)
        self.assertNotIn("vote:", text)

    def test_a_line_of_a_source(self):
        form = questions.read_mark("a line of stages/04_generators.cpp: Task handle ... co_yield WriteReady: co_yield ReadReady")
        self.assertEqual(form["kind"], "line")
        self.assertTrue(all("co_yield ReadReady" in form["answers"][index] for index in form["right"]))

    def test_a_comment_that_says_nothing_is_refused(self):
        for mark in ("nothing", "*nothing", "a | *b | *c", "a line of stages/04_generators.cpp: no such line ... none: x"):
            with self.assertRaises(questions.Wrong):
                questions.read_mark(mark)

    def test_which_questions_a_fold_answers(self):
        self.assertEqual(questions.numbers("2 to 4"), [2, 3, 4])
        self.assertEqual(questions.numbers("1, 2 and 4"), [1, 2, 4])

    def test_an_answer_to_no_question_is_refused(self):
        with self.assertRaises(questions.Wrong):
            questions.put_forms(PAGE.replace("(question 1)", "(question 7)"), "page")

    def test_a_question_above_a_fold(self):
        text = questions.put_forms("# A page\n\n<!-- vote: yes | *no -->\n<details><summary>Why</summary>\n\nNo.\n\n</details>\n", "page")
        self.assertIn("<Predict :form='{\"n\": \"A\", \"kind\": \"choice\"", text)
        self.assertIn("""<details><summary>Why</summary>\n\n<Verdict :of='["A"]' />""", text)

    def test_every_question_of_the_pages_can_be_compared_with_an_answer(self):
        lacking = []
        for page in sorted((ROOT / "docs").glob("[0-9]*.md")):
            text = page.read_text(encoding="utf-8")
            _, found = questions.questions_of(text)
            answered = {n for match in questions.FOLD.finditer(text) for n in questions.numbers(match[2])}
            lacking += [f"{page.name}: question {n}" for n, _, form in found if form["kind"] == "words" and n not in answered]
        self.assertEqual(lacking, [])


class WithoutVitePress(unittest.TestCase):
    """scripts/site where something is missing. Its tree is another one, and its PATH has only what the test puts there."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="site-without-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "scripts").symlink_to(ROOT / "scripts")
        (self.folder / "bin").mkdir()
        for program in ("bash", "basename", "cat", "cmp", "cp", "dirname", "flock", "ls", "mkdir", "rm", "sed", "touch"):
            (self.folder / "bin" / program).symlink_to(shutil.which(program))

    def put(self, program, does):
        path = self.folder / "bin" / program
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)

    def says(self):
        """The last line of what it says, when it fails."""
        done = subprocess.run([self.folder / "scripts/site"], capture_output=True, text=True, check=False, timeout=60,
                              env={"PATH": str(self.folder / "bin"), "GROUND_BUILT": "yes"})
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertFalse((self.folder / "build/site").exists())
        return done.stderr.splitlines()[-1]

    def test_npm_is_missing(self):
        self.put("node", "echo v20.0.0")
        self.assertEqual(self.says(), "site: npm is missing; install Node.js 18 or newer, with npm")

    def test_node_is_missing(self):
        self.put("npm", "exit 1")
        self.assertEqual(self.says(), "site: npm is missing; install Node.js 18 or newer, with npm")

    def test_node_is_too_old(self):
        self.put("node", "echo v16.20.1")
        self.put("npm", "exit 1")
        self.assertEqual(self.says(), "site: Node.js 16.20.1 is too old for VitePress; install 18 or newer")

    def test_npm_has_no_network_and_is_asked_again_the_next_time(self):
        self.put("node", "echo v20.0.0")
        self.put("npm", f"echo asked >>{self.folder}/asked; echo npm error network >&2; exit 1")
        for _ in range(2):
            self.assertEqual(self.says(), "site: npm could not fetch VitePress (see above). It needs a network, this first time only; "
                                          "then run scripts/site again")
        self.assertEqual((self.folder / "asked").read_text(), "asked\n" * 2)


# Of these there is no recording.
UNSEEN = {
    "04b_reads_without_end": "what grows is memory, and the board does not show it",
    "05_poke_for_every_result": "explore has no such crowd, and the board's clients ask too seldom",
    "10_acknowledged_too_early": "the board does not see that a worker behind a broker is gone",
}


class Recordings(unittest.TestCase):
    def test_each_stage_wrong_turn_and_puzzle_has_one_and_no_other_is_kept(self):
        known = recordings.on_pages()
        self.assertEqual(sorted(known), sorted(path.stem for path in recordings.all_of_them()))
        wrong = [turn.name for turn in recordings.wrong_turns.all_of_them()]
        self.assertEqual(sorted(UNSEEN), [name for name in wrong if name not in known])
        puzzles = (ROOT / "docs/explore.md").read_text(encoding="utf-8").partition("explore --puzzles\n")[2].partition("```")[0]
        self.assertEqual([line.split()[0] for line in puzzles.splitlines()], [name for name, how in known.items() if how == "solution"])

    def test_each_is_small_and_of_the_present_sources(self):
        for path in recordings.all_of_them():
            self.assertEqual(recordings.stale(path), [], f"record it anew: scripts/measure/minutes {path.stem}")
            self.assertLess(path.stat().st_size, 600_000, path)

    def test_each_has_its_beginning_and_no_gap(self):
        for path in recordings.all_of_them():
            self.assertEqual(list(recordings.faults(recordings.read(path)[1])), [], f"record it anew: scripts/measure/minutes {path.stem}")
        self.assertEqual(list(recordings.faults([['{"t":4000000}', '{"t":4100000}', '{"t":6000000}']])),
                         ["its first 4 s are missing", "for 1.9 s there is no frame"])

    def test_each_is_stale_when_a_line_that_it_shows_has_changed(self):
        text_of = recordings.text_of
        self.addCleanup(setattr, recordings, "text_of", text_of)
        for path in recordings.all_of_them():
            source, lines = next(iter(recordings.read(path)[0].items()))
            line = next(iter(lines.values()))
            recordings.text_of = lambda name, line=line: text_of(name).replace(line, f"{line} // changed")
            self.assertIn(source, recordings.stale(path), path)

    def test_lines_that_have_moved_are_found_and_changed_ones_are_not(self):
        source = "stages/04_generators.cpp"
        lines = [line.strip() for line in recordings.text_of(source).split("\n")]
        numbers = [number for number, line in enumerate(lines, 1) if "(" in line][:20]
        self.assertEqual(recordings.moves(source, {str(n): lines[n - 1] for n in numbers}), {n: n for n in numbers})
        self.assertEqual(recordings.moves(source, {str(n + 7): lines[n - 1] for n in numbers}), {n + 7: n for n in numbers})
        self.assertIsNone(recordings.moves(source, {str(n): lines[n - 1] + "!" for n in numbers}))
        # In another order they are not the same program.
        self.assertIsNone(recordings.moves(source, {"1": lines[numbers[5] - 1], "2": lines[numbers[0] - 1]}))

    def test_the_frames_of_a_source_that_has_moved_name_the_new_lines(self):
        lines = recordings.text_of("stages/04_generators.cpp").split("\n")
        folder = Path(tempfile.mkdtemp(prefix="site-recording-"))
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "04_generators.jsonl"
        frame = {"t": 1, "stage": "04_generators", "files": [[5, "stages/04_generators.cpp"], [6, "common/x.hpp"]],
                 "p": [[1, 2, 9, 5, 60, 1, 0, 0, 0, 0, 1, 1], [2, 2, 9, 6, 60, 1, 0, 0, 0, 0, 1, 1]], "e": [[1, 9, 5, 60, 1, 0, 0, 1]]}
        path.write_text(json.dumps({"lines": {"stages/04_generators.cpp": {"60": lines[57].strip()}}}) + "\n" + json.dumps(frame) + "\n")
        where = next(n for n, line in enumerate(lines, 1) if line.strip() == lines[57].strip())
        moved = json.loads(recordings.films_of(path)[0][0])
        self.assertEqual([place[4] for place in moved["p"]], [where, 60])
        self.assertEqual(moved["e"][0][3], where)
        self.assertIn(f",{where},", recordings.page(path).split('id="frames"')[1])

    def test_a_schedule_names_the_new_lines_in_its_steps(self):
        lines = recordings.text_of("stages/04_generators.cpp").split("\n")
        step = {"actor": "main", "text": "selects", "place": "04_generators:60"}
        frame = {"t": 1, "stage": "04_generators", "files": [[5, "stages/04_generators.cpp"]], "scheduled": {"steps": [step]}}
        self.assertEqual(list(recordings.lines_of([[json.dumps(frame)]])["stages/04_generators.cpp"]), ["60"])
        moved = recordings.with_numbers([json.dumps(frame)], {"stages/04_generators.cpp": {60: 58}})
        self.assertEqual(json.loads(moved[0])["scheduled"]["steps"], [{**step, "place": "04_generators:58"}])
        self.assertGreater(len(lines), 60)

    def test_the_steps_of_a_schedule_are_kept_once(self):
        steps = [{"actor": f"thread {n}", "text": "computes", "place": ""} for n in range(3)]
        frames = [recordings.dump({"t": t, "scheduled": {"steps": chosen}})
                  for t, chosen in enumerate((steps[:1], steps[:2], steps, steps[:1], [steps[0], steps[2]]))] + ['{"t":9}']
        short = list(recordings.shorten(frames))
        self.assertEqual(json.loads(short[2])["scheduled"]["steps"], [2, steps[2]])
        self.assertEqual(list(recordings.lengthen(short)), frames)

    def test_two_beside_each_other_are_kept_as_they_are(self):
        path = next(path for path in recordings.all_of_them() if len(recordings.read(path)[1]) == 2)
        self.assertEqual(recordings.films_in(recordings.page(path)), recordings.films_of(path))

    def test_one_is_a_page_that_needs_nothing_else(self):
        for path in recordings.all_of_them():
            text = recordings.page(path)
            self.assertNotIn("{{", re.sub(r"<script type.*?</script>", "", text, flags=re.DOTALL))
            self.assertEqual(text.count("<script"), 3)


class LaidOut(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="site-pages-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        made = subprocess.run([sys.executable, "-B", ROOT / "scripts/shared/site/pages.py", cls.folder],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise AssertionError(made.stderr)

    def page(self, name):
        return (self.folder / "pages" / f"{name}.md").read_text(encoding="utf-8")

    def test_all_pages_and_all_sources_are_there(self):
        for path in (ROOT / "docs").rglob("*.md"):
            self.assertTrue((self.folder / "pages" / path.relative_to(ROOT / "docs")).is_file(), path)
        for path in (*ROOT.glob("stages/*.cpp"), *ROOT.glob("stages/primers/*.cpp"), *ROOT.glob("common/*/*.hpp")):
            name = path.stem if path.parent.name == "stages" else path.name
            self.assertTrue((self.folder / "pages/source" / f"{name}.md").is_file(), path)

    def test_each_recording_has_its_place(self):
        for name, how in recordings.on_pages().items():
            self.assertTrue((self.folder / f"pages/public/recordings/{name}.html").is_file(), name)
            page = {"minute": name, "keys": "wrong_turns", "order": "wrong_turns", "orders": "wrong_turns", "solution": "explore"}[how]
            text = self.page(page)
            self.assertEqual(text.count(f'<Recording name="{name}" how="{how}"'), 1, name)
            if page == "wrong_turns":
                self.assertIn(f'<Recording name="{name}"', text.partition(f"### {name}\n")[2].partition("\n### ")[0])
            self.assertNotIn("<!-- recording", text)

    def test_no_link_leads_out_of_the_site(self):
        for path in (self.folder / "pages").rglob("*.md"):
            text = re.sub(r"^( *)```.*?^\1```$|`[^`\n]+`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
            self.assertEqual(re.findall(r"\]\((?!/|#|https?:|mailto:)[^)\s]*\)", text), [], path)

    def test_a_block_of_source_names_its_lines(self):
        lines = (ROOT / "stages/04_generators.cpp").read_text(encoding="utf-8").split("\n")
        text = self.page("04_generators")
        found = re.findall(r"```cpp from=source/04_generators:stages/04_generators.cpp:(\d+)-(\d+)\n(.*?)\n *```", text, re.DOTALL)
        self.assertGreater(len(found), 3)
        for first, last, block in found:
            self.assertEqual([line.strip() for line in block.split("\n")],
                             [line.strip() for line in lines[int(first) - 1: int(last)]])

    def test_the_side_bar_has_every_page_once(self):
        bar = json.loads((self.folder / "data/site.json").read_text(encoding="utf-8"))["sidebar"]["/"]

        def links(entries):
            for entry in entries:
                if "link" in entry:
                    yield entry["link"]
                yield from links(entry.get("items", ()))

        shown = list(links(bar))
        pages = ["/" + str(path.relative_to(ROOT / "docs").with_suffix("")) for path in (ROOT / "docs").rglob("*.md")]
        self.assertEqual(sorted(shown), sorted([*pages, "/", "/source/"]))

    def test_what_is_gone_is_removed_and_the_rest_is_not_written_again(self):
        stale = self.folder / "pages" / "gone.md"
        stale.write_text("# Gone\n")
        before = {path: path.stat().st_mtime_ns for path in (self.folder / "pages").rglob("*.md") if path != stale}
        subprocess.run([sys.executable, "-B", ROOT / "scripts/shared/site/pages.py", self.folder], check=True)
        self.assertFalse(stale.exists())
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in before})


if __name__ == "__main__":
    unittest.main()
