r"""Sums, products and powers, element by element.

Shapes: any; inputs broadcast as in NumPy. The rules below are written as if both shapes were equal; where a
shape was stretched, the engine sums the gradient over the stretched axes (``unbroadcast`` in
``tape.py``): an element used k times receives k gradients.
"""

from .op import Op, op


@op("add", r"Z = X + Y", {"X": r"\bar Z", "Y": r"\bar Z"}, broadcasts=True, numbers=True, integers=True)
class Add(Op):
    """Sum. Saves nothing: a sum's derivative does not depend on its values."""

    @staticmethod
    def forward(xp, save, X, Y):
        return X + Y

    @staticmethod
    def backward(xp, saved, gZ):
        return gZ, gZ


@op("subtract", r"Z = X - Y", {"X": r"\bar Z", "Y": r"-\bar Z"}, broadcasts=True, numbers=True, integers=True)
class Subtract(Op):
    """Difference."""

    @staticmethod
    def forward(xp, save, X, Y):
        return X - Y

    @staticmethod
    def backward(xp, saved, gZ):
        return gZ, -gZ


@op(
    "multiply",
    r"Z = X \odot Y",
    {"X": r"\bar Z \odot Y", "Y": r"\bar Z \odot X"},
    broadcasts=True,
    numbers=True,
    integers=True,
)
class Multiply(Op):
    """Product of elements. Saves both factors: each is the other's derivative.

    Where one factor is a constant, its gradient is computed all the same and dropped by the engine.
    """

    @staticmethod
    def forward(xp, save, X, Y):
        save(X, Y)
        return X * Y

    @staticmethod
    def backward(xp, saved, gZ):
        X, Y = saved
        return gZ * Y, gZ * X


@op("divide", r"Z = X / Y", {"X": r"\bar Z / Y", "Y": r"-\bar Z \odot Z / Y"}, broadcasts=True, numbers=True)
class Divide(Op):
    r"""Quotient. :math:`\partial (x/y) / \partial y = -x/y^2 = -z/y`."""

    @staticmethod
    def forward(xp, save, X, Y):
        Z = X / Y
        save(Y, Z)
        return Z

    @staticmethod
    def backward(xp, saved, gZ):
        Y, Z = saved
        gX = gZ / Y
        return gX, -gX * Z


@op("negative", r"Y = -X", {"X": r"-\bar Y"}, integers=True)
class Negative(Op):
    """Change of sign."""

    @staticmethod
    def forward(xp, save, X):
        return -X

    @staticmethod
    def backward(xp, saved, gY):
        return -gY


@op("power", r"Y = X^p", {"X": r"p \, X^{p-1} \odot \bar Y"}, letters={"p": "p"})
class Power(Op):
    """A power with a constant exponent p, a Python number.

    x**0 is 1 with derivative 0, also at x = 0.
    """

    @staticmethod
    def forward(xp, save, X, p):
        save(X, p)
        return X**p

    @staticmethod
    def backward(xp, saved, gY):
        X, p = saved
        if p == 0:
            return xp.zeros_like(gY)
        return gY * (p * X ** (p - 1))
