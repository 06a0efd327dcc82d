"""The page of a tape in a real browser, headless Chromium: what a reader sees, and that nothing is asked of the network."""

import shutil
import time

import numpy as np
import pytest

import tinyae as ta
from tinyae.explain import example
from tinyae.explain.stepper import page
from tinyae.explain.stepper.contents import SMALL

from .stepped import images, meeting, values_of

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium: one that is installed, else that of Playwright; skipped, with the reason, if there is neither."""
    api = pytest.importorskip("playwright.sync_api", reason="no browser: needs the package playwright")
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no browser: Chromium does not start: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The pages, made once: {name: (tape, path)}."""
    folder = tmp_path_factory.mktemp("pages")
    tapes = {"small": example.step_by_step(), "meeting": meeting(), "images": images()}
    for name, tape in tapes.items():
        tape.save(folder / f"{name}.html")
    return {name: (tape, folder / f"{name}.html") for name, tape in tapes.items()}


@pytest.fixture
def opened(browser, files):
    """Opens a page; at the end there must have been no request but for the file itself, and nothing on the console."""
    pages, requests, said = [], [], []

    def open_page(name, place="", **settings):
        tape, path = files[name]
        view = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **settings})
        pages.append(view)
        view.on("request", lambda request: requests.append(request.url.split("#")[0]))
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.goto(path.as_uri() + place)
        return view, tape.steps()

    yield open_page
    for view in pages:
        view.close()
    files_asked = {path.as_uri() for _, path in files.values()}
    assert [url for url in requests if url not in files_asked and not url.startswith("data:")] == []
    assert said == []


def place(view):
    """The number of the step that is shown."""
    return int(view.locator("#place").inner_text().split("/")[0])


# the numbers of each card of the step, in order: all digits
CARDS = """() => [...document.querySelectorAll('#step .card')].map(
    card => [...card.querySelectorAll('.grid [data-value]')].map(cell => cell.dataset.value))"""


def shown(view):
    """The cards of a step as lists of numbers."""
    return [[float(text) for text in card] for card in view.evaluate(CARDS)]


def assert_shows(view, step):
    """The numbers of the cards are the tape's, to the bit; of images, one grid for each example and channel."""
    cards = shown(view)
    values = values_of(step)
    assert len(cards) == len(values), step
    for value, numbers in zip(values, cards):
        if value.array.size > SMALL:
            assert numbers == []
            continue
        expected = np.moveaxis(value.array, -1, 1) if value.array.ndim == 4 else value.array
        assert np.array(numbers).astype(value.dtype).tobytes() == expected.tobytes(), (step, value.label)


@pytest.mark.parametrize("name, way", [("small", "key"), ("small", "button"), ("meeting", "key")])
def test_every_step_is_reached_and_shows_the_tapes_numbers(name, way, opened):
    view, steps = opened(name)
    for step in steps:
        assert place(view) == step.number
        heading = view.locator("#step h2").inner_text()
        assert step.phase in heading and step.name in heading
        assert_shows(view, step)
        assert view.locator("#step .formula .katex").count() > 0 and view.locator(".katex-error").count() == 0
        assert view.locator("#program li.current").inner_text().strip() == step.code
        view.locator("#next").click() if way == "button" and step is not steps[-1] else view.keyboard.press(
            "ArrowRight"
        )
    for step in steps[::-1]:
        assert place(view) == step.number
        view.locator("#back").click() if way == "button" and step is not steps[0] else view.keyboard.press("ArrowLeft")


def test_first_last_slider_address_and_graph_lead_to_steps(opened):
    view, steps = opened("small", "#step=7")
    assert place(view) == 7
    view.keyboard.press("End")
    assert place(view) == len(steps) and view.locator("#next").is_disabled()
    view.locator("#first").click()
    assert place(view) == 1
    view.locator("#last").click()
    view.keyboard.press("Home")
    assert place(view) == 1
    view.locator("#slider").fill("4")
    assert place(view) == 4 and view.evaluate("location.hash") == "#step=4"
    view.evaluate("location.hash = '#step=9'")
    view.wait_for_function("document.getElementById('place').textContent.startsWith('9 ')")
    view.locator("#graph .node.operation", has_text="tanh").click()
    assert place(view) == 2
    view.locator("#graph .node.operation", has_text="tanh").click()  # once more: its backward step
    back = steps[place(view) - 1]
    assert back.phase == "backward" and back.name == "tanh"


def test_it_plays(opened):
    view, _ = opened("small")
    view.clock.install()
    view.reload()
    view.keyboard.press(" ")
    view.clock.run_for(4000)
    assert place(view) == 3 and view.locator("#play").get_attribute("aria-pressed") == "true"
    view.keyboard.press("ArrowLeft")
    view.clock.run_for(4000)
    assert place(view) == 2 and view.locator("#play").get_attribute("aria-pressed") == "false"


def test_what_is_not_computed_yet_is_said_so_and_is_never_zero(opened):
    view, steps = opened("small")
    for step in steps:
        rows = view.evaluate(
            "() => [...document.querySelectorAll('#known tr[data-node]')].map(row => [row.dataset.node, ...[...row.querySelectorAll"
            "(':scope > td')].map(cell => [cell.innerText, cell.querySelectorAll('[data-value]').length])])"
        )
        made = {f"s{one.number}" for one in steps if one.phase == "forward"}
        known = {f"s{one.number}" for one in steps[: step.number] if one.phase == "forward"}
        for node, value, _ in rows:
            if node in made - known:
                assert value == ["not computed yet", 0]
            else:
                assert value[1] > 0, (step, node, value)
        pending = view.locator("#graph .node.operation.pending").count()
        updates = sum(one.phase == "update" for one in steps[step.number :])
        assert pending == len(made - known) + updates
        waiting = [node for node, _, gradient in rows if gradient == ["not computed yet", 0]]
        assert bool(waiting) == (step.number < max(s.number for s in steps if s.phase == "backward"))
        view.keyboard.press("ArrowRight")


def test_where_gradients_meet_the_running_sum_is_shown(opened):
    view, steps = opened("meeting")
    met = [step for step in steps if any(pull.before is not None for pull in step.pulls)]
    assert len(met) >= 3
    for step in met:
        view.evaluate(f"location.hash = '#step={step.number}'")
        view.wait_for_function(f"document.getElementById('place').textContent.startsWith('{step.number} ')")
        meeting_pulls = sum(pull.before is not None for pull in step.pulls)
        assert view.locator("#step .sign", has_text="+").count() == meeting_pulls
        assert_shows(view, step)


def test_an_element_of_the_result_has_its_own_formula(opened):
    view, steps = opened("small")
    value = steps[0].output.array
    for i in range(value.size):
        view.locator(f"#step .result [data-element='{i}']").click()
        tex = view.locator("#step .one annotation").text_content()
        row, column = np.unravel_index(i, value.shape)
        assert tex.startswith(rf"\displaystyle Y_{{{row}{column}}} =")
        assert float(tex.split("=")[-1]) == pytest.approx(float(value.ravel()[i]), rel=1e-3)
    view.keyboard.press("End")
    assert "0.5" in view.locator("#step .one annotation").first.text_content()  # the learning rate


def test_predict_first_hides_the_result_until_it_is_asked_for(opened):
    view, steps = opened("small")
    view.keyboard.press("p")
    for step in steps:
        text = view.locator("#step").inner_text() + view.locator("#known").inner_text()
        values = [step.output] if step.phase == "forward" else [p.gradient for p in step.pulls]
        values += [u.parameter_after for u in step.updates]
        cells = shown(view)
        hidden = {id(value) for value in values}
        for value in values:
            assert value.array.astype(float).ravel().tolist() not in cells or any(
                np.array_equal(value.array, other.array) for other in values_of(step) if id(other) not in hidden
            )
        assert "?" in text and view.locator("#guess").is_visible()
        view.keyboard.press("ArrowRight")
    view.keyboard.press("Home")
    truth = float(steps[0].output.array.ravel()[4])
    view.locator("#step [data-element='4']").click()
    view.locator("#guess").fill(str(round(truth + 0.5, 3)))
    view.keyboard.press("Enter")
    assert "off by 0.5" in view.locator(".answer").inner_text()
    view.locator("#guess").fill("p v 3")  # keys that do something elsewhere are letters here
    view.keyboard.press("Enter")
    assert "Type a number" in view.locator(".answer").inner_text()
    view.locator("#reveal").click()
    assert_shows(view, steps[0])
    view.keyboard.press("ArrowRight")
    assert view.locator("#guess").is_visible()
    view.keyboard.press("v")
    assert_shows(view, steps[1])
    view.locator("#predict").click()
    view.keyboard.press("ArrowRight")
    assert_shows(view, steps[2])


def test_large_arrays_are_pictures_with_their_range(opened):
    view, steps = opened("images")
    output = steps[0].output
    scale = view.locator("#step .result .range [data-value]")
    assert [float(scale.nth(i).get_attribute("data-value")) for i in (0, 1)] == [output.low, output.high]
    picture = view.locator("#step .result canvas.map")
    colours = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    assert picture.evaluate(colours) > 10
    for step in steps:
        assert view.locator(".katex-error").count() == 0
        assert_shows(view, step)
        view.keyboard.press("ArrowRight")


def test_a_long_tape_shows_the_part_around_the_step(browser, tmp_path):
    x = ta.Tensor(np.random.default_rng(0).random((3, 3)), requires_grad=True)
    with ta.trace() as tape:
        y = x
        for _ in range(300):
            y = ta.tanh(y * x)
        y.sum().backward()
    tape.save(tmp_path / "long.html")
    view = browser.new_page()
    started = time.perf_counter()
    view.goto((tmp_path / "long.html").as_uri())
    view.locator("#step h2").wait_for()
    assert time.perf_counter() - started < 2 and "operations were seen" in view.locator("#note").inner_text()
    for number in (1, 300, 500, tape.kept):
        view.locator("#slider").fill(str(number))
        assert place(view) == number and view.locator("#graph .node.current").is_visible()
        assert 20 < view.locator("#graph .node").count() < 120
    view.close()


@pytest.mark.parametrize("name", ["small", "images"])
def test_it_opens_in_less_than_two_seconds(name, opened):
    started = time.perf_counter()
    view, _ = opened(name)
    view.locator("#step h2").wait_for()
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme, opened):
    view, _ = opened("images", color_scheme=scheme)
    brightness = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b)"
    light = view.evaluate(brightness) > 380
    assert light == (scheme == "light")
    view.locator("#theme").click()
    assert (view.evaluate(brightness) > 380) != light


def test_on_a_telephone_nothing_sticks_out(opened):
    view, steps = opened("small", viewport={"width": 390, "height": 844})
    for step in steps:
        assert view.evaluate("document.documentElement.scrollWidth") <= 390, step
        assert view.locator("#graph .node.current").is_visible()
        view.locator("#next").click() if step is not steps[-1] else None


def test_on_paper_all_steps_follow_one_another(opened):
    view, steps = opened("meeting")
    view.evaluate("dispatchEvent(new Event('beforeprint'))")
    view.emulate_media(media="print")
    assert view.locator("#printed article").count() == len(steps)
    assert view.locator("#printed article").first.is_visible() and not view.locator("main").is_visible()
    assert view.locator("#printed .katex-error").count() == 0 and view.locator("#printed button").count() == 0


def test_names_with_markup_are_shown_as_they_are(browser, tmp_path):
    x = ta.Tensor([1.0, 2.0], requires_grad=True)
    with ta.trace() as tape:
        (x * 2.0).sum().backward()  # </script><script>document.title = "broken"</script>
    page.save(tape, tmp_path / "odd.html", title="</title><b>odd</b>")
    view = browser.new_page()
    view.goto((tmp_path / "odd.html").as_uri())
    assert view.title() == "</title><b>odd</b>" and "</script><script>document" in view.locator("#program").inner_text()
    view.close()


def test_odd_tapes_open_without_a_complaint(browser, tmp_path):
    with ta.trace() as empty:
        pass
    x = ta.Tensor(np.array([[0.0, -1.0, 2.0]] * 80, "float32"), requires_grad=True)
    with np.errstate(all="ignore"), ta.trace() as broken:
        x.log().mean(axis=0).backward(np.ones(3, "float32"))
    said = []
    for name, tape in (("empty", empty), ("broken", broken)):
        page.save(tape, tmp_path / f"{name}.html")
        view = browser.new_page()
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.goto((tmp_path / f"{name}.html").as_uri())
        for _ in tape.steps():
            view.keyboard.press("ArrowRight")
        assert said == [] and view.locator("#step").inner_text() != ""
        view.close()


def test_a_notebooks_frame_works(browser, files):
    view = browser.new_page()
    said = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.set_content(f"<body>{files['small'][0]._repr_html_()}</body>")
    frame = view.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#place").inner_text().startswith("2 /") and said == []
    view.close()
