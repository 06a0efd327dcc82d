"""Wrong command lines and wrong inputs: exit code 2, one clear message, nothing written, nothing changed."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyae import runs
from tinyae.cli import main

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
Image = pytest.importorskip("PIL.Image", reason="folders of images need Pillow")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with all that a user may get wrong."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    x = rng.random((40, 64), dtype=np.float32)
    bad = x.copy()
    bad[3, 5] = np.nan
    arrays = {
        "x": x, "images": x.reshape(40, 8, 8, 1), "other": x[:, :36].reshape(40, 6, 6, 1), "narrow": x[:, :5], "nan": bad,
        "large": x * 255, "flat": x[:, 0], "one": x[:1], "none": x[:0], "complex": x.astype(complex),
        "words": np.array([["a", "b"]] * 40), "short": np.arange(30) % 3, "floats": np.arange(40) / 7,
        "negative": np.arange(40) % 3 - 1, "square": np.zeros((40, 2), int), "labels": np.arange(40) % 3,
        "same": np.zeros(40, int), "mine": x, "first": x.reshape(40, 1, 8, 8),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", array)
    np.save(root / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez(root / "several.npz", a=x, b=x[:, :4])
    np.savez(root / "objects.npz", np.array([{}, {}]), allow_pickle=True)
    np.savez(root / "half.npz", x_train=x, x_test=x[:5], y_train=np.arange(40))
    np.savez(root / "unlike.npz", x_train=x, x_test=x[:5, :9])
    for name, content in {
        "file": "kept", "text.npy": "hello", "broken.npz": "PK hello", "data.xyz": "1,2", "empty.csv": "", "empty.npy": "",
        "text.csv": "a,b\n1,2\n3,four\n", "gap.csv": "1,2,3\n4,,6\n", "ragged.csv": "1,2\n3,4,5\n6,7\n", "nan.csv": "1,2\nnan,3\n",
        "words.csv": "1\n2\ncat\n", "header.csv": "a,b\n",
    }.items():  # fmt: skip
        (root / name).write_text(content)
    (root / "cut.npy").write_bytes((root / "x.npy").read_bytes()[:500])
    for folder in ("mixed", "modes", "unreadable", "nothing", "no-images"):
        (root / folder).mkdir()
    grey = Image.fromarray((x[0].reshape(8, 8) * 255).astype(np.uint8))
    for folder in ("mixed", "modes", "unreadable"):
        for i in range(3):
            grey.save(root / folder / f"{i}.png")
    grey.resize((9, 8)).save(root / "mixed" / "z.png")
    grey.convert("RGB").save(root / "modes" / "z.png")
    (root / "unreadable" / "z.png").write_bytes((root / "unreadable" / "0.png").read_bytes()[:40])
    (root / "unreadable" / "y.png").write_text("no picture")
    (root / "no-images" / "notes.txt").write_text("hello")

    runs.train("digits", epochs=2, out=root / "run", progress=False)
    runs.train("digits", data=str(root / "mine.npy"), epochs=1, out=root / "changed", progress=False)
    runs.train("classifier", data="digits", epochs=1, out=root / "classifier", progress=False)
    np.save(root / "mine.npy", x[::-1])
    for name in ("no-model", "no-settings", "bad-settings", "old-settings", "bad-model", "bad-checkpoint", "other-batch",
                 "gone"):  # fmt: skip
        shutil.copytree(root / "run", root / name)
    (root / "no-model" / "model.safetensors").unlink()
    (root / "no-settings" / "settings.json").unlink()
    (root / "bad-settings" / "settings.json").write_text('{"recipe": ')
    (root / "bad-model" / "model.safetensors").write_bytes((root / "run/model.safetensors").read_bytes()[:3000])
    for name in ("run.checkpoint", "run.checkpoint.previous"):
        (root / "bad-checkpoint" / name).write_bytes(b"torn")
    for name, change in {
        "old-settings": {"colour": "red"}, "other-batch": {"batch_size": 7}, "gone": {"data": "/nowhere/x.npy"}
    }.items():  # fmt: skip
        settings = json.loads((root / "run/settings.json").read_text())
        settings["recipe"] |= change
        (root / name / "settings.json").write_text(json.dumps(settings))
    return root


def state(root):
    """What is in a folder, and that it is untouched."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


WRONG = """
train digit                                                     | unknown recipe 'digit'. Known, nearest first: digits
train --epochs 0                                                | epochs is 0; expected an integer >= 1
train --epochs -3                                               | epochs is -3
train --epochs many                                             | 'many' is not a valid integer
train --epochs 1.5                                              | '1.5' is not a valid integer
train --epochs                                                  | requires an argument
train --batch-size 0                                            | batch_size is 0
train --batch-size -5                                           | batch_size is -5
train --lr 0                                                    | lr is 0
train --lr -1                                                   | lr is -1
train --lr nan                                                  | lr is nan
train --lr inf                                                  | lr is inf
train --lr fast                                                 | 'fast' is not a valid float
train --optimizer adma                                          | unknown optimizer 'adma'. Known, nearest first: adam
train --optimizer gd --batch-size 32                            | gradient descent takes the gradient of all
train --optimizer lbfgs --batch-size 32                         | L-BFGS takes the gradient of all
train --optimizer lbfgs --lr 0.1                                | 'lbfgs' has no learning rate
train --optimizer sgd --lr 1e30                                 | the loss became
train --loss mes                                                | unknown loss 'mes'. Known, nearest first: mse
train --loss cross_entropy                                      | loss 'cross_entropy' was given, but it reconstructs
train --init hee                                                | unknown initialiser 'hee'. Known, nearest first: he
train --seed -1                                                 | seed is -1
train --seed x                                                  | 'x' is not a valid integer
train --backend torch                                           | unknown backend 'torch'
train --overwrite                                               | --overwrite needs --out
train --out file                                                | is a file
train --out file/below                                          | a file stands in its way
train --out ''                                                  | --out is empty
train --out run                                                 | the folder run exists
train --epochs 1 --out /proc/tinyae                             | cannot be made
train --epoch 3                                                 | No such option
train digits mnist                                              | unexpected extra argument
train --data digit                                              | unknown data set 'digit'. Known, nearest first: digits
train --data missing.npy                                        | there is no file or folder missing.npy
train --data ''                                                 | unknown data set ''
train --data data.xyz                                           | is of an unknown kind
train --data text.npy                                           | text.npy
train --data empty.npy                                          | empty.npy
train --data cut.npy                                            | cut.npy
train --data objects.npy                                        | pickle
train --data words.npy                                          | data of type
train --data complex.npy                                        | data of type complex128
train --data flat.npy                                           | expected (N, ...), N examples
train --data one.npy                                            | one example; expected at least 2
train --data none.npy                                           | data are empty
train --data nan.npy                                            | 1 of
train --data large.npy                                          | the data range from
train --data narrow.npy                                         | nothing would be compressed
train bce --data digits                                         | its code has 64 numbers, an example of these data 64
train deep --data narrow.npy                                    | its code has 32 numbers, an example of these data 5
train --data several.npz                                        | several arrays
train --data several.npz:c                                      | several.npz
train --data missing.npz:a                                      | there is no file or folder missing.npz
train --data objects.npz                                        | pickle
train --data broken.npz                                         | broken.npz
train --data half.npz                                           | only one of y_train and y_test
train --data unlike.npz                                         | expected the same
train --data text.csv                                           | row 3, column 2
train --data gap.csv                                            | row 2, column 2
train --data ragged.csv                                         | row 2
train --data nan.csv                                            | row 2, column 1
train --data empty.csv                                          | empty.csv
train --data header.csv                                         | header.csv
train --data mixed                                              | differ in size: 3 of 8x8
train --data modes                                              | differ in mode: 3 of L
train --data unreadable                                         | 2 of 5 images in
train --data nothing                                            | nothing
train --data no-images                                          | no-images
train classifier --data x.npy                                   | learns from labels, and these data have none
train classifier --data x.npy --labels short.npy                | 40 examples, but there are 30 labels
train classifier --data x.npy --labels floats.npy               | whole numbers
train classifier --data x.npy --labels square.npy               | expected (N,), one per example
train classifier --data x.npy --labels negative.npy             | labels
train classifier --data x.npy --labels words.csv                | row 3
train classifier --data x.npy --labels missing.npy              | no file of labels
train classifier --data x.npy --labels data.xyz                 | the labels
train classifier --data x.npy --labels same.npy                 | classes
train classifier --data digits --labels labels.npy              | labels of its own
train classifier --data digits --loss mse                       | loss 'mse' was given, but it classifies
resume                                                          | Missing argument
resume missing                                                  | there is no folder 'missing'
resume file                                                     | is a file
resume nothing                                                  | holds no run
resume .                                                        | There are runs below it
resume no-settings                                              | there is no settings.json
resume bad-settings                                             | settings.json is damaged or of another tinyae
resume old-settings                                             | missing or unknown entries: colour
resume bad-checkpoint                                           | damaged
resume other-batch                                              | batch_size: was 32, is now 7
resume changed                                                  | training data: was
resume gone                                                     | /nowhere/x.npy
resume run --epochs 1                                           | epochs=1, but the checkpoint has 2
resume run --epochs 0                                           | epochs is 0
resume run --lr 0.1                                             | No such option
evaluate                                                        | Missing argument
evaluate missing                                                | there is no folder 'missing'
evaluate nothing                                                | holds no run
evaluate no-model                                               | has no model yet
evaluate bad-model                                              | truncated, damaged
evaluate run --data other.npy                                   | trained on examples of shape (8, 8, 1)
evaluate run --data x.npy                                       | trained on examples of shape (8, 8, 1)
evaluate run --data nowhere.npy                                 | there is no file or folder nowhere.npy
evaluate classifier --data images.npy                           | has no labels
evaluate classifier --data images.npy --labels short.npy        | 40 examples, but there are 30 labels
evaluate run classifier                                         | has the task
evaluate run --seeds 1,x                                        | expected whole numbers with commas
evaluate run --full --limit 3                                   | --limit is 3
evaluate classifier --full                                      | --full looks at codes
map missing                                                     | there is no folder 'missing'
map no-model                                                    | has no model yet
map run --by umap                                               | unknown way to map codes 'umap'
map run --by model                                              | only those of 2
map run --limit 0                                               | --limit is 0
map run --out a.jpg                                             | ends in .jpg; expected a picture
map run --data x.npy                                            | trained on examples of shape (8, 8, 1)
map classifier                                                  | has no code
search run                                                      | Missing argument
search run 360                                                  | expected 0 to 359
search run nowhere.png                                          | there is no file nowhere.png
search run other.npy                                            | trained on examples of shape (8, 8, 1)
search run text.csv                                             | cannot be read as an image
search run 3 --k 0                                              | --k is 0
search run 3 --among all                                        | unknown part to search
search classifier 3                                             | has no code
reconstruct run                                                 | Missing option '--out'
reconstruct run --out a.jpg                                     | ends in .jpg; expected a picture
reconstruct run --out a                                         | ends in nothing
reconstruct run --out x.npy                                     | x.npy exists
reconstruct run --out missing/a.png                             | there is no folder missing
reconstruct run --out missing/a.npy                             | there is no folder missing
reconstruct run --out a.npy --data x.npy                        | trained on examples of shape (8, 8, 1)
reconstruct run --out a.npy --data text.csv                     | row 3, column 2
reconstruct classifier --out a.png                              | has no decoder
reconstruct no-model --out a.png                                | has no model yet
compare --optimizers adma                                       | unknown optimizer 'adma'
compare --optimizers ''                                         | no optimizer was given
compare --losses mes                                            | unknown loss 'mes'
compare --losses cross_entropy                                  | it reconstructs
compare --lr adam                                               | expected NAME=NUMBER
compare --lr rmsprop=0.1                                        | which is not compared
compare --lr adam=-1                                            | lr is -1
compare --epochs 0                                              | epochs is 0
compare --batch-size 0                                          | batch_size is 0
compare --data large.npy                                        | the data range from
compare --out run                                               | the folder run exists
compare classifier                                              | is a classifier
inspect nowhere                                                 | there is no folder 'nowhere'
inspect no-model                                                | has no model yet
inspect run --example 360                                       | digits has 360 held-out examples: expected 0 to 359
inspect run --example -1                                        | --example is -1
inspect run --data x.npy                                        | examples of shape (8, 8, 1), those of
inspect run --out file                                          | a folder file cannot be made
inspect changed                                                 | are no images
generate run                                                    | Missing option '--out'
generate nowhere --out a.png                                    | there is no folder 'nowhere'
generate no-model --out a.png                                   | has no model yet
generate run --out a.jpg                                        | ends in .jpg; expected a picture
generate run --out x.npy                                        | x.npy exists
generate run --out missing/a.npy                                | there is no folder missing
generate run --out a.npy --what pictures                        | 'pictures' is not one of
generate run --out a.npy --what grid                            | needs a code of 2 numbers, and that of digits has 8
generate run --out a.npy --count 0                              | count is 0; expected an integer >= 1
generate run --out a.npy --count 1 --what interpolation         | count is 1; expected an integer >= 2
generate run --out a.npy --seed -1                              | seed is -1
generate run --out a.npy --what interpolation --between 0 360   | digits has 360 held-out examples
generate run --out a.npy --what interpolation --between 0       | requires 2 arguments
generate run --out a.npy --data x.npy                           | trained on examples of shape (8, 8, 1)
generate classifier --out a.png                                 | is a classifier and has no decoder
train vae-digits --loss bce                                     | the decoder of this VariationalAutoencoder is Gaussian
denoise run --noise salt                                        | unknown noise 'salt'
denoise run --strength -1                                       | GaussianNoise: std is -1
denoise run --noise masking --strength 1                        | MaskingNoise: rate is 1
denoise run --seed -1                                           | seed is -1
denoise run --out a.jpg                                         | ends in .jpg; expected a picture
denoise run --out x.npy                                         | x.npy exists
denoise run --out missing/a.png                                 | there is no folder missing
denoise run --data images.npy                                   | say where what becomes of images.npy is to be written
denoise run --data images.npy --strength 0.2 --out a.npy        | is taken to be noisy already
denoise run --data x.npy --out a.npy                            | trained on examples of shape (8, 8, 1)
denoise run --data x.npy --noise masking                        | trained on examples of shape (8, 8, 1)
denoise classifier                                              | has no decoder
denoise no-model                                                | has no model yet
evaluate run --full --seeds ''                                  | seed
compress run digits                                             | Missing argument
compress missing digits a.npy                                   | there is no folder 'missing'
compress classifier digits a.npy                                | has no decoder
compress run digits x.npy                                       | x.npy exists
compress run digits a.npy --bits 0                              | bits
compress run x.npy a.npy                                        | trained on examples of shape (8, 8, 1)
compress run images.npy images.npy --overwrite                    | images.npy is what is read from
compress run nan.npy a.npy                                      | nan
decompress run nowhere.tae a.npy                                | nowhere.tae
decompress run file a.npy                                       | file
decompress run file a.jpg                                       | ends in .jpg
rates run --bits 0                                              | bits is 0
rates run --bits 2,x                                            | expected whole numbers with commas
rates run changed                                               | expected runs on the same data
rates classifier                                                | has no decoder
anomalies nowhere.csv                                           | there is no file or folder nowhere.csv
anomalies nan.csv                                               | row 2, column 1
anomalies one.npy                                               | what is usual cannot be seen in one
anomalies x.npy --epochs 0                                      | epochs is 0
anomalies x.npy --normal 3                                      | --normal says which labels are normal
anomalies x.npy --contamination 2                               | contamination is 2.0
anomalies x.npy --run run                                       | Give data of one kind
anomalies x.npy --run run --epochs 3                            | leave out --train
overfit --remedies foo                                          | unknown remedy 'foo'
overfit --examples 0                                            | examples is 0
overfit --epochs 0                                              | epochs is 0
text '' --size 4                                                | the query is empty
text for --size 0                                               | size is 0
text for --seeds 1,x                                            | expected whole numbers with commas
text for --seeds ,                                              | no seed was given
text for --data nowhere                                         | nowhere is no folder
train conv --data x.npy                                         | Use a dense recipe, such as digits
train conv-digits --data first.npy                              | looks like channels first
train conv-small --data images.npy --loss cross_entropy         | it reconstructs
completion tcsh                                                 | 'tcsh' is not one of
recipes digits                                                  | unexpected extra argument
trian                                                           | No such command
--verison                                                       | No such option
"""
LINES = [tuple(part.strip() for part in line.split("|", 1)) for line in WRONG.strip().splitlines()]


def test_there_are_a_hundred():
    assert len(LINES) >= 100 and len(dict(LINES)) == len(LINES)


@pytest.mark.parametrize("line, message", LINES, ids=[line for line, _ in LINES])
def test_a_wrong_command_line_gets_one_clear_message(line, message, world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    monkeypatch.setattr(sys, "argv", ["tinyae", *(word.strip("'") for word in line.split())])
    before = state(world)
    code = main()
    out, err = capsys.readouterr()
    made = [path for path in ("runs", "a.npy") if Path(path).exists()]
    shutil.rmtree("runs", ignore_errors=True)
    assert (code, out) == (2, "") and not made
    text = "".join(part for part in err.splitlines(keepends=True) if not part.startswith("epoch "))
    assert message in text and "Traceback" not in text
    assert text.startswith(("tinyae: ", "Usage: ", "Error: ", "warning: "))
    assert sum(part.startswith(("tinyae: ", "Error: ")) for part in text.splitlines()) == 1
    assert state(world) == before


def test_without_data_and_network_both_ways_out_are_named(world, monkeypatch, capsys, tmp_path):
    from tinyae.errors import DownloadError

    def no_network(urls, *arguments):
        raise DownloadError("; ".join(f"{url} (no route to host)" for url in urls))

    monkeypatch.chdir(world)
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tinyae.datasets.mnist.fetch", no_network)
    monkeypatch.setattr(sys, "argv", ["tinyae", "train", "dense32"])
    assert main() == 2
    err = capsys.readouterr().err
    assert "put the four files" in err and "TINYAE_DATA=X; or connect to the network and run again" in err
