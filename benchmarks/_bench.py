"""What every benchmark shares: interleaved timing, memory in a process of its own, the table, the JSON rows."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

COLUMNS = "{:24}{:26}{:>10}{:>10}{:>8}{:>9}{:>9}  {}"


class Case(NamedTuple):
    """One comparison.

    prepare: makes the data and returns (ours, peer), two functions without arguments; peer is None where there is none.
    same: whether the two results are the same answer; None where the question makes no sense.
    repeats: runs after the warm-up; 0 where a run takes minutes: then the warm-up is what is timed.
    memory: whether it is measured; of what is small beside its data it says nothing.
    share: the largest share of the peer's time that ours may take, if there is one to keep to.
    """

    name: str
    peer: str | None
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object] | None]]
    same: Callable[[object, object], bool] | None = None
    repeats: int = 5
    memory: bool = True
    share: float | None = None


def main(cases: Sequence[Case], about: str) -> None:
    """The command line of a benchmark script: runs the cases, prints the table, writes the rows."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[case.name for case in cases], help="only this case")
    parser.add_argument("--once", action="store_true", help="one run of each: to see that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as JSON")
    parser.add_argument("--memory", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    chosen = [case for case in cases if args.case in (None, case.name)]
    if args.memory:
        print(_added_mb(chosen[0], args.memory))
        return
    print(COLUMNS.format("case", "peer", "ours s", "peer s", "ratio", "ours MB", "peer MB", "same answer"))
    rows = []
    for case in chosen:
        rows.append(_measure(case._replace(repeats=0, share=None) if args.once else case))
        print(_line(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    different = [row["case"] for row in rows if row["same_answer"] is False]
    slow = [
        f"{row['case']} (at most {row['share']})"
        for row in rows
        if row["share"] and row["ours_s"] > row["share"] * row["peer_s"]
    ]
    if different or slow:
        sys.exit(f"not the same answer: {', '.join(different) or 'none'}; too slow: {', '.join(slow) or 'none'}")


def _line(row: dict) -> str:
    formats = {"ours_s": ".4f", "peer_s": ".4f", "ratio": ".2f", "ours_mb": ".0f", "peer_mb": ".0f"}
    cells = {key: "-" if value is None else format(value, formats.get(key, "")) for key, value in row.items()}
    cells["same_answer"] = {None: "-", True: "yes", False: "NO"}[row["same_answer"]]
    return COLUMNS.format(*cells.values())


def _measure(case: Case) -> dict:
    """A row: medians of interleaved repeats, so that a busy minute of the machine falls on both sides alike."""
    ours, peer = case.prepare()
    answers: dict[str, object] = {}
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for repeat in range(1 + case.repeats):
        if repeat == 1:  # the first was the warm-up
            seconds = {"ours": [], "peer": []}
        for side, function in (("ours", ours), ("peer", peer)):
            if function is not None:
                start = time.perf_counter()
                answer = function()
                seconds[side].append(time.perf_counter() - start)
                answers.setdefault(side, answer)  # the first: a training step's loss changes with every call
    same = bool(case.same(answers["ours"], answers["peer"])) if case.same and peer else None
    del answers
    ours_s = statistics.median(seconds["ours"])
    peer_s = statistics.median(seconds["peer"]) if peer else None
    return {
        "case": case.name,
        "peer": case.peer,
        "ours_s": ours_s,
        "peer_s": peer_s,
        "ratio": peer_s / ours_s if peer_s else None,
        "ours_mb": _in_own_process(case, "ours") if case.memory else None,
        "peer_mb": _in_own_process(case, "peer") if peer and case.memory else None,
        "same_answer": same,
        "share": case.share,
    }


def _in_own_process(case: Case, side: str) -> float:
    command = [sys.executable, sys.argv[0], "--case", case.name, "--memory", side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _added_mb(case: Case, side: str) -> float:
    """Peak memory one call adds to this process, in MB; worker processes it starts are not counted."""
    ours, peer = case.prepare()
    function = ours if side == "ours" else peer
    assert function is not None, f"{case.name} has no {side}"
    before = _peak_kb(forget=True)
    function()
    return (_peak_kb() - before) / 1024


def _peak_kb(*, forget: bool = False) -> int:
    """The largest resident size so far; `forget` lets it start again from the present size where the system can."""
    status = Path("/proc/self/status")
    if not status.exists():
        # macOS counts bytes and cannot forget: there the preparation's own peak hides smaller calls.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
