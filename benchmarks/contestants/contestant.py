"""What the worker asks of every contestant."""

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # Adam's, for all


class Contestant:
    """A model, its optimizer and its data in one framework.

    Parameters
    ----------
    weights : list of (W, b)
        Initial weights as NumPy arrays, W (inputs, outputs). Relu follows every layer but the last,
        a sigmoid the last.
    images : array (N, 784)
        Float32; put into the framework's own array here, once.
    batch : int
        N is a multiple of it.
    """

    whole_epochs = False  # is it timed over whole passes through the data?

    def __init__(self, weights, images, batch):
        self.batch, self.batches = batch, len(images) // batch

    def starts(self, steps):
        """Where the batches of so many steps begin: through the data from the front, again and again."""
        return [(i % self.batches) * self.batch for i in range(steps)]

    def losses(self, steps):
        """The losses of the first steps, from the initial weights, on the first batches in order."""
        raise NotImplementedError

    def run(self, steps):
        """Train for so many steps; when it returns, all of them are done."""
        raise NotImplementedError

    @staticmethod
    def about():
        """Versions {name: version}, threads and precision, the last two in words."""
        raise NotImplementedError
