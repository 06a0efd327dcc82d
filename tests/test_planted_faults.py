"""One test for each fault that was planted in the code and that no other test had noticed."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyae as ta
from tinyae import runs
from tinyae.archive import checksum, read_archive
from tinyae.checkpoint import refuse_other_settings
from tinyae.cli import main
from tinyae.errors import FileWriteError, RangeError, ShapeError, StateError, TinyaeError
from tinyae.runs.folder import RunFolder

from .conftest import made, quick, weights
from .test_schedules import rates


def quick_train(out, name="digits", epochs=3, **options):
    return runs.train(name, epochs=epochs, out=out, progress=False, **options)


def tinyae(line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tinyae", *line.split()])
    code = main()
    out, err = capsys.readouterr()
    last = out.splitlines()[-1] if out else ""
    return code, json.loads(last) if last.startswith("{") else None, out, err


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_fault_01(images, tmp_path):
    def train(gamma):
        quick(made(), images, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True), ta.StepDecay(1, gamma)])

    train(0.5)
    with pytest.raises(StateError, match=r"was StepDecay\(every=1, gamma=0.5.*is now StepDecay\(every=1, gamma=0.1"):
        train(0.1)


def test_fault_02(rng, tmp_path):
    x, y = rng.random((2, 20, 3), dtype=np.float32)

    def train(target, held_out):
        callbacks = [ta.Checkpoint(tmp_path / "a", resume=True)]
        ta.fit(ta.Dense(3, 3), x, target, 1, validation_data=(x, held_out), callbacks=callbacks, progress=False)

    train(y, y)
    for given, what in (((1 - y, y), "training"), ((y, 1 - y), "validation")):
        with pytest.raises(StateError, match=f"settings:\n  {what} data: was"):
            train(*given)


def test_fault_03(images):
    history = quick(made(), images, 1, batch_size=20, optimizer="sgd", lr=1e-12, regularizers=[ta.L2(0.1)])
    assert np.isclose(history["penalty"][0], ta.L2(0.1)(made()).item(), rtol=1e-5)


def test_fault_04(images, digits_model):
    def loss(p, t):
        return ((p - t) ** 2).sum()

    history = quick(
        digits_model, images, 1, batch_size=10, optimizer="sgd", lr=1e-12, loss=loss, validation_data=images
    )
    assert np.isclose(history["val_loss"][0], history["loss"][0], rtol=1e-5)


def test_fault_05(images, digits_model):
    class Spy(ta.LBFGS):
        def step(self, closure):
            seen.append(closure())

    seen = []
    history = quick(digits_model, images, 1, optimizer=Spy(digits_model.parameters()), regularizers=[ta.L2(0.1)])
    assert np.isclose(seen[0], history["loss"][0] + history["penalty"][0])


def test_fault_06(images):
    model = made()
    with ta.no_grad():
        model.decoder[1].bias += -60.0
    with pytest.warns(ta.CollapseWarning, match="after epoch 1"):
        quick(model, images, 5, callbacks=[ta.StopAtLoss(1e9)])


def test_fault_07(images, tmp_path):
    quick(made(), images, 5, callbacks=[ta.Checkpoint(tmp_path / "a", every=4), ta.StopAtLoss(1e9)])
    assert read_archive(tmp_path / "a", "tinyae.checkpoint")[0]["state"]["epoch"] == 1


def test_fault_08():
    with pytest.raises(StateError, match="momentum: was 0.9, is now None"):
        refuse_other_settings({"lr": 1, "momentum": 0.9}, {"lr": 1})


def test_fault_09():
    assert checksum({}, {"a": np.zeros((2, 3))}) != checksum({}, {"a": np.zeros((3, 2))})


def test_fault_10(rng, tmp_path):
    x = rng.random((200, 3), dtype=np.float32)

    def train(x):
        quick(ta.Autoencoder(ta.Dense(3, 2), ta.Dense(2, 3)), x, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])

    train(x)
    x[-1] = 0
    with pytest.raises(StateError, match="training data: was"):
        train(x)


def test_fault_11(images, tmp_path):
    def train(x):
        quick(made(), x, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)], batch_size=10)

    train(np.zeros((50, 8, 8, 1), np.float32))
    with pytest.raises(StateError, match="training data: was"):
        train(np.zeros((50, 8, 8, 1), np.float64))


def test_k29_30_32(images):
    class Scripted(ta.Callback):
        def __init__(self, **values):
            self.values = values

        def on_epoch_end(self, epoch, logs):
            logs.update({name: values[epoch - 1] for name, values in self.values.items()})

    slow = Scripted(loss=[5, 4.9, 4.8, 4.7])
    assert np.allclose(rates(images, slow, ta.ReduceOnPlateau(0.5, 1, min_delta=1))[::5], [1, 1, 0.5, 0.25])
    flat = Scripted(loss=[5] * 6)
    assert np.allclose(rates(images, flat, ta.ReduceOnPlateau(0.5, 2), epochs=6)[::5], [1, 1, 1, 0.5, 0.5, 0.25])
    held_out = Scripted(loss=[4, 3, 2, 1], val_loss=[5] * 4)
    seen = rates(images, held_out, ta.ReduceOnPlateau(0.5, 1), validation_data=images)
    assert np.allclose(seen[::5], [1, 1, 0.5, 0.25])


def test_fault_12():  # a parameter without a gradient
    w, idle = (ta.Tensor([1.0], requires_grad=True) for _ in range(2))

    def closure():
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return loss.item()

    ta.LBFGS([w, idle]).step(closure)
    assert abs(w.item()) < 1e-6 and idle.item() == 1


def test_fault_13():
    a = ta.Tensor([1.0], requires_grad=True)
    a.grad = np.float32([-9.0])
    ta.clip_by_value([a], 3.5)
    assert a.grad.tolist() == [-3.5]


def test_k49_mean(rng):
    from tinyae.metrics import mean_baseline

    assert mean_baseline(np.zeros((3, 2)), np.ones((4, 2))) == 1


def test_fault_14(monkeypatch, capsys):
    np.save("x.npy", np.random.default_rng(0).random((40, 8), dtype=np.float32))
    with pytest.raises(ShapeError, match="nothing would be compressed"):
        quick_train("a", data="x.npy")


def test_fault_15(monkeypatch, capsys):
    np.savez("x.npz", x=np.random.default_rng(0).random((20, 9), dtype=np.float32), y=np.arange(20) + 0)
    from tinyae.recipes import RECIPES

    with pytest.raises(RangeError, match="without large gaps"):
        RECIPES["classifier"].refuse_what_makes_no_sense((9,), np.array([0, 1, 3]))


def test_fault_16():
    os.mkdir("a")
    Path("a/.model.safetensors.1-2.partial").touch()
    with RunFolder("a") as folder:
        folder.claim("train")
        assert os.listdir("a") == [".lock"]


def test_fault_17():  # killed between saving the model and removing what it replaces
    quick_train("a")
    os.mkdir("a/.tinyae-replaced")
    Path("a/.tinyae-replaced/settings.json").write_text("older still")
    before = Path("a/model.safetensors").read_bytes()
    folder = RunFolder("a")
    folder.begin(folder.settings())
    assert Path("a/.tinyae-replaced/model.safetensors").read_bytes() == before


def test_fault_18(monkeypatch):
    monkeypatch.setattr("tinyae.runs.training.fit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quick_train("a/b/c")
    assert not os.path.exists("a")


def test_k_backend(monkeypatch):
    quick_train("a", epochs=1, backend="strict")
    assert runs.resume("a", epochs=2, progress=False)["backend"] == "strict"


def test_k57_58(monkeypatch):
    same = [quick_train(out, epochs=1, seed=seed)["train_loss"] for out, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert same[0] == same[1] != same[2]


def test_k57_only(monkeypatch):
    seeds = []
    fit = runs.training.fit
    monkeypatch.setattr("tinyae.runs.training.fit", lambda *a, **k: seeds.append(k["seed"]) or fit(*a, **k))
    quick_train("a", epochs=1, seed=7)
    assert seeds == [7]


def test_k58_only():
    from tinyae.recipes import RECIPES
    from tinyae.runs.training import build

    x = np.zeros((2, 100), np.float32)

    def model(seed):
        return build(RECIPES["digits"], ((x, None), (x, None)), seed, ta.get_backend("numpy"))[0]

    assert weights(model(1)) == weights(model(1)) != weights(model(2))


def test_fault_19():
    from tinyae.recipes import RECIPES
    from tinyae.runs.training import build

    sets = ((np.zeros((3, 9), np.float32), np.array([0, 1, 1])), None)
    assert build(RECIPES["classifier"], sets, 0, ta.get_backend("numpy"))[1].eps == 1e-3


def test_fault_20():
    quick_train("a", epochs=1, init="glorot")
    quick_train("b", epochs=1)
    assert Path("a/model.safetensors").read_bytes() != Path("b/model.safetensors").read_bytes()


def test_fault_21():
    np.save("x.npy", np.random.default_rng(0).random((20, 9), dtype=np.float32))
    assert quick_train("a", epochs=1, data="x.npy", batch_size=500)["batch_size"] == 18


def test_fault_22(monkeypatch):
    quick_train("a")
    for name in os.listdir("a"):
        if name != "settings.json":
            os.unlink(f"a/{name}")
    monkeypatch.setattr("tinyae.runs.training.fit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runs.resume("a", progress=False)
    assert os.listdir("a") == ["settings.json"]


def test_fault_23(monkeypatch):
    class Full(ta.Checkpoint):
        def on_epoch_complete(self, epoch):
            if epoch == 2:
                raise FileWriteError("the disk is full.")
            super().on_epoch_complete(epoch)

    monkeypatch.setattr("tinyae.runs.training.Checkpoint", Full)
    with pytest.raises(FileWriteError, match="Make room, then go on with: tinyae resume a"):
        quick_train("a")


def test_fault_24(monkeypatch):
    monkeypatch.setattr("tinyae.runs.training.draw_run", lambda *a: signal.raise_signal(signal.SIGINT))
    assert quick_train("a", epochs=1)["interrupted"]


def test_fault_25():
    quick_train("a", epochs=1, backend="strict")
    assert ta.load("a").parameter_count() == 37448


def test_fault_26(monkeypatch, capsys):
    (x, y), _ = ta.datasets.load_digits()
    np.save("x.npy", x)
    np.save("y.npy", y)
    result = quick_train("a", "classifier", data="x.npy", labels="y.npy")
    assert runs.evaluate("a")["accuracy"] == result["test_accuracy"]


def test_fault_27(monkeypatch, capsys):
    quick_train("a", epochs=1)
    for _code in (0, 0):
        assert tinyae("reconstruct a --out r.npy --overwrite", monkeypatch, capsys)[0] == 0


def test_fault_28():
    x = np.random.default_rng(0).random((1500, 10), dtype=np.float32)
    np.save("x.npy", x[:30])
    np.save("y.npy", x)
    quick_train("a", epochs=1, data="x.npy")
    runs.reconstruct("a", data="y.npy", out="r.npy")
    assert np.array_equal(np.load("r.npy"), ta.load("a").reconstruct(x))


def test_fault_29():
    quick_train("a", epochs=1)
    (x, _), _ = ta.datasets.load_digits()
    np.save("x.npy", x * 255)
    with pytest.raises(RangeError, match="the data range from"):
        runs.evaluate("a", data="x.npy")


def test_fault_30():
    result = quick_train("a", epochs=1, loss="bce")
    assert np.isclose(runs.evaluate("a")["bce"], result["val_bce"])


def compared(**options):
    return runs.compare(epochs=1, optimizers=("sgd", "adam"), out="c", progress=False, **options)


def test_fault_31():
    result = compared()
    best = min(result["runs"], key=lambda run: run["val_mse"])
    (line,) = [line for line in runs.comparison_table(result).splitlines() if f"{best['val_mse']:.4f}*" in line]
    assert best["optimizer"] in line


def test_fault_32(monkeypatch):
    drawn = []
    monkeypatch.setattr("tinyae.runs.comparing.draw_comparison", lambda panels, *rest: drawn.extend(panels))
    result = compared(losses=("mse", "bce"))
    for (_name, histories), loss in zip(drawn, ("mse", "bce")):
        assert histories == {r["optimizer"]: r["history"] for r in result["runs"] if r["loss"] == loss}


def test_fault_33():
    result = compared(losses=("bce",))
    assert all(np.isclose(run["val_bce"], run["history"][-1], rtol=1e-4) for run in result["runs"])


def test_fault_34():
    result = compared(seed=5)
    twin = quick_train("t", epochs=1, seed=5)
    assert twin["val_loss"] == result["runs"][1]["history"][-1]


def test_fault_35(monkeypatch):
    monkeypatch.setattr("tinyae.runs.comparing.fit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compared()
    assert not os.path.exists("c")


def test_fault_36():
    assert [run["batch_size"] for run in compared(batch_size=100)["runs"]] == [100, 100]


def test_k78_79():
    from tinyae.runs.reporting import describe_classifier

    model = ta.Dense(2, 2)
    with ta.no_grad():
        model.weight *= 0
        model.weight += np.eye(2, dtype=np.float32)
    x = np.eye(2, dtype=np.float32)
    result = describe_classifier(model, (x[[0, 0, 0, 1]], np.array([0, 0, 0, 0])), (x[[0, 1]], np.array([0, 1])))
    assert (result["train_accuracy"], result["test_accuracy"]) == (0.75, 1)
    assert result["baselines"]["most frequent label"]["accuracy"] == {"train": 1, "val": 0.5}


def test_fault_37():
    from tinyae.runs.reporting import some_examples

    assert some_examples(np.array([2, 0, 2, 1]), 4).tolist() == [1, 3, 0]


def test_fault_38(monkeypatch):
    drawn = []
    monkeypatch.setattr("tinyae.runs.reporting.draw_confusion", lambda matrix, *rest: drawn.append(matrix))
    quick_train("a", "classifier", 1, data="digits")
    _, (x, y) = ta.datasets.load_digits()
    assert np.array_equal(drawn[0].sum(axis=1), np.bincount(y))


def test_fault_39(monkeypatch, capsys):
    def interrupted(*a, **k):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyae.runs.train", interrupted)
    code, _, out, err = tinyae("train", monkeypatch, capsys)
    assert (code, out, err) == (130, "", "\ntinyae: interrupted; nothing was written\n")


def test_fault_40(monkeypatch, capsys):
    line = "compare --optimizers sgd,adam --losses mse --lr SGD=0.5 --epochs 1 --json"
    assert tinyae(line, monkeypatch, capsys)[1]["runs"][0]["lr"] == 0.5


def test_fault_41(monkeypatch, capsys):
    from tinyae.recipes import RECIPES

    _, _, out, _ = tinyae("recipes --json", monkeypatch, capsys)
    assert [r["name"] for r in json.loads(out.splitlines()[-1])["recipes"]] == list(RECIPES)


def test_fault_42(images, tmp_path):
    history = quick(made(), images, 2)
    (axis,) = history.plot(title="mine", loss_name="error").axes
    assert axis.get_title() == "mine" and axis.get_ylabel() == "error"


def test_k91_92(monkeypatch, tmp_path):
    from tinyae import plots

    drawn = []
    monkeypatch.setattr("tinyae.plots.save_figure", lambda figure, path: drawn.append(figure))
    plots.draw_comparison([("a", {"sgd": [3.0, 2.0]}), ("b", {"adam": [2.0, 1.0], "sgd": [4.0, 3.0]})], None)
    left, right = drawn[0].axes
    assert left.lines[0].get_color() == right.lines[1].get_color() != right.lines[0].get_color()
    assert [text.get_text() for text in right.texts] == ["adam 1.0000", "sgd 3.0000"]


def test_fault_43(tmp_path):
    from tinyae.datasets.own import load_for_evaluation

    np.savez("x.npz", x_train=np.zeros((5, 2)), x_test=np.ones((3, 2)))
    x, y = load_for_evaluation("x.npz")
    assert np.array_equal(x[:], np.ones((3, 2)))


def test_fault_44(tmp_path):
    np.savez("x.npz", x=np.arange(40.0).reshape(20, 2), y=np.arange(20))
    for x, y in ta.datasets.load("x.npz"):
        assert np.array_equal(x[:][:, 0], 2 * y)


def test_fault_45():
    import subprocess

    command = [sys.executable, "-c", "import sys; from tinyae.cli import main; sys.exit(main())", "recipes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait() == 1 and b"Traceback" not in process.stderr.read()


def test_fault_46(rng):
    x = rng.random((20, 3), dtype=np.float32)
    with pytest.raises(RangeError, match="fit: target of x: the data range from"):
        ta.fit(ta.Dense(3, 3, "sigmoid"), x, 2 * x, 1, loss="bce", progress=False)


def test_fault_47(images, tmp_path):
    class Flat(ta.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["loss"] = 5

    def train(epochs):
        callbacks = [Flat(), ta.ReduceOnPlateau(0.5, 2), ta.Checkpoint(tmp_path / "a", resume=True)]
        return rates(images, *callbacks, epochs=epochs)

    train(3)
    assert np.allclose(train(5)[::5], [0.5, 0.5])


def test_fault_48(images, tmp_path):
    for epochs in (2, 3):
        quick(made(), images, epochs, callbacks=[ta.Checkpoint(tmp_path / "a", resume=True)])
    assert read_archive(tmp_path / "a.previous", "tinyae.checkpoint")[0]["state"]["epoch"] == 2


def test_fault_49():
    from tinyae.files import locked

    with open("a", "wb") as file:
        os.unlink("a")
        assert not locked(file)


def test_k26b(tmp_path):
    from tinyae.rehearsal import fingerprint

    hashes = [fingerprint(np.zeros((n, 2), dtype)) for n, dtype in ((100, "f4"), (200, "f4"), (100, "i4"))]
    assert len(set(hashes)) == 3


def test_fault_50():
    w = ta.Tensor([1.0], requires_grad=True)
    before = (w * w).sum()

    def closure():
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return loss.item()

    ta.LBFGS([w]).step(closure)
    with pytest.raises(TinyaeError, match="changed"):
        before.backward()


def test_fault_51(monkeypatch):
    def refused(self, command):
        raise FileWriteError("nothing can be written")

    monkeypatch.setattr(RunFolder, "claim", refused)
    with pytest.raises(FileWriteError, match="nothing can be written"):
        RunFolder.new("digits", "a/b")
    assert not os.path.exists("a")
