"""How the site's pages are laid out, without making the site: neither Node nor a browser is needed.

    pages_test.py [-v]      like any unittest
"""

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


class Recordings(unittest.TestCase):
    def test_each_is_small_and_of_the_present_sources(self):
        for path in recordings.all_of_them():
            self.assertEqual(recordings.stale(path), [], f"record it anew: scripts/measure/minutes {path.stem}")
            self.assertLess(path.stat().st_size, 600_000, path)

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
        import json
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
