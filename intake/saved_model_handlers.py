"""Which handler translates which TensorFlow operation."""

from __future__ import annotations

from intake.saved_model_functions import FUNCTION_HANDLERS
from intake.saved_model_layers import LAYER_HANDLERS
from intake.saved_model_recurrent import RECURRENT_HANDLERS
from intake.saved_model_shapes import DIMS_HANDLERS, SHAPE_HANDLERS
from intake.saved_model_translation import Handler

HANDLERS: dict[str, Handler] = {
    **FUNCTION_HANDLERS,
    **SHAPE_HANDLERS,
    **LAYER_HANDLERS,
    **DIMS_HANDLERS,
    **RECURRENT_HANDLERS,
}
