"""CMake configures where only the packages of scripts/demo are: without Python, pkg-config and whatever else it can do without.

Called with cmake, the compiler and the generator's program. No program in /usr/bin is found, except those that are named.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CMAKE, COMPILER, MAKE = sys.argv[1:]
NAMED = [f"-DCMAKE_{name.upper()}=/usr/bin/{name}" for name in ("ar", "ranlib", "nm", "objcopy", "objdump", "strip")]

with tempfile.TemporaryDirectory(prefix="configured ") as folder:
    programs = Path(folder) / "bin"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith("python"):
            (programs / program.name).symlink_to(program)
    done = subprocess.run([CMAKE, "-S", ROOT, "-B", folder, "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={COMPILER}", f"-DCMAKE_MAKE_PROGRAM={MAKE}",
                           "-DCMAKE_LINKER=/usr/bin/ld", *NAMED, "-DCMAKE_IGNORE_PATH=/usr/bin;/bin;/usr/local/bin"],
                          capture_output=True, text=True, timeout=100, check=False, env={**os.environ, "PATH": str(programs)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Without Python there are no wrong turns" in done.stdout, done.stdout
    assert (Path(folder) / "stages" / "wrong_turns" / "wrong_turns.tsv").read_text(encoding="utf-8") == ""
