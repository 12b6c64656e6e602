"""The files that a run left, to download: which there are, which is smallest, and which to take for what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath

import streamlit as st

from measure import compact_reader
from measure.packed_files import PACKINGS
from runs.handover.source import file_stem
from runs.records import Artifact, Project, RunRecord
from ui.formatting import as_text, kilobytes, times_smaller
from ui.session import service

_NOT_OFFERED = ("report.json", "project.json")
_TITLES = {".tflite": "Deployable model", ".yaml": "Recipe", ".txt": "Log"}
_RAW = "model.tflite"
_READER = Path(compact_reader.__file__)


def draw_downloads(run: RunRecord, project: Project) -> None:
    """Draw a button for each file that the run left, and below them the model as it travels."""
    found = {artifact.name: artifact for artifact in service().artifacts(run.run_id)}
    packed = {entry.file_name for entry in PACKINGS}
    offered = [artifact for name, artifact in found.items() if name not in packed and name not in _NOT_OFFERED]
    if not offered:
        return
    with st.container(horizontal=True, key="run:downloads"):
        for artifact in sorted(offered, key=lambda artifact: artifact.name != _RAW):
            _draw_file(artifact, run, project)
    if packed & set(found):
        _draw_packed(found, run, project)
    _draw_handovers(run, project)


def _draw_handovers(run: RunRecord, project: Project) -> None:
    """Draw what is written only when somebody asks for it."""
    with st.expander("To hand over: script, notebook, C array, report", key="run:handovers"):
        for entry, problem in service().handovers.ways(project):
            name, content = entry.file_name(file_stem(run, project)), partial(_handed_over, run.run_id, entry.kind)
            _button(f"{entry.title} ({entry.suffix})", content, name, f"handover:{entry.kind}", disabled=bool(problem))
            st.caption(as_text(problem) or entry.use)


def _handed_over(run_id: str, kind: str) -> bytes:
    return service().handovers.one_file(run_id, kind)[1]


def _draw_file(artifact: Artifact, run: RunRecord, project: Project) -> None:
    suffix = PurePath(artifact.name).suffix
    label = f"{_TITLES.get(suffix, 'Keras model')} ({suffix}, {kilobytes(artifact.size_bytes)})"
    name = f"{file_stem(run, project)}{suffix}"
    _button(label, artifact.path.read_bytes, name, artifact.name, primary=artifact.name == _RAW)


def _draw_packed(found: dict[str, Artifact], run: RunRecord, project: Project) -> None:
    smallest = smallest_file([found[entry.file_name] for entry in PACKINGS if entry.file_name in found])
    title = next(entry.title for entry in PACKINGS if entry.file_name == smallest.name)
    with st.expander(
        f"Compressed for the way; smallest: {title}, {kilobytes(smallest.size_bytes)}", key="run:compressed"
    ):
        if _RAW in found:
            st.caption(
                "LiteRT runs the .tflite itself: take that for a device that has room. Unpacking any of these gives "
                "back the very same file. How to load each is in docs/loading.md."
            )
        for entry in PACKINGS:
            if entry.file_name in found:
                artifact = found[entry.file_name]
                times = times_smaller(artifact.size_bytes, found[_RAW].size_bytes) if _RAW in found else ""
                label = f"{entry.title} ({entry.suffix}, {kilobytes(artifact.size_bytes)}, {times})"
                name = f"{file_stem(run, project)}{entry.suffix}"
                _button(label, artifact.path.read_bytes, name, artifact.name, primary=artifact is smallest)
                st.caption(entry.use)
        if any(name.endswith(".tarec") for name in found):
            _button("Reader of the compact file (Python)", _READER.read_bytes, _READER.name, _READER.name)
            st.caption("One file for Python 3.9 or newer that needs no packages; keep it beside your compact files.")


def smallest_file(artifacts: list[Artifact]) -> Artifact:
    """Return the smallest of some files, the first of several; raises ValueError where there is none."""
    return min(artifacts, key=lambda artifact: artifact.size_bytes)


def _button(
    label: str,
    content: Callable[[], bytes],
    file_name: str,
    key: str,
    primary: bool = False,
    disabled: bool = False,
) -> None:
    st.download_button(
        label,
        partial(content),
        file_name=file_name,
        mime="application/octet-stream",
        key=f"download:{key}",
        type="primary" if primary else "secondary",
        icon=":material/download:",
        on_click="ignore",
        disabled=disabled,
    )
