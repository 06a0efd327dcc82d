"""Learning rates that several recipes share: one for each optimizer, as what one needs another cannot bear.

The mean over pixels makes gradients small, hence rates above 1.
"""

MNIST_LR = {"adam": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2, "momentum": 1.0, "sgd": 10.0, "gd": 10.0}
CONV_LR = {"adam": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2, "momentum": 0.3, "sgd": 1.0, "gd": 1.0}
DIGITS_LR = {"adam": 2e-3, "rmsprop": 1e-3, "adagrad": 2e-2, "momentum": 0.3, "sgd": 1.0, "gd": 2.0}
