"""The folder of a run: never half of two runs, whatever fails on the way, and never another's."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tinyae import runs
from tinyae.errors import FileWriteError, RangeError, TinyaeError
from tinyae.files import locked
from tinyae.runs.folder import RunFolder

from .conftest import kept, listing, quick_train

pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, to be copied."""
    folder = tmp_path_factory.mktemp("trained") / "a"
    runs.train("digits", epochs=2, out=folder, progress=False)
    return folder


# ---------------------------------------------------------------- overwriting


def test_overwriting_keeps_foreign_files_and_the_old_run_until_there_is_a_new_one(monkeypatch):
    quick_train("a")
    Path("a/notes.txt").write_text("mine")
    before = listing("a")

    def interrupted(*arguments, **options):
        assert sorted(os.listdir("a/.tinyae-replaced")) == sorted(set(before) - {"notes.txt"})
        raise TinyaeError("something fails at once")

    with monkeypatch.context() as patch, pytest.raises(TinyaeError, match="at once"):
        patch.setattr("tinyae.runs.training.fit", interrupted)
        quick_train("a", overwrite=True, seed=1)
    assert listing("a") == before
    quick_train("a", overwrite=True, seed=1)
    assert Path("a/notes.txt").read_text() == "mine" and ".tinyae-replaced" not in os.listdir("a")
    assert json.loads(Path("a/settings.json").read_text())["seed"] == 1


@pytest.mark.parametrize("content", ["{}", "// mine", "[1]", None])
def test_files_that_only_happen_to_be_called_like_ours_are_not_overwritten(content):
    os.mkdir("a")
    for name in ("loss.png", ".mine.1-2.partial"):
        Path(f"a/{name}").write_text("mine")
    if content is not None:
        Path("a/settings.json").write_text(content)
    before = listing("a")
    with pytest.raises(RangeError, match="a is not the folder of a run.*loss.png"):
        quick_train("a", overwrite=True)
    assert listing("a") == before
    os.unlink("a/loss.png")
    Path("a/settings.json").unlink(missing_ok=True)
    quick_train("a", overwrite=True, epochs=1)
    assert Path("a/.mine.1-2.partial").read_text() == "mine"


def test_a_folder_of_ones_own_called_previous_is_left_alone():
    quick_train("a")
    os.mkdir("a/previous")
    shutil.copy("a/model.safetensors", "a/previous")
    quick_train("a", overwrite=True, seed=1)
    runs.resume("a", progress=False)
    assert os.listdir("a/previous") == ["model.safetensors"]


def test_an_overwriting_run_that_was_killed_has_the_old_one_beside_it():
    quick_train("a")
    old = kept("a")
    folder = RunFolder("a")
    folder.begin(folder.settings())  # and here it is killed
    assert kept("a/.tinyae-replaced") == old and os.listdir("a/.tinyae-replaced")
    quick_train("a", overwrite=True, seed=1)
    assert kept("a") != old and not os.path.exists("a/.tinyae-replaced")


def test_a_whole_run_takes_the_place_of_an_older_one_put_aside():
    quick_train("a")
    os.mkdir("a/.tinyae-replaced")  # killed between saving the model and removing what it replaces
    Path("a/.tinyae-replaced/settings.json").write_text("older still")
    before = Path("a/model.safetensors").read_bytes()
    folder = RunFolder("a")
    folder.begin(folder.settings())
    assert Path("a/.tinyae-replaced/model.safetensors").read_bytes() == before


@pytest.mark.parametrize("moved", range(8))
@pytest.mark.parametrize("back", [False, True])
def test_a_kill_while_the_old_run_is_put_aside_or_brought_back_loses_nothing(moved, back, trained, monkeypatch):
    shutil.copytree(trained, "a")
    before = listing("a")
    folder = RunFolder("a")
    folder.claim("train")
    if back:
        folder.begin(folder.settings())
    moves, replace = [], Path.replace

    def killed(self, target):
        if len(moves) == moved:
            raise KeyboardInterrupt
        moves.append(self)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.give_up() if back else folder.begin(folder.settings())
    folder.release()
    if back and moved == 0:  # nothing was brought back yet: the old run is whole beside the new one
        assert listing("a/.tinyae-replaced") == before
        return
    RunFolder.open("evaluate", "a")
    assert listing("a") == before


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, FileWriteError])
def test_an_overwriting_run_that_cannot_begin_brings_the_old_one_back(trouble, monkeypatch):
    quick_train("a")
    before = listing("a")

    def fail(*arguments):
        raise trouble("now")

    with monkeypatch.context() as patch, pytest.raises(trouble):
        patch.setattr("tinyae.runs.folder.write_whole", fail)
        quick_train("a", overwrite=True)
    assert listing("a") == before
    with monkeypatch.context() as patch, pytest.raises(trouble):
        patch.setattr("tinyae.runs.folder.write_whole", fail)
        quick_train("b")
    assert not os.path.exists("b")


# ---------------------------------------------------------------- folders made for nothing, files half written


def test_folders_made_for_a_run_that_fails_are_removed(monkeypatch):
    monkeypatch.setattr("tinyae.runs.training.fit", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quick_train("a/b/c")
    assert not os.path.exists("a")


def test_folders_made_for_a_run_that_cannot_begin_are_removed(monkeypatch):
    def fail(self, command):
        raise FileWriteError("nothing can be written")

    monkeypatch.setattr(RunFolder, "claim", fail)
    with pytest.raises(FileWriteError, match="nothing can be written"):
        RunFolder.new("digits", "a/b")
    assert not os.path.exists("a")


def test_a_new_run_clears_away_what_a_killed_one_left_half_written():
    os.mkdir("a")
    Path("a/.model.safetensors.1-2.partial").touch()
    with RunFolder("a") as folder:
        folder.claim("train")
        assert os.listdir("a") == [".lock"]


# ---------------------------------------------------------------- one process at a time


def test_two_processes_do_not_work_in_one_folder():
    quick_train("a")
    with RunFolder.open("resume", "a") as folder:
        folder.claim("resume")
        with pytest.raises(FileWriteError, match="another process is at work in a"):
            runs.resume("a", progress=False)
    runs.resume("a", progress=False)


def test_a_refused_process_leaves_the_lock_alone():
    quick_train("a")
    with RunFolder.open("resume", "a") as folder:
        folder.claim("resume")
        for _ in range(2):
            with pytest.raises(FileWriteError, match="another process"):
                runs.resume("a", progress=False)
            with pytest.raises(FileWriteError, match="another process"):
                quick_train("a", overwrite=True)


def test_a_file_that_was_removed_before_it_was_locked_is_not_locked():
    with open("a", "wb") as file:
        os.unlink("a")
        assert not locked(file)
