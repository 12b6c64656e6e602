"""Makes the built-in example: `python -m samples.make_samples` writes digits.npz and digits_cnn.keras.

The model is written by Keras 3, as uploads mostly are today. The same seed gives the same files' content again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intake.keras_env import keras3, tensorflow

FOLDER = Path(__file__).parent
SEED = 7
TEST_SHARE = 0.2
EPOCHS = 40
LEAST_ACCURACY = 0.97


def main() -> None:
    """Write both files; refuses to leave a model that is worse than promised."""
    parts = digits()
    model = trained_model(parts)
    loss, accuracy = model.evaluate(_model_input(parts["x_test"]), parts["y_test"], verbose=0)
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"The example reached {accuracy:.4f} on its test part, less than {LEAST_ACCURACY}.")
    np.savez_compressed(FOLDER / "digits.npz", allow_pickle=False, **parts)
    model.save(FOLDER / "digits_cnn.keras")
    print(
        f"{model.count_params()} parameters, accuracy {accuracy:.4f}, loss {loss:.4f} on {len(parts['x_test'])} images"
    )
    for name in ("digits.npz", "digits_cnn.keras"):
        print(f"{name}: {(FOLDER / name).stat().st_size} bytes")


def digits() -> dict[str, np.ndarray]:
    """Return scikit-learn's digits as 8x8 images of 0-255, split once with the classes kept in proportion."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    labels = found.target.astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_SHARE, random_state=SEED, stratify=labels
    )
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def trained_model(parts: dict[str, np.ndarray]) -> Any:
    """Return the trained Keras 3 model; it takes float32 (n, 8, 8, 1) between 0 and 1."""
    keras = keras3()
    keras.utils.set_random_seed(SEED)
    tensorflow().config.experimental.enable_op_determinism()
    model = _untrained(keras)
    _compile(keras, model)
    model.fit(_model_input(parts["x_train"]), parts["y_train"], batch_size=64, epochs=EPOCHS, verbose=0)
    _compile(keras, model)  # anew, so that the file does not carry the optimizer's memory of the training
    return model


def _untrained(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="edges"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="strokes"),
            layers.MaxPooling2D(name="pool"),
            layers.Dropout(0.25, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name="features"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits_cnn",
    )


def _compile(keras: Any, model: Any) -> None:
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])


def _model_input(images: np.ndarray) -> np.ndarray:
    return images[..., np.newaxis].astype(np.float32) / 255


if __name__ == "__main__":
    main()
