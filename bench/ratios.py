"""How quick Tare is, each figure beside that of the usual way, measured side by side in one go: `make bench`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.ratio import Ratio, ratio_table
from bench.table import read_rows, write_rows

PARTS = ("run", "sweep", "step", "formats", "evaluation", "page", "memory", "many")


def main() -> None:
    """Measure each part in a process of its own, then print and write all lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="MNIST as .npz, for the parts run and sweep; left out without it")
    parser.add_argument("--only", default="", help=f"parts, separated by commas: {','.join(PARTS)}")
    parser.add_argument("--out", type=Path, help="write the lines into this CSV file; those of other parts stay")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        write_rows(_measured(given.part, given.data), given.out)
        return
    wanted = [part for part in PARTS if not given.only or part in given.only.split(",")]
    if given.data is None:
        wanted = [part for part in wanted if part not in ("run", "sweep")]
        print("Without DATA=mnist.npz, runs and sweeps are not held against the scripts.")
    began = time.monotonic()
    rows: list[Ratio] = []
    failed: list[str] = []
    for part in wanted:
        try:
            found = _in_its_own_process(part, given.data)
        except subprocess.CalledProcessError:
            failed.append(part)
            continue
        rows += found
        if given.out:
            write_rows(_with_others(found, given.out), given.out)
    print(f"\n{ratio_table(rows)}\n\n{time.monotonic() - began:.0f} s in all.")
    if failed:
        print(f"Not measured, see above: {', '.join(failed)}.")
    if failed or any(row.ok == "no" for row in rows):
        raise SystemExit(1)


def _in_its_own_process(part: str, data: Path | None) -> list[Ratio]:
    print(f"\n{part}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        command = [sys.executable, "-m", "bench.ratios", "--part", part, "--out", str(rows)]
        subprocess.run([*command, *(["--data", str(data)] if data else [])], check=True)
        return read_rows(Ratio, rows)


def _with_others(rows: Sequence[Ratio], path: Path) -> list[Ratio]:
    """The lines of a file, those of the same thing replaced in their place, and what was not there yet."""
    new = {row.what: row for row in rows}
    kept = [new.pop(row.what, row) for row in (read_rows(Ratio, path) if path.exists() else [])]
    return [*kept, *new.values()]


def _measured(part: str, data: Path | None) -> list[Ratio]:
    with tempfile.TemporaryDirectory(prefix="tare-bench-", ignore_cleanup_errors=True) as folder:
        return _MEASURES[part](Path(folder), data or Path())


def _run(folder: Path, data: Path) -> list[Ratio]:
    from bench.against_scripts import one_run
    from bench.trials import in_a_home_of_its_own

    with in_a_home_of_its_own() as (service, _):
        return [one_run(service, folder, data, repeats=3)]


def _sweep(folder: Path, data: Path) -> list[Ratio]:
    from bench.against_scripts import sweep
    from bench.trials import in_a_home_of_its_own

    with in_a_home_of_its_own() as (service, _):
        return [sweep(service, folder, data)]


def _step(folder: Path, data: Path) -> list[Ratio]:
    from bench.step_time import step_times

    return step_times(epochs=5)


def _formats(folder: Path, data: Path) -> list[Ratio]:
    from bench.conversions import eight_formats

    return [eight_formats(repeats=3)]


def _evaluation(folder: Path, data: Path) -> list[Ratio]:
    from bench.evaluation import evaluations

    return evaluations(repeats=5)


def _page(folder: Path, data: Path) -> list[Ratio]:
    from bench.while_training import page_while_training

    return [page_while_training(folder, draws=200)]


def _memory(folder: Path, data: Path) -> list[Ratio]:
    from bench.while_training import server_memory

    return server_memory(folder, count=50)


def _many(folder: Path, data: Path) -> list[Ratio]:
    from bench.ui import many_runs

    return many_runs(folder, repeats=15)


_MEASURES: dict[str, Callable[[Path, Path], list[Ratio]]] = {
    "run": _run, "sweep": _sweep, "step": _step, "formats": _formats, "evaluation": _evaluation, "page": _page, "memory": _memory,
    "many": _many,
}  # fmt: skip


if __name__ == "__main__":
    main()
