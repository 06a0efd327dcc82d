"""What a whole step shows, and a single operation cannot see: that a loss follows the last dense layer.

By itself a loss reads the prediction and the target and writes the prediction's gradient; then the backward pass
reads that gradient and the prediction again and writes gZ. Within a captured step all this can be done row by row as
soon as the last layer has computed them, and gZ be written over the prediction: there is less memory to go through.
The numbers are the same to the last bit.
"""

import numpy as np

from ..backend import NUMPY
from .loading import loops

KINDS = {"squared_error": "MSE", "bce_with_logits": "BCE"}  # loop of losses.py: its name in dense.py


def joined(actions, outputs):
    """The calls of a step, a list of (function or Kernel, arguments), losses joined to the dense layers before them.

    Nobody then reads the gradient of the prediction; and the prediction only if it is among the outputs, a list of
    arrays.
    """
    actions = list(actions)
    calls = [Call(i, *action) for i, action in enumerate(actions) if hasattr(action[0], "parameters")]
    for loss in calls:
        if loss.kernel.name not in KINDS:
            continue
        P, gP = NUMPY.address(loss["P"]), NUMPY.address(loss["gP"])
        users = [call for call in calls if call.mentions(P) or call.mentions(gP)]
        if len(users) != 3 or users[1] is not loss:
            continue
        forward, _, backward = users
        if not forward.kernel is backward.kernel is loops.dense.run or forward["y"] != P or backward["gy"] != gP:
            continue
        T = NUMPY.address(loss["T"])
        if any(forward.place < call.place < loss.place and call.mentions(T) for call in calls):  # it is not there yet
            continue
        if len(loss["P"]) != forward["N"] or loss["parts"] != forward["parts"]:  # the sum would be rounded otherwise
            continue
        gz = gP if any(np.may_share_memory(loss["P"], output) for output in outputs) else P
        kind = getattr(loops.dense, KINDS[loss.kernel.name])
        actions[forward.place] = forward.but(t=T, gz=gz, kind=kind, scale=loss["scale"], L=loss["L"])
        actions[backward.place] = backward.but(gz=gz)
        actions[loss.place] = None
    return [action for action in actions if action is not None]


class Call:
    """A call of a kernel, its arguments by name."""

    def __init__(self, place, kernel, arguments):
        self.place, self.kernel, self.arguments = place, kernel, dict(zip(kernel.parameters, arguments))

    def __getitem__(self, name):
        return self.arguments[name]

    def mentions(self, address):
        """Is it given this address, or an array there?"""
        for x in self.arguments.values():
            if type(x) is np.ndarray and x.size and NUMPY.address(x) == address or type(x) is int and x == address:
                return True
        return False

    def but(self, **changed):
        """The same with other arguments, as (kernel, arguments)."""
        return self.kernel, tuple({**self.arguments, **changed}.values())
