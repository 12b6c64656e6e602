"""Where the range of a kernel's rounding ends: at its largest weight, or where the rounding loses least.

With 4 bits and fewer, a few large weights make the steps so wide that most others round to 0.
"""

from __future__ import annotations

from typing import Any, Literal

from intake.keras_env import tensorflow
from optimizers.weight_bits import SHARES, most_values

WeightRange = Literal["min_max", "mse"]
SMALLEST = 1e-7
"""A kernel of zeros needs a range, too."""


def weight_quantizer(bits: int, per_axis: bool, weight_range: WeightRange) -> Any:
    """Return TFMOT's symmetric weight quantizer, or one like it that ends the range where rounding loses least.

    Args:
        bits: 2 to 8; one code is left out for symmetry, so that 0 is exact: 2 bits are -1, 0 and 1.
        per_axis: True for a range of each output channel (the last axis).
        weight_range: "min_max" ends it at the largest weight; "mse" where the squared error is least, found anew in
            each training step (as the OMSE of Choukroun et al. 2019, arXiv 1902.06822).
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers

    class LeastErrorQuantizer(quantizers.LastValueQuantizer):
        def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
            if training:
                end = least_error_end(inputs, self.num_bits, self.per_axis)
                weights["min_var"].assign(-end)
                weights["max_var"].assign(end)
            return super().__call__(inputs, False, weights, **kwargs)

    kind = LeastErrorQuantizer if weight_range == "mse" else quantizers.LastValueQuantizer
    return kind(num_bits=bits, per_axis=per_axis, symmetric=True, narrow_range=True)


def least_error_end(kernel: Any, bits: int, per_axis: bool) -> Any:
    """Return the end of the range whose rounding has the least squared error: a tensor (channels,), or a scalar."""
    tf = tensorflow()
    kernel = tf.stop_gradient(tf.convert_to_tensor(kernel))
    axes = list(range(kernel.shape.rank - 1)) if per_axis else None
    largest = tf.maximum(tf.reduce_max(tf.abs(kernel), axes), SMALLEST)
    levels = float(most_values(bits) // 2)

    def error(share: Any) -> Any:
        step = share * largest / levels
        rounded = tf.clip_by_value(tf.round(kernel / step), -levels, levels) * step
        return tf.reduce_sum(tf.square(rounded - kernel), axes)

    errors = tf.map_fn(error, tf.constant(SHARES), parallel_iterations=1)
    return largest * tf.gather(SHARES, tf.argmin(errors, axis=0))
