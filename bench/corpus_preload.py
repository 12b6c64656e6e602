"""What every case needs, imported once for all of them: the fork server starts each case from here."""

from __future__ import annotations

from intake.keras_env import keras2, keras3, tensorflow, tfmot

tensorflow()
keras2()
keras3()
tfmot()
