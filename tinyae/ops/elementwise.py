r"""Functions of one element: exponential, logarithm, root, absolute value, clipping, choosing.

Shapes: inputs of any shape (several broadcast), the output alike. Where a function has a kink, the
derivative chosen there is stated. NaN passes through all of them.
"""

from .op import Op, op


@op("exp", r"Y = e^X", {"X": r"Y \odot \bar Y"})
class Exp(Op):
    """Exponential: its own derivative, so the output is what is saved."""

    @staticmethod
    def forward(xp, save, X):
        Y = xp.exp(X)
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        return Y * gY


@op("log", r"Y = \ln X", {"X": r"\bar Y / X"})
class Log(Op):
    """Natural logarithm: -inf at 0, NaN below."""

    @staticmethod
    def forward(xp, save, X):
        save(X)
        return xp.log(X)

    @staticmethod
    def backward(xp, saved, gY):
        (X,) = saved
        return gY / X


@op("sqrt", r"Y = \sqrt X", {"X": r"\tfrac{1}{2} \bar Y / Y"})
class Sqrt(Op):
    """Square root; the derivative at 0 is infinite."""

    @staticmethod
    def forward(xp, save, X):
        Y = xp.sqrt(X)
        save(Y)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (Y,) = saved
        return 0.5 * gY / Y


@op("abs", r"Y = |X|", {"X": r"\operatorname{sign}(X) \odot \bar Y"}, integers=True)
class Abs(Op):
    """Absolute value; the derivative at 0 is taken as 0."""

    @staticmethod
    def forward(xp, save, X):
        save(X)
        return xp.abs(X)

    @staticmethod
    def backward(xp, saved, gY):
        (X,) = saved
        return xp.sign(X) * gY


@op(
    "clip",
    r"Y = \min(\max(X, a), b)",
    {"X": r"[a \le X \le b] \odot \bar Y"},
    letters={"low": "a", "high": "b"},
)
class Clip(Op):
    """Values limited to [low, high], in the formula [a, b]; either end may be None.

    The derivative is 1 inside and on the ends, 0 outside.
    """

    @staticmethod
    def forward(xp, save, X, low, high):
        save(X, low, high)
        return xp.clip(X, low, high)

    @staticmethod
    def backward(xp, saved, gY):
        X, low, high = saved
        outside = xp.zeros(X.shape, dtype=bool)
        if low is not None:
            outside = outside | (X < low)
        if high is not None:
            outside = outside | (X > high)
        return xp.where(outside, 0, gY)


@op(
    "maximum",
    r"Z = \max(X, Y)",
    {"X": r"[X \ge Y] \odot \bar Z", "Y": r"[X < Y] \odot \bar Z"},
    broadcasts=True,
    numbers=True,
    integers=True,
)
class Maximum(Op):
    """The larger of two; a tie goes to the first, X."""

    @staticmethod
    def forward(xp, save, X, Y):
        save(X, Y)
        return xp.maximum(X, Y)

    @staticmethod
    def backward(xp, saved, gZ):
        X, Y = saved
        second = X < Y  # False where either is NaN: the NaN's gradient goes to X
        return xp.where(second, 0, gZ), xp.where(second, gZ, 0)


@op(
    "where",
    r"Z = \begin{cases} X & \text{if } C \\ Y & \text{else} \end{cases}",
    {
        "X": r"\begin{cases} \bar Z & \text{if } C \\ 0 & \text{else} \end{cases}",
        "Y": r"\begin{cases} 0 & \text{if } C \\ \bar Z & \text{else} \end{cases}",
    },
    broadcasts=True,
    numbers=True,
    integers=True,
    indices=(0,),
)
class Where(Op):
    """Choose element by element; C is a mask of bools (of integers, all but 0 count as true)."""

    @staticmethod
    def forward(xp, save, C, X, Y):
        save(C)
        return xp.where(C, X, Y)

    @staticmethod
    def backward(xp, saved, gZ):
        (C,) = saved
        return None, xp.where(C, gZ, 0), xp.where(C, 0, gZ)
