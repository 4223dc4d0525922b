"""The rooms of the house: which folder may include which. docs/architecture.md draws it."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# A folder may include itself and these; what is said of a folder holds for those in it that are not named.
MAY_INCLUDE = {
    "common/compute": ["common/wait", "common/server", "common/observe/seams.hpp"],
    "common/green": ["common/wait", "common/server"],
    "common/monkey": [],  # it is loaded into programs of any kind, and brings nothing along
    "common/observe": ["common/server"],
    "common/observe/memory.hpp": [],
    "common/observe/seams.hpp": ["common/observe/memory.hpp"],
    "common/observe/seams.cpp": ["common/observe/seams.hpp"],
    "common/server": ["common/compute/fib.hpp", "common/compute/process_pool.hpp", "common/observe/seams.hpp",
                      "common/observe/trace.hpp"],
    "common/wait": ["common/server", "common/compute/fib.hpp", "common/observe/seams.hpp"],
    "clients/shared": ["common"],
    "clients/perf": ["clients/shared", "common"],
    "clients/compare/measure": ["clients/compare/compare_options.hpp", "clients/perf", "clients/shared", "common"],
    "clients/compare/judge": ["clients/compare/measure", "clients/compare/compare_options.hpp", "clients/shared", "common"],
    "clients/compare/show": ["clients/compare/judge", "clients/compare/measure", "clients/compare/compare_options.hpp",
                             "clients/perf", "clients/shared", "common"],
    "clients/board": ["clients/compare/measure", "clients/shared", "common"],
    "clients": ["common"],
    "stages": ["common"],
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
