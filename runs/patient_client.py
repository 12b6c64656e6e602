"""MLflow's client that waits out a store which is away for a while: a locked database, a server that starts anew."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from intake.errors import UserError

log = logging.getLogger("tare")
PATIENCE_SECONDS = 40.0
"""How long a call is tried again, its own time not counted."""
_AWAY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED")


class StoreAway(UserError):
    """The store of runs did not answer for as long as anybody waited."""


class PatientClient:
    """Has every method of `mlflow.MlflowClient`; one that fails because the store is away is tried again."""

    def __init__(self, tracking_uri: str, patience_s: float = PATIENCE_SECONDS) -> None:
        self._client = MlflowClient(tracking_uri=tracking_uri)
        self._uri, self._patience_s = tracking_uri, patience_s

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return self._patient(method) if callable(method) else method

    def _patient(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            pause_s, waited_s = 0.25, 0.0
            while True:
                try:
                    return method(*arguments, **named)
                except (MlflowException, OSError) as error:
                    if not is_away(error):
                        raise
                    if waited_s >= self._patience_s:
                        raise StoreAway(_sentence(self._uri, error)) from error
                    if not waited_s:
                        log.warning("The run store does not answer; waiting for it. %s", _first_line(error))
                time.sleep(pause_s)
                waited_s += pause_s
                pause_s = min(2 * pause_s, 2.0)
                self._forget_connections()

        return call

    def _forget_connections(self) -> None:
        """A database file that was moved away and back is another file to the connections that were opened between."""
        with contextlib.suppress(AttributeError):
            self._client._tracking_client.store.engine.dispose()


def is_away(error: Exception) -> bool:
    """True where a call failed because the store is out of reach for now, not because of what was asked."""
    if isinstance(error, MlflowException):
        return error.error_code in _AWAY or _is_unreachable(error)
    return isinstance(error, ConnectionError | TimeoutError)


def _is_unreachable(error: MlflowException) -> bool:
    """MLflow's own client of a server gives up with a plain exception that says "Max retries exceeded"."""
    is_plain = error.error_code == ErrorCode.Name(1)
    return is_plain and any(
        words in str(error) for words in ("Max retries exceeded", "Connection refused", "timed out")
    )


def _sentence(uri: str, error: Exception) -> str:
    place = uri.rpartition("@")[2]  # a URI may hold a password
    return (
        f"The run store ({place}) did not answer for {PATIENCE_SECONDS:.0f} s. Nothing that was stored is lost. See that "
        f"its disk is not full and that it can be reached, then try again. It says: {_first_line(error)}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
