"""`einsum` of Keras tensors as matrix products, because tf_keras cannot save a call of `tf.einsum`."""

from __future__ import annotations

from typing import Any

from intake import keras_env
from intake.dtypes import alike

_SPARE_LETTERS = "ABCDEFGHIJ"


def einsum(equation: str, *tensors: Any) -> Any:
    """Return what `tf.einsum` returns for one or several tensors.

    Args:
        equation: for example "bqhd,bkhd->bhqk", "b...d,de" or "bij->bj"; no letter twice in one term.
        tensors: one for each term.

    Raises:
        ValueError: the equation is of another kind.
    """
    terms, wanted = _terms(equation, tensors)
    first, *others = zip(tensors, terms, strict=True)
    for number, (tensor, term) in enumerate(others):
        needed = {*wanted, *"".join(later for _, later in others[number + 1 :])}
        first = _product(*first, tensor, term, needed)
    x, letters = _without(*first, set(first[1]) - set(wanted))
    order = [letters.index(letter) for letter in wanted]
    return x if order == sorted(order) else keras_env.tensorflow().transpose(x, order)


def _terms(equation: str, tensors: tuple[Any, ...]) -> tuple[list[str], str]:
    """The letters of each tensor's axes and of the result's; dots become letters, a result that is left out is found."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if len(terms) == len(tensors) and "." in given:
        ranks = [len(x.shape) - len(term.replace("...", "")) for term, x in zip(terms, tensors, strict=True)]
        dots = max(rank for rank, term in zip(ranks, terms, strict=True) if "..." in term)
        spare = _SPARE_LETTERS[:dots]
        terms = [
            term.replace("...", spare[dots - rank :] if rank else "") for rank, term in zip(ranks, terms, strict=True)
        ]
        wanted = wanted.replace("...", spare)
    joined = "".join(terms)
    if not arrow:
        spare = "".join(sorted({letter for letter in joined if letter in _SPARE_LETTERS and "." in given}))
        wanted = spare + "".join(sorted(one for one in set(joined) - set(spare) if joined.count(one) == 1))
    known = all(term.isalpha() and len(set(term)) == len(term) for term in terms) and set(wanted) <= set(joined)
    if len(terms) != len(tensors) or not known or len(set(wanted)) != len(wanted):
        raise ValueError(f"the equation '{equation}' is not one of tensors with all axes named, none twice in a term")
    return terms, wanted


def _product(x1: Any, first: str, x2: Any, second: str, needed: set[str]) -> tuple[Any, str]:
    """Multiply two tensors and sum over the axes that are not needed any more; return the product and its letters."""
    tf = keras_env.tensorflow()
    x1, x2 = alike(x1, x2)
    x1, first = _without(x1, first, set(first) - set(second) - needed)
    x2, second = _without(x2, second, set(second) - set(first) - needed)
    shared = [letter for letter in first if letter in second]
    batch = [letter for letter in shared if letter in needed]
    summed = [letter for letter in shared if letter not in needed]
    left = [letter for letter in first if letter not in second]
    right = [letter for letter in second if letter not in first]
    sizes = {letter: _size(x1, place) for place, letter in enumerate(first)}
    sizes |= {letter: _size(x2, place) for place, letter in enumerate(second) if letter in right}
    x1 = _grouped(x1, first, [*([letter] for letter in batch), left, summed], sizes)
    x2 = _grouped(x2, second, [*([letter] for letter in batch), summed, right], sizes)
    found = [*batch, *left, *right]
    return tf.reshape(tf.matmul(x1, x2), [sizes[letter] for letter in found]), "".join(found)


def _without(x: Any, letters: str, unneeded: set[str]) -> tuple[Any, str]:
    """Sum over axes."""
    places = [place for place, letter in enumerate(letters) if letter in unneeded]
    if not places:
        return x, letters
    return keras_env.tensorflow().reduce_sum(x, axis=places), "".join(one for one in letters if one not in unneeded)


def _size(x: Any, place: int) -> Any:
    return keras_env.tensorflow().shape(x)[place] if x.shape[place] is None else int(x.shape[place])


def _grouped(x: Any, letters: str, groups: list[list[str]], sizes: dict[str, Any]) -> Any:
    """Bring the axes into the order of the groups, and make one axis of each group."""
    tf = keras_env.tensorflow()
    order = [letters.index(letter) for group in groups for letter in group]
    x = x if order == sorted(order) else tf.transpose(x, order)
    shape = []
    for group in groups:
        size: Any = 1
        for letter in group:
            known = isinstance(size, int) and isinstance(sizes[letter], int)
            size = size * sizes[letter] if known else tf.multiply(sizes[letter], size)
        shape.append(size)
    return tf.reshape(x, shape)
