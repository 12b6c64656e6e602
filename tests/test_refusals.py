"""Every combination that cannot be says why and what to do: found by trying them all, held to the list below.

A refusal that is new, or whose words change, is on no line of the list; one that nothing can cause is a line too many.
"""

from __future__ import annotations

import itertools
import re

import pytest

from intake.errors import InvalidParams
from optimizers.recipe import Recipe
from tests.legal_chains import MODES, NAMES, everything_set, reasons_against

REFUSALS = (
    # what one technique's values cannot be together
    r"`initial_sparsity` must not be above `final_sparsity`, got [\d.]+ and [\d.]+\. Lower the first, or raise the second\.",
    r"`begin` must be before `end`, got begin=[\d.]+ and end=[\d.]+\. Lower `begin`, or raise `end`\.",
    r"`layer_sparsity` gives targets to layers that `leave_as_is` leaves as they are: hidden\. Take them out of one .*",
    r"`layer_sparsity` cannot go with structure m_by_n, which leaves 2 of 4 weights in every layer, got hidden\. Choose .*",
    r"`sparsity_m` must be below `sparsity_n`, or nothing would be left, got \d+ and \d+\. Lower the first, or raise .*",
    r"Structure blocks is for dense, .* and policy xnnpack prunes only 1x1 convolutions\. Choose policy none, or .*",
    r"`layer_number_of_clusters` is for layers that are clustered, but `leave_as_is` leaves .*: hidden\. Take them out .*",
    r"`leave_as_is` is possible only with 8 bits, got [2-7]: .* Give such a layer 8 bits in `layer_weight_bits` instead\.",
    r"`layer_weight_bits` gives bits to layers that `leave_as_is` leaves in float32: hidden\. Name each in one of them only\.",
    r"`per_axis` off is possible only with 8 bits, got [2-7]: .* it comes out in 8 bits again\. Leave `per_axis` on\.",
    r"`io_dtype` u?int8 is possible only with mode int8, got mode \w+\. Choose mode int8, or io_dtype float32\.",
    r"`\w+` \w+ rounds weights to integers, but mode float16 has none\. Choose another mode, or \w+ \w+\.",
    r"`block_size` \d+ is possible only with weight_bits 4, got 8\. Choose weight_bits 4, or block_size 0\.",
    r"`block_size` \d+ is possible only with mode dynamic_range, got \w+\. Choose mode dynamic_range, or block_size 0\.",
    r"`block_size` \d+ has no MSE scales\. Choose algorithm min_max or OCTAV, or block_size 0\.",
    r"`block_size` \d+ gives each block a scale, granularity per_tensor all of them one\. Choose granularity per_channel, .*",
    # what cannot follow each other
    r"Pruning again must reach a higher sparsity than before, got [\d.]+ and then [\d.]+\. Raise the second, or leave it .*",
    r"Clustering must come after Pruning: training again would undo the shared values that it won\. Move it behind, .*",
    r"Clustering cannot come twice: training again would undo the shared values that it won\. Leave one of the two out\.",
    r"(Quantization-aware training|Post-training quantization) must be the last step: .* Move it to the end\.",
    r"Only one technique can decide the number format of the file, got .* and .*\. Leave the others? out\.",
    r"Sparse encoding fails with mode dynamic_range: LiteRT cannot prepare .* Turn `sparse_encoding` off, or choose mode .*",
    r"Sparse encoding fails with mode int8_weights_int16_activations: LiteRT cannot .* Turn `sparse_encoding` off, or .*",
    r"Sparse encoding is not possible with mode weight_only: only the converter .* Turn `sparse_encoding` off, or .*",
    r"Sparse encoding and layers left as they are by quantization cannot go together: .* Turn `sparse_encoding` off, or .*",
    r"Sparse encoding needs 8-bit weights, rounded per channel by min_max: .* Turn `sparse_encoding` off, or set .*",
    r"Sparse encoding and training in [2-4] bits cannot go together: .* Turn `sparse_encoding` off, or train all layers .*",
)


@pytest.fixture(scope="module")
def refused() -> set[str]:
    """All sentences against any two values of one technique, any two modes in a row, and any three techniques."""
    found: set[str] = set()
    for name in NAMES:
        for one, other in itertools.combinations(everything_set(name), 2):
            found.update(reasons_against((name,), ({**one, **other},)))
    for pair in itertools.product(NAMES, repeat=2):
        for chain in itertools.product(*(MODES[name] for name in pair)):
            found.update(reasons_against(pair, chain))
    for order in itertools.product(NAMES, repeat=3):
        found.update(reasons_against(order, ({},) * 3))
    return found


def test_every_sentence_is_on_the_list_once(refused: set[str]) -> None:
    of_each = {said: [line for line in REFUSALS if re.fullmatch(line, said)] for said in refused}
    assert {said: lines for said, lines in of_each.items() if len(lines) != 1} == {}


@pytest.mark.parametrize("line", REFUSALS, ids=lambda line: " ".join(re.findall(r"[A-Za-z_]+", line)[:7]))
def test_every_line_is_said_of_something(line: str, refused: set[str]) -> None:
    assert any(re.fullmatch(line, said) for said in refused)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("steps: []", "The recipe has no steps: give at least one"),
        ("- a list", "This is not a recipe file"),
        ("steps: [{technique: shrinking}]", "There is no technique named 'shrinking'. Choose one of: pruning, "),
        (
            "steps: [{technique: post_training_quantization, fine_tuning: {epochs: 2}}]",
            "Post-training quantization does not train; leave out: epochs.",
        ),
        ("steps: [{technique: pruning, params: {sparsity: 1}}]", "`sparsity` is not a parameter here. Known: "),
        ("steps: [{technique: pruning}, {technique: pruning}]", "Pruning again must reach a higher sparsity"),
    ],
)
def test_a_recipe_file_that_cannot_be_says_why(text: str, sentence: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        Recipe.from_yaml(text)
    assert refused.value.problems[0].startswith(sentence)


@pytest.mark.parametrize("order", [o for n in (1, 2, 3) for o in itertools.product(NAMES, repeat=n)], ids="+".join)
def test_defaults_in_any_order_are_legal_or_refused_in_whole_sentences(order: tuple[str, ...]) -> None:
    found = reasons_against(order, ({},) * len(order))
    assert len(set(found)) == len(found)
    assert all(said[0].isupper() and said.endswith(".") for said in found)
