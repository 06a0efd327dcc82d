r"""What an operation is: a formula, a forward and a backward, side by side.

How to read one::

    @op("affine", formula=r"Y = X W + b", vjp={"X": r"\bar Y W^\top", ...})
    class Affine(Op):
        @staticmethod
        def forward(xp, save, X, W, b):     # arrays in, array out
            save(X, W)                      # what the backward pass will need
            return X @ W + b

        @staticmethod
        def backward(xp, saved, gY):        # gY is dL/dY, the gradient that reaches Y
            X, W = saved
            return gY @ W.T, X.T @ gY, gY.sum(axis=0)

``xp`` is the array library, NumPy or CuPy; both have the same functions. Y is whatever the operation
returns; gX is always dL/dX, written :math:`\bar X` in a formula. The rule under ``vjp`` computes
:math:`\bar X = \bar Y \, \partial Y / \partial X` without ever forming the matrix
:math:`\partial Y / \partial X`: a vector-Jacobian product.

An operation knows only arrays. It is run and recorded by ``apply.py``; its gradients are checked,
summed over broadcast axes and accumulated by ``tape.py``, once for all operations.

How formulas are written, what stands side by side is multiplied and so on, is said in ``explain/formulas/formula.py``, whose
evaluator computes each of them: a test holds every formula and every rule to the code below it. ``letters`` says which
letters stand for attributes, such as s for ``stride``.

Your own operation is a subclass of Op, run by ``ta.apply(MyOp, x)``.
"""


class Op:
    """The parent of all operations; its attributes tell the engine what the operation allows.

    What forward gets: the inputs to differentiate by, in order, and by keyword all else (axes, constants).
    What it saves, in one call: inputs or its output as they are, arrays of its own making, or plain
    values such as a shape. The tape recognises inputs and output, and notices when one is changed in
    place before the backward pass.

    What backward returns: one gradient per input (a tuple, if there are several), each a fresh array,
    or gY itself, or a view of gY; None for an input that has no gradient, such as labels. It never writes
    into gY or into what was saved: others may hold them too.
    """

    name = "op"
    formula = ""
    vjp: dict = {}
    letters: dict = {}  # attribute -> its letter in the formula, or a tuple of letters
    broadcasts = False  # inputs follow NumPy's broadcasting; the engine sums the gradient back
    integers = False  # integers pass as they are; elsewhere they become the float type in use
    numbers = False  # a Python number is passed as it is: no array is made for it
    indices = ()  # positions of inputs that are integer indices or masks, never differentiated
    view = False  # the output may share memory with the first input
    selective = False  # backward is told which gradients are needed: backward(xp, saved, gY, needed)
    by_decision = False  # the rules are no derivatives, on purpose: differences will not agree with them
    repeatable = False  # kernels do all that is done to numbers: a captured step may repeat it

    @staticmethod
    def forward(xp, save, *arrays, **attributes):
        raise NotImplementedError

    @staticmethod
    def backward(xp, saved, gY):
        raise NotImplementedError


OPERATIONS: dict[str, type[Op]] = {}  # name -> class, in the order of definition


def op(name, formula, vjp, **flags):
    """Class decorator: give an operation its name, its formulas (LaTeX) and its flags."""

    def define(cls):
        cls.name, cls.formula, cls.vjp = name, formula, vjp
        for flag, value in flags.items():
            if not hasattr(Op, flag):
                raise AttributeError(f"op {name}: there is no flag {flag!r}")
            setattr(cls, flag, value)
        OPERATIONS[name] = cls
        return cls

    return define
