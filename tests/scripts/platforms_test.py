"""Whether the files that are for other machines are sound, as far as can be told without these machines.

They are the GitHub workflow, the codespace's definition, and the attributes for a checkout on Windows.
"""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Workflow(unittest.TestCase):
    def test_calls_only_scripts_that_exist_and_what_these_need_first(self):
        text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
        self.assertNotIn("\t", text)
        commands = re.findall(r"^ +- run: (.*)$", text, re.MULTILINE)
        self.assertEqual(len(commands), text.count("run:"), "each command is one line")
        for command in commands:
            if not command.startswith(("apt-get update && apt-get install ", "git config --global ", "docker ")):
                self.assertTrue((ROOT / command.split()[0]).is_file(), command)
        for named in re.findall(r"(?:scripts|\.ci)/[\w/-]+", text):
            self.assertTrue((ROOT / named).is_file(), named)


class Codespace(unittest.TestCase):
    def test_is_built_from_a_part_of_the_container(self):
        folder = ROOT / ".devcontainer"
        described = json.loads((folder / "devcontainer.json").read_text(encoding="utf-8"))
        container = (folder / described["build"]["dockerfile"]).read_text(encoding="utf-8")
        self.assertEqual((folder / described["build"]["context"]).resolve(), ROOT)
        self.assertRegex(container, rf"(?m)^FROM \S+ AS {re.escape(described['build']['target'])}$")
        self.assertRegex(container, rf"(?m)^USER {re.escape(described['remoteUser'])}$")


class Windows(unittest.TestCase):
    def setUp(self):
        if not (ROOT / ".git").exists():
            self.skipTest("this tree is no checkout")

    def git(self, *words):
        """What git prints. The checkout may belong to another user."""
        return subprocess.run(["git", "-c", "safe.directory=*", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", *words],
                              cwd=ROOT, capture_output=True, text=True, check=True, timeout=100).stdout

    def test_a_checkout_has_the_same_line_ends(self):
        with tempfile.TemporaryDirectory() as folder:
            self.git("checkout-index", "--all", f"--prefix={folder}/")
            files = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
            self.assertGreater(len(files), 100)
            changed = [str(path) for path in files
                       if path.parts[:3] != ("tests", "fuzz", "corpus") and b"\r\n" in (folder / path).read_bytes()]
        self.assertEqual(changed, [])

    def test_it_can_have_the_name_of_every_file(self):
        names = self.git("ls-files", "-z").split("\0")
        self.assertEqual([name for name in names if re.search(r'[<>:"|?*\\]|[. ](/|$)', name)], [])
        lower = [name.lower() for name in names]
        self.assertEqual(sorted(set(lower)), sorted(lower), "two names differ only in case")


if __name__ == "__main__":
    unittest.main()
