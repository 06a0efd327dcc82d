"""Links both ways: an operation to its layers, kernels and tests, a layer to its operations, a kernel to what it computes."""

from functools import cache

from .layout import ROOT, file_address
from .rows import operations_in
from .source import PACKAGE, Place, place_of, source_file
from .subjects import address_of, subjects
from .twins import twins_of


def about_links(subject):
    """The file, the layers that use it, its kernels' files, and the tests that name it."""
    file = subject.place.file
    said = [f'in <a href="{ROOT}{file_address(file)}">{file}</a>' if file_address(file) else f"in {file}"]
    used = [layer for layer, applied in operations_of_layers().items() if subject.thing in applied]
    if used:
        said.append("used by " + ", ".join(f'<a href="{ROOT}{layer.address}">{layer.name}</a>' for layer in used))
    if subject.kind == "layers":
        applied = operations_of_layers()[subject]
        if applied:
            links = (f'<a href="{ROOT}{address_of(place_of(cls))}">{cls.name}</a>' for cls in applied)
            said.append("computes by " + ", ".join(links))
    tests = tests_about(subject)
    if tests:
        said.append("tested in " + ", ".join(f"<code>{name}</code>" for name in tests))
    return f'<p class="where">{"; ".join(said)}.</p>'


@cache
def operations_of_layers():
    """{layer's Subject: the operations that its class, or a parent, applies}."""
    found = {}
    for subject in subjects():
        if subject.kind == "layers":
            places = [subject.place, *source_file(subject.place.file).bases(subject.place.name)]
            found[subject] = [
                cls
                for place in places
                if place.name != "Module"
                for cls in operations_in(source_file(place.file), source_file(place.file).node(place.name))
            ]
    return found


def tests_about(subject):
    """The three test files that name it most, where the tests are beside the package."""
    words = (
        f'"{subject.name}"',
        f"ops.{subject.thing.__name__}",
        f"ta.{subject.name}(",
        f"ta.{subject.thing.__name__}(",
    )
    if subject.kind in ("layers", "optimizers"):
        words = (f"ta.{subject.thing.__name__}(", f"nn.{subject.thing.__name__}(", f"optim.{subject.thing.__name__}")
    found = {name: sum(text.count(word) for word in words) for name, text in tests().items()}
    return [name for name in sorted(found, key=found.get, reverse=True) if found[name]][:3]


@cache
def tests():
    """{path: text} of the tests."""
    folder = PACKAGE.parent / "tests"
    return {f"tests/{path.name}": path.read_text(encoding="utf-8") for path in sorted(folder.glob("test_*.py"))}


@cache
def replaced():
    """{Place or Piece of a kernel, Place of a twin's class: the Subjects that it computes}."""
    found = {}
    for subject in subjects():
        if subject.thing is None or subject.kind == "layers":
            continue
        for methods in twins_of(subject.thing).values():
            for twin in methods.values():
                owner = Place(twin.method.file, twin.method.name.split(".")[0])
                for key in (owner, *twin.kernels):
                    found.setdefault(key, {})[subject] = None
    return found


def replaced_by(key):
    """What a kernel computes, as links; nothing for what is no kernel."""
    what = replaced().get(key)
    if not what:
        return ""
    links = ", ".join(f'<a href="{ROOT}{subject.address}">{subject.name}</a>' for subject in what)
    return f'<p class="what">computes {links}</p>'
