"""Every technique on every model of a folder: `make bench-corpus DIR=models OUT=rows.csv`.

Each model is opened, then pruned from 50 to 80 %, clustered into 16 values, trained quantization-aware, and quantized
after training in two ways, a few steps each on random inputs of the right shapes; the exported file must run in LiteRT
and keep what was promised. Each case is a process of its own with a time limit.
"""

from __future__ import annotations

import argparse
import collections
import csv
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path

from bench.corpus_case import COLUMNS, TOLERANCE, Outcome, carry_out
from intake.keras_env import prepare_environment

EXTENSIONS = (".h5", ".hdf5", ".keras", ".zip")
TIME_LIMIT_S = 300
TECHNIQUES = COLUMNS[1:]
HEADINGS = ("file", *COLUMNS, "reason")


def main() -> None:
    """Run every case, print a line a model and the counts, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with .h5, .hdf5, .keras files and zipped SavedModels")
    parser.add_argument("--out", type=Path, help="CSV to write")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--limit-s", type=float, default=TIME_LIMIT_S, help="seconds that one case may take")
    given = parser.parse_args()
    files = sorted(path for path in given.folder.iterdir() if path.suffix.lower() in EXTENSIONS)
    if not files:
        parser.error(f"{given.folder} holds no file that ends in {', '.join(EXTENSIONS)}.")
    started = time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        cases = Cases(Path(folder), given.limit_s)
        for row in pool.map(cases.row, files):
            rows.append(row)
            print("  ".join([row["file"].ljust(44), *(row[column].ljust(7) for column in COLUMNS), row["reason"][:160]]),
                  flush=True)  # fmt: skip
    print_counts(rows, time.monotonic() - started)
    if cases.differences:
        print(f"\nDynamic range against float32, relative difference of the outputs: median "
              f"{statistics.median(cases.differences):.4f}, largest {max(cases.differences):.4f} "
              f"(at most {TOLERANCE} passes).")  # fmt: skip
    if given.out:
        write_rows(rows, given.out)


class Cases:
    """Runs the cases of one model after the other."""

    def __init__(self, folder: Path, limit_s: float) -> None:
        prepare_environment()
        self._folder, self._limit_s = folder, limit_s
        self.differences: list[float] = []
        """Of the dynamic-range files from the float32 ones, one for each model that passed."""
        self._quick = multiprocessing.get_context("forkserver")
        self._quick.set_forkserver_preload(["bench.corpus_preload"])
        self._lock = threading.Lock()

    def row(self, file: Path) -> dict[str, str]:
        """Return the cells of one model, and the first reason for a cell that is no pass."""
        prepared = self._folder / file.name
        outcomes = {"load": self._outcome("load", file, prepared)}
        for column in TECHNIQUES:
            loaded = outcomes["load"]
            outcomes[column] = self._outcome(column, file, prepared) if loaded.cell == "pass" else loaded
        reasons: dict[str, list[str]] = collections.defaultdict(list)
        for column, outcome in outcomes.items():
            if outcome.reason:
                reasons[outcome.reason].append(column)
        if (difference := outcomes["ptq_dynamic"].difference) is not None:
            self.differences.append(difference)
        reason = " | ".join(f"{', '.join(columns)}: {text}" for text, columns in reasons.items())
        return {"file": file.name, **{column: outcomes[column].cell for column in COLUMNS}, "reason": reason}

    def _outcome(self, column: str, file: Path, folder: Path) -> Outcome:
        outcome = self._tried(self._quick, column, file, folder, one_dnn=True)
        if outcome is None:  # native code broke: the app repeats such a run with oneDNN off, and so does this
            outcome = self._tried(multiprocessing.get_context("spawn"), column, file, folder, one_dnn=False)
        return outcome or Outcome("failed", "the process crashed, with oneDNN and without")

    def _tried(self, context: BaseContext, column: str, file: Path, folder: Path, one_dnn: bool) -> Outcome | None:
        """Return the outcome, None after a crash."""
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=carry_out, args=(column, file, folder, one_dnn, sender))  # type: ignore[attr-defined]
        with self._lock:  # the fork server takes one at a time
            process.start()
        sender.close()
        try:
            if not receiver.poll(self._limit_s):
                return Outcome("failed", f"not done after {self._limit_s:.0f} s")
            answer = receiver.recv()
            return answer if isinstance(answer, Outcome) else None
        except EOFError:
            return None
        finally:
            process.kill()
            process.join()


def print_counts(rows: Sequence[dict[str, str]], seconds: float) -> None:
    """Print how many models passed, were refused and failed in each column."""
    print(f"\n{len(rows)} models, {seconds:.0f} s\n")
    print("| | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for cell in ("pass", "refused", "failed"):
        print(f"| {cell} | " + " | ".join(str(sum(row[column] == cell for row in rows)) for column in COLUMNS) + " |")


def write_rows(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Write a CSV with one header line: file, a cell for each column, reason."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADINGS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{len(rows)} rows in {path}")


if __name__ == "__main__":
    main()
