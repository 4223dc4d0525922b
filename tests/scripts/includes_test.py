"""Which folder may include which. docs/architecture.md has a drawing.

The order is checked over folders, without exceptions for single files. Give it another tree as an argument to check that.
"""

import re
import sys
from pathlib import Path

ROOT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent.parent

# From the bottom up: a layer may include itself and the layers before it.
LAYERS = ["common/base", "common/observe", "common/wait", "common/server", "common/compute", "common/green"]

# The other folders may include themselves and these.
MAY_INCLUDE = {
    **{layer: LAYERS[:place] for place, layer in enumerate(LAYERS)},
    "common/monkey": [],  # any program may load it, so it needs nothing else
    "clients/shared": LAYERS,
    "clients/perf": ["clients/shared", *LAYERS],
    "clients/compare/measure": ["clients/compare/compare_options.hpp", "clients/perf", "clients/shared", *LAYERS],
    "clients/compare/judge": ["clients/compare/measure", "clients/compare/compare_options.hpp", "clients/shared", *LAYERS],
    "clients/compare/show": ["clients/compare/judge", "clients/compare/measure", "clients/compare/compare_options.hpp",
                             "clients/perf", "clients/shared", *LAYERS],
    "clients/judge": ["clients/compare/measure", "clients/shared", *LAYERS],
    "clients/board": ["clients/compare/measure", "clients/shared", *LAYERS],
    "clients/explore": ["clients/shared", *LAYERS],
    "clients": LAYERS,
    "stages": LAYERS,
}


def below(path, folder):
    return path == folder or path.startswith(f"{folder}/")


def rule_of(path):
    return max((folder for folder in MAY_INCLUDE if below(path, folder)), key=len, default=None)


def findings(root):
    for folder in ("common", "clients", "stages"):
        for source in sorted((root / folder).rglob("*.[ch]pp")):
            path = str(source.relative_to(root))
            rule = rule_of(path)
            for included in re.findall(r'^#include "([^"]+)"', source.read_text(encoding="utf-8"), re.MULTILINE):
                if rule is None:
                    yield f"{path}: no rule for its folder in tests/scripts/includes_test.py"
                    break
                if rule == "stages" and below(included, "stages"):
                    yield f"{path}: a stage includes another, {included}"
                elif not any(below(included, allowed) for allowed in (rule, *MAY_INCLUDE[rule])):
                    yield f"{path}: {rule}/ may not include {included}; docs/architecture.md says which room knows which"


found = list(findings(ROOT))
print("\n".join(found))
sys.exit(1 if found else 0)
