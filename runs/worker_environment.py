"""What a worker inherits from the dashboard: what Python, TensorFlow and the run store need, and no secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase

from runs.cores import cores, thread_limits
from runs.settings import Settings
from runs.worker_folder import WorkerFolder

_ALWAYS = (
    "PATH", "LANG", "LANGUAGE", "LC_*", "TZ", "PYTHON*", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "TF_*", "TFLITE_*", "KERAS_*", "XLA_*", "CUDA_*", "NVIDIA_*", "OMP_*", "MKL_*", "OPENBLAS_*", "MALLOC_*",
    "DO_NOT_TRACK", "TARE_*", "COVERAGE_*",
)  # fmt: skip
_FOR_A_REMOTE_STORE = (
    "MLFLOW_*", "AWS_*", "GOOGLE_*", "AZURE_*", "*_PROXY", "*_proxy", "SSL_CERT_*", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
"""A worker writes its results to the store itself, so it needs the way there, and the right to."""
_NEVER = ("STREAMLIT_*",)
"""Settings of the server, the secret that signs its login cookies among them; not even by `TARE_WORKER_VARIABLES`."""
_FOR_A_LOCAL_STORE = ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR")


def worker_environment(
    settings: Settings, folder: WorkerFolder, one_dnn: bool, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables of a worker.

    Its home and its folder for temporary files are its own, so that nothing of the user who started the dashboard (keys,
    caches, configuration) is in reach by name.

    Args:
        settings: of the installation.
        folder: of this worker.
        one_dnn: whether TensorFlow may use oneDNN.
        inherited: what to choose from; None for the variables of this process.
    """
    inherited = os.environ if inherited is None else inherited
    passed = (*_ALWAYS, *(_FOR_A_REMOTE_STORE if settings.tracking_uri else _FOR_A_LOCAL_STORE))
    passed += tuple(name.strip() for name in settings.worker_variables.split(",") if name.strip())
    chosen = {
        name: value for name, value in inherited.items() if _is_any_of(name, passed) and not _is_any_of(name, _NEVER)
    }
    return {
        **thread_limits(settings.slots, cores()),
        **chosen,
        "HOME": str(folder.home),
        "TMPDIR": str(folder.temporary),
        "HDF5_PLUGIN_PRELOAD": "::",  # a file names the filters of its arrays: none is loaded from disk
        "TARE_HOME": str(settings.home.resolve()),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "TF_ENABLE_ONEDNN_OPTS": "1" if one_dnn else "0",
        "PYTHONUNBUFFERED": "1",
    }


def _is_any_of(name: str, rules: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, rule) for rule in rules)
