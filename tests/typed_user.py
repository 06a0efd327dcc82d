"""A user's typed program. Never run: mypy --strict reads it, so the public surface must have types."""

from typing import Any

import numpy as np

import tinyae as ta


def train_by_hand(images: np.ndarray[Any, Any]) -> list[float]:
    ta.manual_seed(0)
    model = ta.Autoencoder(
        ta.Sequential(
            ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dropout(0.1), ta.Dense(16, 8, init="glorot", bias=False)
        ),
        ta.Sequential(ta.GaussianNoise(0.1), ta.Dense(8, 64), ta.Activation("sigmoid"), ta.Reshape(8, 8, 1)),
    ).to("numpy")
    optimizer: ta.Optimizer = ta.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    losses: list[float] = []
    for epoch in range(2):
        for x in ta.batches(images, 32, epoch=epoch):
            optimizer.zero_grad()
            loss: ta.Tensor = ta.mse_loss(model(x), x) + 0.1 * model.encode(x).abs().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def arithmetic() -> bool:
    x = ta.Tensor([[1.0, -2.0]], requires_grad=True)
    w = ta.Tensor(np.ones((2, 3)), dtype="float32")
    y: ta.Tensor = ta.softmax(ta.relu(x @ w) ** 2 - 1 / (1 + ta.gelu(x).sum(axis=1, keepdims=True)), axis=-1)
    y[0] = ta.where(y[0] > 0.5, y[0], 0.0)
    y += 1
    shape: tuple[int, ...] = ta.concatenate([y, ta.stack([y[0]])]).T.reshape(-1).shape
    with ta.no_grad():
        total: float = float((y.exp().log().sqrt().clip(0, 1).max() + y.mean()).detach())
    return bool(ta.check_gradients(ta.tanh, x)) and total > 0 and len(shape) == 1


class Half(ta.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.trainer.optimizer.lr /= 2


def train_with_fit(images: np.ndarray[Any, Any]) -> ta.History:
    model = ta.Autoencoder(ta.Dense(64, 8), ta.Dense(8, 64, "sigmoid"))
    history = model.fit(
        images, epochs=3, batch_size=16, optimizer=ta.Momentum(model.parameters(), 0.1, nesterov=True), loss="bce",
        validation_data=images, callbacks=[ta.EarlyStopping(2), ta.StopAtLoss(0.1), Half()], regularizers=[ta.L1(1e-4), ta.L2(1e-4)],
    )  # fmt: skip
    final: float = history["val_loss"][-1]
    state: dict[str, np.ndarray[Any, Any]] = model.state_dict()
    model.load_state_dict(state, strict=True)
    ta.save(model, "model.safetensors")
    print(final, ta.load("model.safetensors").summary((64,)))
    classifier = ta.Sequential(ta.Dense(64, 10))
    (x, y), _ = ta.datasets.load_digits()
    return ta.fit(
        classifier, x.reshape(len(x), -1), y, epochs=1, loss=ta.cross_entropy, optimizer="sgd", progress=False
    )


class Notes(ta.Callback):
    """A callback that remembers something over an interruption."""

    seen = 0

    def on_gradients(self, batch: int) -> None:
        self.seen += 1

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def train_over_interruptions(path: str) -> ta.History:
    (x, y), (x_test, y_test) = ta.datasets.load(path, labels=None)
    model = ta.Autoencoder(ta.Dense(64, 8), ta.Dense(8, 64, "sigmoid"))
    callbacks: list[ta.Callback] = [
        ta.WarmUp(1), ta.CosineDecay(to=0.1), ta.StepDecay(10), ta.Schedule(lambda epochs: 0.9**epochs),
        ta.ReduceOnPlateau(0.5, patience=3), ta.ClipNorm(1.0), ta.ClipValue(0.5), Notes(),
        ta.TensorBoard("logs"), ta.Checkpoint("run.checkpoint", every=2, resume=True),
    ]  # fmt: skip
    history = model.fit(ta.Rows(x, pixels=False), 10, optimizer=ta.RMSProp(model.parameters()), callbacks=callbacks)
    history.save("history.jsonl")
    again: ta.History = ta.History.load("history.jsonl")
    again.plot("history.png", title="mine")
    second = model.fit(x, 2, optimizer=ta.LBFGS(model.parameters(), iterations=5), validation_data=x_test)
    norm: float = ta.clip_by_norm(model.parameters(), 1.0)
    ta.clip_by_value(model.parameters(), norm)
    (digits, labels), _ = ta.datasets.load_mnist()
    print(digits.shape, labels.dtype, y is None, y_test is None, ta.AdaGrad(model.parameters()))
    return second


def train_on_images(images: np.ndarray[Any, Any]) -> ta.Tensor:
    """Convolutions and all that goes with them."""
    encoder = ta.Sequential(
        ta.Conv2D(1, 8, activation="relu"), ta.MaxPool2D(2, padding="same"), ta.ZeroPad2D(((0, 1), (0, 1))),
        ta.Conv2D(8, 8, (3, 2), stride=(1, 2), padding=1, dilation=1, bias=False), ta.BatchNorm(8), ta.AvgPool2D((1, 2)),
    )  # fmt: skip
    decoder = ta.Sequential(
        ta.UpSampling2D(2, "bilinear"), ta.Conv2DTranspose(8, 1, padding="valid", output_size=(9, 9)), ta.Crop2D(1)
    )
    history: ta.History = ta.Autoencoder(encoder, decoder).fit(images, 2)
    x = ta.conv2d(images, np.ones((3, 3, 1, 2)), stride=2, padding=((1, 1), (0, 1)))
    x = ta.conv_block(x, np.ones((3, 3, 2, 2)), np.zeros(2), activation="relu", pool=2, pool_padding="same")
    x = ta.conv2d_transpose(ta.max_pool2d(ta.avg_pool2d(ta.pad2d(x, 1))), np.ones((2, 2, 2, 1)), output_size=4)
    print(history["loss"], ta.GlobalAvgPool2D()(x))
    return ta.batch_norm(ta.upsample_bilinear(ta.upsample_nearest(x, (2, 1))), [1.0], [0.0])


class Smooth(ta.Autoencoder):
    def objective(self, x: ta.Tensor, y: ta.Tensor, loss: Any) -> dict[str, ta.Tensor]:
        z = self.code(x)
        return {"reconstruction": loss(self.decoder, z, y), "size": 1e-4 * (z**2).mean()}


def the_family(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    encoder = ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"))
    vae = ta.VariationalAutoencoder(
        encoder,
        ta.Dense(16, 2),
        ta.Dense(16, 2),
        ta.Sequential(ta.Dense(2, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
        beta=2,
    )
    history: ta.History = vae.fit(images, epochs=1, augment=[ta.RandomShift(1)])
    smooth = Smooth(encoder, ta.tied_decoder(encoder, "sigmoid", (8, 8, 1)))
    ta.pretrain(smooth, images, epochs=1)
    made: Any = vae.sample(4, seed=1)
    found: dict[str, Any] = ta.evaluate(smooth, images, labels)
    detector = ta.AnomalyDetector(contamination=0.1).fit(images)
    ta.compress(smooth, images, "images.tae", bits=4)
    again: Any = ta.decompress(smooth, "images.tae")
    return history["kl"][-1] + float(detector.score_samples(made).sum()) + len(found) + len(again)


def looking(model: ta.Module, x: ta.Tensor, optimizer: ta.Optimizer) -> str:
    """A trace is plain data."""
    with ta.trace(limit=100, skip=0, joined=False, phases=("forward", "backward"), watch=[x]) as tape:
        loss = ta.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
    with ta.find_nan(infinities=False):
        model(x)
    names: list[str] = [step.name for step in tape.steps()]
    first = tape.steps()[0]
    worst: float = max(value.high for value in first.inputs)
    right: bool = bool(first.check(seed=1))
    tape.save("steps.html", overwrite=True)
    told: str = ta.explain_step(optimizer, x, (0, 0), steps=3, bias_correction=False).text()
    return tape.text() + tape.note + str((names, worst, right, told, first.file, first.line, first.symbols))
