"""JAX: the whole step is one compiled function of the state and a batch, which the loop cuts out, as everywhere here.

The state is donated, so that it can be updated in place. Python waits for the result only after the
last step. ``JaxInside`` goes further than the others: there the compiled function is given the whole data set, cuts
the batch itself and counts the steps, so that nothing is left to Python but the call.
"""

import jax
import jax.numpy as jnp
import jaxlib

from ..architectures import Conv, Dense, MaxPool, UpSampling
from .contestant import BETA1, BETA2, EPS, LR, Contestant


class Jax(Contestant):
    """``jax.jit`` of forward, backward and Adam."""

    def __init__(self, model, weights, images, batch):
        super().__init__(model, weights, images, batch)
        self.mean_squared_error = loss_of(model)
        self.X = jnp.asarray(images)
        params = [(jnp.array(W), jnp.array(b)) for W, b in weights]
        m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        self.state = params, m, v, jnp.zeros((), jnp.int32)
        self.compiled = self.compile()

    def compile(self):
        return jax.jit(self.step_on_batch, donate_argnums=0)

    def step_on_batch(self, state, x):
        """One step of Adam (Kingma and Ba, Algorithm 1): the new state and the loss."""
        params, m, v, t = state
        loss, g = jax.value_and_grad(self.mean_squared_error)(params, x)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        m_scale, v_scale = 1 / (1 - BETA1**t), 1 / (1 - BETA2**t)
        params = jax.tree.map(lambda p, m, v: p - LR * m * m_scale / (jnp.sqrt(v * v_scale) + EPS), params, m, v)
        return (params, m, v, t), loss

    def step(self, start):
        batch = jax.lax.dynamic_slice_in_dim(self.X, start, self.batch)
        self.state, loss = self.compiled(self.state, batch)
        return loss

    def run(self, steps):
        super().run(steps)
        jax.block_until_ready(self.state)

    @staticmethod
    def about():
        precision = jax.config.jax_default_matmul_precision
        return {
            "versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
            "threads": f"XLA's own, one per core as it comes; devices {jax.devices()}",
            "precision": f"float32, jax_default_matmul_precision is {precision}",
        }


class JaxInside(Jax):
    """The batch is cut inside the compiled function too."""

    def compile(self):
        def inside(state, images):
            start = (state[3] % self.batches) * self.batch
            return self.step_on_batch(state, jax.lax.dynamic_slice_in_dim(images, start, self.batch))

        return jax.jit(inside, donate_argnums=0)

    def step(self, start):
        self.state, loss = self.compiled(self.state, self.X)
        return loss


# ---------------------------------------------------------------- the model


def conv(x, W, b):
    """A convolution whose output is as large as its input."""
    return jax.lax.conv_general_dilated(x, W, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def max_pool(x, size):
    """The largest pixel of each window."""
    window = (1, size, size, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def upsample(x, factor):
    """Each pixel several times along both axes."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}
LAYERS = {
    Dense: lambda layer, x, W, b: ACTIVATIONS[layer.activation](x @ W + b),
    Conv: lambda layer, x, W, b: ACTIVATIONS[layer.activation](conv(x, W, b)),
    MaxPool: lambda layer, x: max_pool(x, layer.size),
    UpSampling: lambda layer, x: upsample(x, layer.factor),
}


def loss_of(model):
    """The function (params, x) -> mean squared error of a model."""

    def mean_squared_error(params, x):
        y, given = x, iter(params)
        for layer in model.layers:
            pair = next(given) if isinstance(layer, (Dense, Conv)) else ()
            y = LAYERS[type(layer)](layer, y, *pair)
        return jnp.mean((y - x) ** 2)

    return mean_squared_error
