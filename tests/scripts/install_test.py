"""After `cmake --install` everything works in the new place: the clients find the stages, and the board their sources.

Called with cmake and the build folder. The folder that it installs to has a space in its name.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

CMAKE, BUILD = sys.argv[1:]
MARK = "// seen only in the copy that was installed"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, f"{command}: ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


with tempfile.TemporaryDirectory(prefix="installed here ") as folder:
    prefix = Path(folder) / "usr"
    run(CMAKE, "--install", BUILD, "--prefix", prefix)
    programs = prefix / "bin"
    table = run(programs / "ground-compare", "01", "--scenario", "solo", "--runs", "1", "--duration", "0.2", cwd="/")
    assert "01_blocking" in table, table
    if (programs / "ground-board").exists():
        [source] = prefix.glob("**/source/stages/01_blocking.cpp")
        with source.open("a", encoding="utf-8") as file:
            file.write(f"{MARK}\n")
        page = Path(folder) / "recording.html"
        run(programs / "ground-board", "01", "--for", "0.5", "--record", page, cwd="/")
        assert MARK in page.read_text(encoding="utf-8"), "the board shows another source than the one that was installed"
