"""What others published, and the recipe of ours that is held against it: one entry for each row of `make bench-tables`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["gzip", "tflite", "download"]
"""gzip: of the `.tflite`, against the baseline's in gzip, as the tutorials compare. tflite: the raw file, against the
baseline's. download: the smallest file that is offered, against the baseline's raw file, as Deep Compression counts."""


@dataclass(frozen=True)
class Bar:
    """What a row must show. Judged on the mean over the seeds."""

    measure: Measure
    least_times: float | None = None
    """How many times smaller than the baseline."""
    most_bytes: int | None = None
    most_loss: float | None = None
    """Percentage points of accuracy, against the baseline of the same seed."""
    least_accuracy: float | None = None
    """0 to 1."""

    @property
    def title(self) -> str:
        """Of the file that is judged."""
        return {"gzip": "gzip", "tflite": ".tflite", "download": "smallest download"}[self.measure]

    def __str__(self) -> str:
        parts = []
        if self.least_times is not None:
            parts.append(f"{self.title} ≥ {self.least_times:g}×")
        if self.most_bytes is not None:
            parts.append(f"{self.title} ≤ {self.most_bytes:,} B")
        if self.most_loss is not None:
            parts.append(f"loss ≤ {self.most_loss:g}")
        if self.least_accuracy is not None:
            parts.append(f"accuracy ≥ {self.least_accuracy:.0%}")
        return ", ".join(parts)

    def met(self, times: float, size_bytes: float, loss: float, accuracy: float) -> bool:
        """True where everything that the bar names is reached."""
        return (
            (self.least_times is None or times >= self.least_times)
            and (self.most_bytes is None or size_bytes <= self.most_bytes)
            and (self.most_loss is None or round(loss, 6) <= self.most_loss)
            and (self.least_accuracy is None or accuracy >= self.least_accuracy)
        )


@dataclass(frozen=True)
class Published:
    """One published figure and our answer to it."""

    network: str
    """Heading of its table."""
    recipe: str
    """File in bench/recipes, without its ending."""
    theirs: str
    bar: Bar


TUTORIAL = "MNIST tutorial CNN"
LENET_300 = "LeNet-300-100, MNIST"
LENET_5 = "LeNet-5, MNIST"
RESNET_8 = "MLPerf Tiny ResNet-8, CIFAR-10"

PUBLISHED = (
    Published(TUTORIAL, "mnist_prune", "3.1× (zip), loss 0.5", Bar("gzip", 3.1, most_loss=0.5)),
    Published(TUTORIAL, "mnist_prune_quantize", "9.5× (zip), loss 0.5", Bar("gzip", 9.5, most_loss=0.5)),
    Published(TUTORIAL, "mnist_cluster", "6× (zip)", Bar("gzip", 6, most_loss=0.3)),
    Published(TUTORIAL, "mnist_cluster_quantize", "8× (zip)", Bar("gzip", 8, most_loss=0.3)),
    Published(TUTORIAL, "mnist_quantization_aware", "4× (raw)", Bar("tflite", 4, most_loss=0.3)),
    Published(TUTORIAL, "mnist_smallest", "6× at 0.1 %", Bar("download", 20, most_loss=0.1)),
    Published(LENET_300, "lenet_300_100", "40×, error 1.64 → 1.58 %", Bar("download", 40, most_loss=0.0)),
    Published(LENET_5, "lenet_5", "39×, error 0.80 → 0.74 %", Bar("download", 39, most_loss=0.0)),
    Published(RESNET_8, "resnet8_int8", "98,496 B (int8)", Bar("tflite", most_bytes=98_496, most_loss=0.5)),
    Published(RESNET_8, "resnet8_int4", "target 85 %", Bar("tflite", most_bytes=55_000, least_accuracy=0.85)),
)
