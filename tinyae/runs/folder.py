"""The folder of a run: what is in it, and how it is never half of two runs.

::

    settings.json          the recipe with all that was chosen, the seed, the versions; written first
    run.checkpoint         the state after the last whole epoch, from which `tinyae resume` goes on
    model.safetensors      the trained model, for ``ta.load``
    history.jsonl          one line per epoch
    result.json            what was reached
    *.png                  pictures; filters.png and feature_maps.png are made by `tinyae inspect`, map.png and search.png by
                           the commands of that name
    .tinyae-replaced/      while an overwriting run has nothing yet: the files of the run it replaces
"""

import json
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..backend import KERNELS
from ..errors import FileWriteError, ModelFileError, RangeError, StateError, TinyaeError, known_name
from ..files import locked, write_whole
from ..recipes import Recipe

INSIDE = ("filters.png", "feature_maps.png")  # of the model as it was when it was looked at
LATER = (*INSIDE, "denoised.png", "map.png", "search.png")  # the same, by other commands too
PICTURES = ("reconstructions.png", "confusion.png", "loss.png", "gradients.png", *LATER)
FILES = ("model.safetensors", "run.checkpoint", "run.checkpoint.previous", "history.jsonl", "settings.json",
         "result.json", *PICTURES)  # fmt: skip


@dataclass(frozen=True)
class RunSettings:
    """What a run is, besides its data."""

    recipe: Recipe
    seed: int
    backend: str
    example_shape: tuple
    kernels: str = "fast"


class RunFolder:
    """A folder of a run, new or there already."""

    def __init__(self, path, made=()):
        self.path = Path(path)
        self.made = list(made)  # folders made for this run, innermost first
        self.old = self.path / ".tinyae-replaced"
        self.moving = self.path / ".tinyae-replaced.partial"  # the same while its files are on their way
        self.lock = None

    def __truediv__(self, name):
        return self.path / name

    def __str__(self):
        return str(self.path)

    def contents(self):
        """The run's files that are there."""
        return [name for name in FILES if (self.path / name).exists()]

    def claim(self, command):
        """Keep other processes out of the folder until this one ends, and clear away what killed ones left half done.

        Raises
        ------
        FileWriteError
            Another process is at work in it.
        """
        try:
            self.lock = open(self.path / ".lock", "a+b")  # noqa: SIM115 (held until the process ends)
        except OSError as error:
            raise FileWriteError(f"{command}: nothing can be written in {self.path}: {error.strerror}.") from error
        if not locked(self.lock):
            self.lock.close()
            self.lock = None  # it is the other one's: not ours to remove
            raise FileWriteError(f"{command}: another process is at work in {self.path}. Wait for its end, or stop it.")
        for name in FILES:
            for path in self.path.glob(f".{name}.*.partial"):
                if path.is_file():
                    path.unlink(missing_ok=True)
        self._move_back()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """Let other processes in again."""
        self.release()

    def release(self):
        """Let other processes in again."""
        if self.lock is not None:
            (self.path / ".lock").unlink(missing_ok=True)
            self.lock.close()
            self.lock = None

    # ------------------------------------------------------------ a new run

    @classmethod
    def new(cls, name, out=None, overwrite=False, command="train"):
        """A folder to write to: a new ``runs/NAME-1``, ``-2``, ..., or ``out``.

        Raises
        ------
        RangeError
            ``out`` is a file, or exists and may not be overwritten.
        FileWriteError
            Nothing can be written there.
        """
        if out is not None:
            if not str(out):
                raise RangeError(f"{command}: --out is empty; expected the path of a folder.")
            path = Path(out)
            if path.exists() and not path.is_dir():
                raise RangeError(
                    f"{command}: --out {out} is a file; expected a folder, or a path where one can be made."
                )
            if path.exists() and not overwrite:
                cure = ", or give --overwrite to replace its run" if command == "train" else ""
                raise RangeError(f"{command}: the folder {out} exists. Choose another --out{cure}.")
            cls(path).refuse_what_is_no_run()
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
        else:
            if overwrite:
                raise RangeError(
                    "train: --overwrite needs --out, the folder to overwrite; without it a new folder is made."
                )
            number = 1
            while (path := Path("runs") / f"{name}-{number}").exists():
                number += 1
            made = [path, *([] if path.parent.exists() else [path.parent])]
        folder = cls(path, made)
        try:
            path.mkdir(parents=True, exist_ok=out is not None)
            folder.claim(command)  # and see, better now than after the training, that it can be written to
        except FileExistsError:
            if out is None:
                return cls.new(name)  # another run took the name in the meantime
            raise FileWriteError(f"{command}: a folder {path} cannot be made: a file stands in its way.") from None
        except NotADirectoryError:
            raise FileWriteError(f"{command}: a folder {path} cannot be made: a file stands in its way.") from None
        except FileWriteError:
            folder.remove_if_made()
            raise
        except OSError as error:
            folder.remove_if_made()
            raise FileWriteError(f"{command}: a folder {path} cannot be made: {error.strerror}.") from error
        return folder

    def refuse_what_is_no_run(self):
        """Files that only happen to be called like ours are not overwritten."""
        found = self.contents()
        try:
            is_run = "recipe" in json.loads((self / "settings.json").read_text())
        except (OSError, ValueError, TypeError):
            is_run = self.old.exists() or self.moving.exists()
        if found and not is_run:
            raise RangeError(
                f"train: {self} is not the folder of a run (it has no settings.json of one), but has {', '.join(found)}, "
                "which would be overwritten. Choose another --out, or move these files away."
            )

    def begin(self, settings):
        """Put the files of an older run aside, and write down what this one is."""
        if (self.path / "model.safetensors").exists():  # what was put aside before it was replaced since
            self._remove(self.old)
        if self.old.exists():  # an overwriting run that was killed: the run it was to replace stays aside
            self._remove(self.path)
        try:
            if not self.old.exists() and self.contents():
                self.moving.mkdir()
                for name in self.contents():
                    (self.path / name).replace(self.moving / name)
                self.moving.replace(self.old)
            self.write_settings(settings)
        except BaseException:  # a full disk, Ctrl-C
            self._bring_back()
            self.remove_if_made()
            raise

    def write_settings(self, settings):
        """Write settings.json."""
        about = {
            **asdict(settings),
            "versions": {"tinyae": version("tinyae"), "numpy": np.__version__, "python": platform.python_version()},
        }
        write_whole(self.path / "settings.json", json.dumps(about, indent=2) + "\n")

    def give_up(self):
        """The run ended with nothing to keep: as if it had not been."""
        self._remove(self.path)
        self._bring_back()
        self.remove_if_made()

    def forget_inside(self):
        """The model has changed: pictures of its inside are no longer true."""
        for name in LATER:
            (self / name).unlink(missing_ok=True)

    def keep(self):
        """The run has a model: what it replaces is no longer needed."""
        self._remove(self.old)

    def remove_if_made(self):
        """Remove folders that were made for nothing."""
        self.release()
        for folder in self.made:
            with suppress(OSError):
                folder.rmdir()

    def _bring_back(self):
        """Undo ``begin``."""
        if self.old.exists():
            self.old.replace(self.moving)
        self._move_back()

    def _move_back(self):
        """Bring back files that were on their way, also those that a killed process left there."""
        for name in FILES:
            with suppress(FileNotFoundError):
                (self.moving / name).replace(self.path / name)
        with suppress(FileNotFoundError):
            self.moving.rmdir()

    def _remove(self, folder):
        for name in FILES:
            with suppress(FileNotFoundError, NotADirectoryError):
                (folder / name).unlink()
        if folder == self.old:
            with suppress(OSError):
                folder.rmdir()

    # ------------------------------------------------------------ a run that is there

    @classmethod
    def open(cls, name, path):
        """The folder of a run that was begun; ``name`` is the command that wants it.

        Raises
        ------
        ModelFileError
            There is no folder, or no run in it.
        """
        folder = cls(path)
        if not str(path) or not folder.path.exists():
            raise ModelFileError(f"{name}: there is no folder '{path}'. Give the folder that tinyae train has written.")
        if not folder.path.is_dir():
            raise ModelFileError(
                f"{name}: {path} is a file; expected the folder of a run, such as {folder.path.parent}."
            )
        if folder.moving.exists():
            with folder:
                folder.claim(name)
        if not (folder / "settings.json").is_file():
            inside = sorted(entry.name for entry in folder.path.iterdir())
            runs = [entry for entry in inside if (folder.path / entry / "settings.json").exists()]
            hint = f" There are runs below it: {', '.join(runs[:5])}." if runs else ""
            raise ModelFileError(f"{name}: {path} holds no run: there is no settings.json in it.{hint}")
        return folder

    def settings(self):
        """The RunSettings that ``write_settings`` wrote."""
        path = self / "settings.json"
        try:
            about = json.loads(path.read_text())
            recipe, shape = Recipe.from_settings(about["recipe"]), tuple(map(int, about["example_shape"]))
            kernels = known_name("kernels", about.get("kernels", "fast"), KERNELS)
            return RunSettings(recipe, int(about["seed"]), str(about["backend"]), shape, kernels)
        except (TinyaeError, OSError, ValueError, LookupError, TypeError) as error:
            raise StateError(
                f"{path} is damaged or of another tinyae: {str(error).rstrip('.')}. Restore it from a copy, or train again."
            ) from error

    def model_path(self, name):
        """Where the model is; an unfinished run has none yet."""
        path = self / "model.safetensors"
        if not path.is_file():
            raise ModelFileError(
                f"{name}: the run in {self} has no model yet: it did not come to its end. Finish it with: tinyae resume {self}"
            )
        return path
