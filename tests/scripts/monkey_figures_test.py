"""Whether scripts/measure/monkey-figures works: it measures for a moment and writes its tables.

monkey_figures_test.py FOLDER    the folder of a build
"""

import contextlib
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "measure"))
import bench
import monkey_figures

bench.BIN = Path(sys.argv[1])
bench.PERF = bench.BIN / "clients" / "perf"
sys.argv[1:] = ["--rounds", "1", "--seconds", "0.3", "--clients", "4", "--many", "50", "--client-cpu", "0"]
said = io.StringIO()
with contextlib.redirect_stdout(said):
    monkey_figures.main()
rows = [line.split(" | ") for line in said.getvalue().splitlines() if line.startswith("| ")]
names = [row[0].removeprefix("| ") for row in rows]
assert names[1:4] == ["bare_epoll", "02_threads", "06c 02_threads"], names
threads = [row[-1].removesuffix(" |") for row in rows[1:4]]
assert threads == ["1", "52", "1"], threads
assert any(name.startswith("CPU per request") for name in names), names
