"""All sources, read: what scripts/annotate makes one page of, and scripts/site a page for each."""

import concurrent.futures
import os
from dataclasses import dataclass

from comments import read_header
from differences import stage_diff
from sources import ROOT, Failed, Names, find_definitions, primers, read_source, stages_by_place


@dataclass
class Reading:
    places: dict  # of the stages, in their order
    stages: list
    small: list  # the primers' programs
    headers: list
    by_name: dict
    names: dict  # by the source's name: what its names mean
    tops: dict  # by the source's name: its Header, and how many lines that has
    diffs: dict  # by the stage's name, and whether only code is compared: a list of Changes

    @property
    def groups(self):
        return self.stages, self.small, self.headers


def counts(changes):
    return sum(c.sign == "+" for c in changes), sum(c.sign == "-" for c in changes)


def order_of_headers(stages, by_name):
    """In the order in which a reader of the stages meets them. Those that no stage includes itself come last."""
    order = []
    for stage in stages:
        order += [name for name in stage.includes if name not in order]
    rest = sorted(name for name, source in by_name.items() if source.is_header and name not in order)
    return [by_name[name] for name in order + rest]


def short(name):
    return name.split("_")[0]


def used_by(header, stages):
    users = [short(stage.name) for stage in stages if header.name in stage.includes]
    if len(users) == len(stages):
        return "used by every stage"
    if users:
        return "used by " + ", ".join(users)
    include = f'#include "{header.path.relative_to(ROOT)}"'
    own = header.path.with_suffix(".cpp").name
    through = sorted(path.name for path in ROOT.glob("common/*/*.?pp")
                     if path.name != own and include in path.read_text(encoding="utf-8"))
    return "used by " + ", ".join(through)


def read_all():
    places = stages_by_place()
    sources = [read_source(path, place) for place, paths in places.items() for path in paths]
    sources += [read_source(path, "primers") for path in primers()]
    sources += [read_source(path) for path in sorted(ROOT.glob("common/*/*.hpp"))]
    find_definitions(sources)
    by_name = {source.name: source for source in sources}
    stages = [source for source in sources if source.is_stage]
    small = [source for source in sources if not source.is_stage and not source.is_header]
    headers = order_of_headers(stages, by_name)
    names = {source.name: Names(source, by_name) for source in sources}
    tops = {source.name: read_header(source, names[source.name]) for source in sources}
    wanted = []
    for stage in stages:
        base = tops[stage.name][0].base
        if base and base not in by_name:
            raise Failed(f"{stage.path}: changed since '{base}', but there is no such stage")
        wanted += [(stage.name, by_name[base], stage, code_only) for code_only in (False, True) if base]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        jobs = {(name, code_only): executor.submit(stage_diff, old, new, code_only)
                for name, old, new, code_only in wanted}
        try:
            diffs = {key: job.result() for key, job in jobs.items()}
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return Reading(places, stages, small, headers, by_name, names, tops, diffs)
