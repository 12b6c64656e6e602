"""What a smaller model answers otherwise than the uploaded one, sample by sample of the test part. Plain data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassCounts(_Record):
    """One class (or one label of several that a sample can have)."""

    name: str
    samples: int
    """Test samples of it; of a label that a sample can have or not, all of them."""
    right_before: int
    """Of them answered right by the uploaded model."""
    right_after: int


class ConfusionCell(_Record):
    """Samples of one class that were taken for one class; numbers of classes count from 0, as in `ClassChange.names`."""

    truth: int
    answer: int
    before: int
    after: int


class Flip(_Record):
    """A sample and both answers to it: mostly one that is answered with another class than before."""

    row: int
    """In the test part, from 0."""
    truth: str
    """Name of the class; empty where there are no labels."""
    before: str
    after: str
    before_probability: float | None
    """Of the class that the uploaded model chose, 0 to 1; None where outputs are no probabilities."""
    after_probability: float | None
    """Of the class that the exported file chose."""
    gain: int
    """1 where it got better, -1 where worse, 0 where wrong both times or not known; of several labels, how many."""


class Reliability(_Record):
    """How far probabilities can be taken at their word."""

    expected_calibration_error: float
    """Mean distance of probability and share of right answers, weighted by samples, 0 to 1."""
    samples: tuple[int, ...]
    """Answers in each of the bins, which cut 0 to 1 evenly."""
    probability: tuple[float, ...]
    """Mean of each bin; 0 where it is empty."""
    right: tuple[float, ...]
    """Share of right answers of each bin; 0 where it is empty."""


class ClassChange(_Record):
    """Change of an output that chooses classes."""

    names: tuple[str, ...]
    """Of the classes, in the order of the model's units."""
    changed: int
    """Samples that are answered otherwise."""
    better: int
    """Of them wrong before and right now; with several labels a sample: more of them right."""
    worse: int
    """Right before and wrong now."""
    flips: tuple[Flip, ...]
    """Those that got worse first; not all of many."""
    unchanged: tuple[Flip, ...] = ()
    """Some that are answered as before, of classes in turn; empty in reports of older versions."""
    classes: tuple[ClassCounts, ...] = ()
    """Empty without labels; the most changed of many."""
    cells: tuple[ConfusionCell, ...] = ()
    """Of the confusion matrix, the most changed first; empty without labels, or with several labels a sample."""
    before: Reliability | None = None
    """None without labels, and where outputs are no probabilities."""
    after: Reliability | None = None


class Spread(_Record):
    """A distribution of values of at least 0 in a few numbers."""

    mean: float
    median: float
    high: float
    """95 % are not larger."""
    largest: float


class Moved(_Record):
    """A sample and both answers to it: mostly one whose error grew, or whose answer moved, more than that of others."""

    row: int
    """In the test part, from 0."""
    truth: float | None
    """None without labels, and where an answer is more than one number."""
    before: float | None
    """None where an answer is more than one number."""
    after: float | None
    error_before: float | None
    """Mean absolute error over the numbers of the answer; None without labels."""
    error_after: float | None
    moved: float | None
    """Mean absolute difference of the two answers; None where one is not a number."""


class NumberChange(_Record):
    """Change of an output of numbers."""

    moved: Spread
    """Mean absolute difference of the answers before and after, over samples."""
    errors_before: Spread | None
    """Mean absolute error of each sample; None without labels."""
    errors_after: Spread | None
    grew: int
    """Samples whose error grew; 0 without labels."""
    shrank: int
    is_signed: bool
    """True where the bins are of answer minus truth; else they are of absolute values."""
    edges: tuple[float, ...]
    """Of the bins, one more than there are: of errors, or without labels of differences to the uploaded model."""
    before: tuple[int, ...]
    """Samples in each bin, uploaded model; empty without labels."""
    after: tuple[int, ...]
    most_moved: tuple[Moved, ...]
    usual: tuple[Moved, ...] = ()
    """Some spread over the test part; empty in reports of older versions."""


class OutputChange(_Record):
    """Change of one output of the model; one of the two is there."""

    name: str
    classes: ClassChange | None = None
    numbers: NumberChange | None = None


class Behaviour(_Record):
    """Change of all outputs."""

    samples: int
    """Of the test part."""
    outputs: tuple[OutputChange, ...]
