"""JAX: the whole step is one compiled function of the state and a batch, which the loop cuts out, as everywhere here.

The state is donated, so that it can be updated in place. Python waits for the result only after the
last step. ``JaxInside`` goes further than the others: there the compiled function is given the whole data set, cuts
the batch itself and counts the steps, so that nothing is left to Python but the call.
"""

import jax
import jax.numpy as jnp
import jaxlib

from .contestant import BETA1, BETA2, EPS, LR, Contestant


class Jax(Contestant):
    """``jax.jit`` of forward, backward and Adam."""

    def __init__(self, weights, images, batch):
        super().__init__(weights, images, batch)
        self.X = jnp.asarray(images)
        params = [(jnp.array(W), jnp.array(b)) for W, b in weights]
        m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        self.state = params, m, v, jnp.zeros((), jnp.int32)
        self.compiled = self.compile()

    def compile(self):
        return jax.jit(step_on_batch, donate_argnums=0)

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
            return step_on_batch(state, jax.lax.dynamic_slice_in_dim(images, start, self.batch))

        return jax.jit(inside, donate_argnums=0)

    def step(self, start):
        self.state, loss = self.compiled(self.state, self.X)
        return loss


def mean_squared_error(params, x):
    """The model and its loss."""
    y = x
    for i, (W, b) in enumerate(params):
        y = y @ W + b
        y = jax.nn.sigmoid(y) if i == len(params) - 1 else jax.nn.relu(y)
    return jnp.mean((y - x) ** 2)


def step_on_batch(state, x):
    """One step of Adam (Kingma and Ba, Algorithm 1): the new state and the loss."""
    params, m, v, t = state
    loss, g = jax.value_and_grad(mean_squared_error)(params, x)
    t = t + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
    m_scale, v_scale = 1 / (1 - BETA1**t), 1 / (1 - BETA2**t)
    params = jax.tree.map(lambda p, m, v: p - LR * m * m_scale / (jnp.sqrt(v * v_scale) + EPS), params, m, v)
    return (params, m, v, t), loss
