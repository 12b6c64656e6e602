"""What settings make of the training batches: augmentation, class weights, answers of the teacher, validation part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.augmentation import Augmentation
from intake.fit import Fit
from optimizers.fine_tuning import FineTuning
from tests.conftest import EasyData, dense_model, easy_images
from tests.training_data import easy_project


def batches_of(folder: Path, model: Any = None, fit: Fit = EasyData.fit, **settings: Any) -> Any:
    return easy_project(model or dense_model(), folder, fit).batches(FineTuning(batch_size=32, **settings))


def test_flip_mirrors_about_half_of_the_images_left_and_right() -> None:
    images = easy_images(200, 0)[0]
    (changed,) = Augmentation(flips=True).applied([images], np.random.default_rng(0))
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(changed, images, strict=True)]
    same = [np.array_equal(new, old) for new, old in zip(changed, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 60 < sum(mirrored) < 140


def test_shift_moves_by_at_most_so_many_pixels_and_repeats_the_edges() -> None:
    images = np.random.default_rng(0).random((50, 8, 6, 2)).astype(np.float32)
    (changed,) = Augmentation(shift_pixels=2).applied([images], np.random.default_rng(0))
    moves = set()
    for new, old in zip(changed, images, strict=True):
        padded = np.pad(old, ((2, 2), (2, 2), (0, 0)), mode="edge")
        crops = {(i, j): padded[i : i + 8, j : j + 6] for i in range(5) for j in range(5)}
        found = [move for move, crop in crops.items() if np.array_equal(crop, new)]
        assert len(found) == 1
        moves.add(found[0])
    assert len(moves) > 10


def test_images_of_a_sample_change_alike_and_other_inputs_stay() -> None:
    images, columns = easy_images(20, 0)[0], np.arange(20)[:, None]
    one, other, same = Augmentation(True, 2).applied([images, images, columns], np.random.default_rng(0))
    assert np.array_equal(one, other)
    assert np.array_equal(same, columns)


def test_a_square_without_channels_is_an_image_and_a_sequence_is_not() -> None:
    squares, sequences = easy_images(40, 0)[0][..., 0], np.random.default_rng(0).random((40, 8, 5))
    augmentation = Augmentation(flips=True, shift_pixels=1)
    changed, same = augmentation.applied([squares, sequences], np.random.default_rng(0))
    (with_channel,) = augmentation.applied([squares[..., None]], np.random.default_rng(0))
    assert np.array_equal(changed, with_channel[..., 0])
    assert not np.array_equal(changed, squares)
    assert np.array_equal(same, sequences)


def test_augmentation_depends_on_seed_epoch_and_batch_only(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"augmentation": "flip_and_shift", "shift_pixels": 1}
    first, again = batches_of(tmp_path, **settings), batches_of(tmp_path, **settings)
    plain, other = batches_of(tmp_path), batches_of(tmp_path, **settings, seed=1)
    assert np.array_equal(again[2][0], again[2][0])
    assert np.array_equal(first[2][0], again[2][0])
    assert not np.array_equal(first[0][0], plain[0][0])
    assert not np.array_equal(first[0][0], other[0][0])
    before = {image.tobytes() for image in first[0][0]}
    first.on_epoch_end()
    assert before.isdisjoint(image.tobytes() for index in range(3) for image in first[index][0][:, ::-1])


def test_validation_is_not_augmented(tmp_path: Path) -> None:
    data = easy_project(dense_model(), tmp_path)
    settings = FineTuning(batch_size=48, augmentation="flip_and_shift", class_weight="balanced")
    (batch,) = list(data.validation(settings))
    assert len(batch) == 2
    assert np.array_equal(batch[0], data.dataset.x_val)


def test_reconstruction_aims_at_the_changed_image(tmp_path: Path) -> None:
    fit = Fit(task="reconstruction", loss="mean_squared_error", metric_name="mse")
    x, y = batches_of(tmp_path, fit=fit, augmentation="shift")[0]
    assert np.array_equal(x, y)


@pytest.mark.parametrize("augmentation", ["none", "flip_and_shift"])
@pytest.mark.parametrize("train_on_validation", [False, True])
def test_targets_hold_labels_and_what_the_teacher_answers_to_these_very_images(
    tmp_path: Path, augmentation: Any, train_on_validation: bool
) -> None:
    model = dense_model()
    settings: dict[str, Any] = {"augmentation": augmentation, "train_on_validation": train_on_validation}
    x, targets = batches_of(tmp_path, model, distillation_alpha=0.5, **settings)[1]
    _, labels = batches_of(tmp_path, model, **settings)[1]
    assert np.array_equal(targets[:, 0], labels)
    np.testing.assert_allclose(targets[:, 1:], model.predict(x, verbose=0), atol=1e-5)


def test_train_on_validation_takes_every_sample_of_both_parts_once(tmp_path: Path) -> None:
    data = easy_project(dense_model(), tmp_path)
    settings = FineTuning(batch_size=32, train_on_validation=True)
    assert data.validation(settings) is None
    batches = data.batches(settings)
    seen = {
        (image.tobytes(), int(label))
        for x, y in (batches[i] for i in range(5))
        for image, label in zip(x, y, strict=True)
    }
    parts = [data.dataset.part("train"), data.dataset.part("validation")]
    assert seen == {
        (image.tobytes(), int(label)) for part in parts for image, label in zip(part.x, np.asarray(part.y), strict=True)
    }
    assert len(seen) == 144


def test_balanced_classes_weigh_alike(tmp_path: Path) -> None:
    x, _ = easy_images(60, 0)
    y = np.asarray([0] * 40 + [1] * 15 + [2] * 5)
    data = easy_project(dense_model(), tmp_path, x_train=x, y_train=y)
    _, labels, weights = data.batches(FineTuning(batch_size=60, class_weight="balanced"))[0]
    each = [weights[labels == label].sum() for label in range(3)]
    np.testing.assert_allclose(each, [20, 20, 20], rtol=1e-5)
    assert weights.mean() == pytest.approx(1)
