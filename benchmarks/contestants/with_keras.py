"""Keras on TensorFlow: ``compile`` and ``fit`` with their default settings."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402 (reads the line above)
import tensorflow as tf  # noqa: E402

from ..architectures import Conv, Dense, MaxPool, UpSampling  # noqa: E402
from .contestant import BETA1, BETA2, EPS, LR, FitContestant  # noqa: E402

LAYERS = {
    Dense: lambda layer: keras.layers.Dense(layer.outputs, layer.activation),
    Conv: lambda layer: keras.layers.Conv2D(layer.outputs, 3, padding="same", activation=layer.activation),
    MaxPool: lambda layer: keras.layers.MaxPooling2D(layer.size),
    UpSampling: lambda layer: keras.layers.UpSampling2D(layer.factor),
}


class Keras(FitContestant):
    """``model.fit``, shuffled, over whole epochs."""

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.images = images
        self.model = keras.Sequential(
            [keras.Input(model.shape), *(LAYERS[type(layer)](layer) for layer in model.layers)]
        )
        self.model.set_weights([array for pair in weights for array in pair])
        # Keras adds epsilon to sqrt(v) and not to sqrt(v hat) (the "epsilon hat" of the paper): in the first steps
        # as if epsilon were 30 times larger. Five losses differ by up to 6e-4 for that; the work is the same
        adam = keras.optimizers.Adam(LR, BETA1, BETA2, EPS)
        self.model.compile(optimizer=adam, loss="mse")

    def fit(self, images, epochs, **options):
        return self.model.fit(images, images, self.batch, epochs, verbose=0, **options)

    def losses(self, steps):
        found = []
        for start in self.starts(steps):  # one call per batch: within a call Keras reports running means
            x = self.images[start : start + self.batch]
            found += self.fit(x, 1, shuffle=False).history["loss"]
        return found

    @staticmethod
    def about():
        threads = tf.config.threading
        within, between = threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()
        return {
            "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
            "threads": f"{within} within and {between} between operations (0: TensorFlow's choice, one per core)",
            "precision": keras.config.dtype_policy().name,
        }
