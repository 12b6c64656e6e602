"""What `make bench` races against: TFMOT's guides, pasted together as somebody does who reads them.

One process, one run: load the trained network and MNIST, prune for two epochs, then nothing more, clustering or int8;
convert, zip, and evaluate the file sample by sample. Nothing of Tare is imported. Sources: TensorFlow Model
Optimization's "Pruning in Keras example", "Weight clustering in Keras example" and "Post-training integer quantization".
"""

import argparse
import gzip
import json
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

parser = argparse.ArgumentParser()
parser.add_argument("model", help="the trained network, .h5")
parser.add_argument("data", help="MNIST, .npz")
parser.add_argument("--final-sparsity", type=float, default=0.8)
parser.add_argument("--then", choices=("nothing", "clustering", "int8"), default="nothing")
given = parser.parse_args()

EPOCHS, BATCH_SIZE, VALIDATION_SPLIT = 2, 128, 0.1

with np.load(given.data) as arrays:
    train_images, train_labels = arrays["x_train"] / np.float32(255), arrays["y_train"]
    test_images, test_labels = arrays["x_test"] / np.float32(255), arrays["y_test"]

model = tf.keras.models.load_model(given.model)

# Pruning in Keras example
end_step = int(np.ceil(len(train_images) * (1 - VALIDATION_SPLIT) / BATCH_SIZE)) * EPOCHS
schedule = tfmot.sparsity.keras.PolynomialDecay(
    initial_sparsity=0.5, final_sparsity=given.final_sparsity, begin_step=0, end_step=end_step
)
pruned = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
pruned.compile(optimizer="adam", loss=tf.keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
pruned.fit(
    train_images, train_labels, batch_size=BATCH_SIZE, epochs=EPOCHS, validation_split=VALIDATION_SPLIT,
    callbacks=[tfmot.sparsity.keras.UpdatePruningStep()], verbose=0,
)  # fmt: skip
pruned.evaluate(test_images, test_labels, verbose=0)
final = tfmot.sparsity.keras.strip_pruning(pruned)

if given.then == "clustering":  # Sparsity preserving clustering Keras example
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    clustered = cluster.cluster_weights(
        final,
        number_of_clusters=16,
        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        preserve_sparsity=True,
    )
    clustered.compile(
        optimizer=tf.keras.optimizers.Adam(learning_rate=1e-5),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"],
    )  # fmt: skip
    clustered.fit(
        train_images, train_labels, batch_size=BATCH_SIZE, epochs=1, validation_split=VALIDATION_SPLIT, verbose=0
    )
    final = tfmot.clustering.keras.strip_clustering(clustered)

converter = tf.lite.TFLiteConverter.from_keras_model(final)
if given.then == "int8":  # Post-training integer quantization

    def representative_dataset():  # type: ignore[no-untyped-def]
        for image in tf.data.Dataset.from_tensor_slices(train_images).batch(1).take(100):
            yield [image]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
tflite = converter.convert()

interpreter = tf.lite.Interpreter(model_content=tflite)
interpreter.allocate_tensors()
source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
right = 0
for image, label in zip(test_images, test_labels, strict=True):
    interpreter.set_tensor(source["index"], image[np.newaxis].astype(np.float32))
    interpreter.invoke()
    right += int(np.argmax(interpreter.get_tensor(target["index"])[0]) == label)

print(json.dumps({"gzip_bytes": len(gzip.compress(tflite)), "accuracy": right / len(test_labels)}))
