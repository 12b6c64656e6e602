"""One step of a new project that takes a file: the uploader, or the file that is there and the way to replace it."""

from __future__ import annotations

import streamlit as st

from intake.errors import UserError
from runs.jobs import Job
from runs.records import Upload
from ui.formatting import as_text, kilobytes
from ui.session import address, service, set_address, show_problems


def take_file(name: str, label: str, help_text: str) -> Upload | None:
    """Return the uploaded file that the address names; draw the uploader, and return None, where there is none.

    Args:
        name: word in the address: "model", "data".
        label: of the uploader.
        help_text: which files it takes.
    """
    if address(name):
        try:
            upload = service().upload(address(name))
        except UserError as error:
            show_problems(error.problems)
        else:
            _draw_taken(name, upload)
            return upload
    _draw_uploader(name, label, help_text)
    return None


def _draw_uploader(name: str, label: str, help_text: str) -> None:
    given = st.file_uploader(
        label, key=f"new:{name}_file", help=help_text, max_upload_size=service().settings.max_upload_mb
    )
    st.caption(help_text)
    if given is None:
        return
    try:
        upload = service().add_upload(given.name, given)
    except UserError as error:
        show_problems(error.problems)
        return
    set_address(name, upload.upload_id)
    st.rerun()


def _draw_taken(name: str, upload: Upload) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{as_text(upload.file_name)}** · {kilobytes(upload.size_bytes)}", width="stretch")
        st.button("Choose another file", key=f"new:{name}_remove", on_click=remove_file, args=(name,))


def remove_file(name: str) -> None:
    """Take the file, and what was decided for it, out of the address."""
    set_address(name, "")
    set_address("fit", "")
    if name == "data":
        set_address("options", "")


def retry_button(name: str, job: Job) -> None:
    """Draw the button that starts a failed job afresh."""
    if job.problems and st.button("Try again", key=f"new:{name}_retry"):
        service().forget(job)
        st.rerun()
