"""Whether a script installs the Debian packages that it lacks, or tells a user without root's rights what to type.

The tests call need_packages of scripts/shared/lib.sh as an ordinary user. The programs dpkg-query, apt-get and sudo are fakes.
"""

import os
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "scripts/shared/lib.sh"
NOBODY = 65534


class Packages(unittest.TestCase):
    def setUp(self):
        if not os.stat(os.devnull).st_mode & stat.S_IWOTH:
            self.skipTest("on this machine only root may write to /dev/null")
        folder = tempfile.TemporaryDirectory(prefix="packages test ")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.chmod(0o755)
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        (self.folder / "scripts/shared").mkdir(parents=True)
        shutil.copy(LIBRARY, self.folder / "scripts/shared/lib.sh")
        self.called = self.folder / "called"
        self.called.touch()
        self.called.chmod(0o666)
        for needed in ("bash", "cat", "dirname", "mktemp", "rm", "tee"):
            (self.programs / needed).symlink_to(shutil.which(needed))
        self.program("dpkg-query", 'case "$*" in *" there") printf installed ;; *) exit 1 ;; esac')
        self.program("apt-get", f'echo "apt-get $*" >>"{self.called}"')

    def program(self, name, text):
        path = self.programs / name
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def need(self, *packages):
        """Runs need_packages as an ordinary user. Returns how it ended, and what it called."""
        command = f'source "{self.folder}/scripts/shared/lib.sh"; need_packages {" ".join(packages)}; echo went on'
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        ended = subprocess.run([self.programs / "bash", "-c", command, "a-script"], capture_output=True, text=True, check=False,
                               stdin=subprocess.DEVNULL, env={"PATH": str(self.programs)}, cwd="/", timeout=60, **user)
        return ended, self.called.read_text(encoding="utf-8").splitlines()

    def test_nothing_is_missing_so_neither_root_nor_sudo_is_needed(self):
        ended, called = self.need("there")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "went on\n", ""))
        self.assertEqual(called, [])

    def test_without_sudo_it_says_what_to_type(self):
        ended, called = self.need("there", "missing", "another")
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertEqual(ended.stderr, "a-script: packages are missing; as root, run: apt-get install missing another\n")
        self.assertEqual(called, [])

    def test_a_sudo_that_wants_a_password_and_has_no_terminal_is_none(self):
        self.program("sudo", "exit 1")
        ended, _ = self.need("missing")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("as root, run: apt-get install missing", ended.stderr)

    def test_with_sudo_it_installs_what_is_missing_and_no_more(self):
        self.program("sudo", f'[[ $1 == -n ]] || echo "sudo ${{*: -1}} $*" >>"{self.called}"')
        ended, called = self.need("there", "missing", "another", "missing")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn("==> Installing: missing another\n", ended.stdout)
        self.assertTrue(called[0].startswith("sudo update env DEBIAN_FRONTEND=noninteractive apt-get"), called)
        self.assertIn(" install --yes --no-install-recommends missing another", called[-1])
        self.assertNotIn(" there", " ".join(called))


if __name__ == "__main__":
    unittest.main()
