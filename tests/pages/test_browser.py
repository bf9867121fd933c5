"""`run.html` in a browser: nothing is asked of anybody, nothing is complained of, and neither a mouse nor a wide screen is needed."""

import json
import shutil

import pytest
import tiny_run

from reid import config
from reid.builder import demo, page, runs

pytestmark = pytest.mark.slow

PLACE = "{{NAME: walkers, DOMAIN: {}, IDS: 8, PICTURES: 4}}".format
SMALL = {
    "DATASETS.SOURCES": f"[{PLACE('harbour')}, {PLACE('campus')}]",
    "DATASETS.TARGETS": f"[{PLACE('bridge')}, {PLACE('square')}]",
    "DATALOADER.BATCH_SIZE": "8",
    "DATALOADER.WORKERS": "0",
    "SOLVER.EPOCHS": "1",
    "SOLVER.WARMUP_STEPS": "2",
}


@pytest.fixture(scope="module")
def chromium():
    """Without scripts of the page."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is absent: pip install selenium")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no chromium with its chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as opened:
        yield opened


def of_demo(folder, request):
    """The demo in small."""
    places = {"DATASETS.WALKERS_ROOT": str(folder / "walkers"), "OUTPUT_DIR": str(folder / "run")}
    words = [word for pair in {**SMALL, **places}.items() for word in pair]
    demo.run(config.load("configs/demo.yaml", words))


def of_pku(folder, request):
    """A run of two tiny sources, scored on people of PKU-Reid, whose pictures the page shows here and nowhere else."""
    (folder / "data").mkdir()
    for place in (
        *request.getfixturevalue("tiny_world").iterdir(),
        request.getfixturevalue("real_data") / "pku_reid_dev",
    ):
        (folder / "data" / place.name).symlink_to(place)
    more = {"DATASETS.TARGETS": "[pku_reid]", "LOSSES": "[softmax]", "SOLVER.EPOCHS": "1", "TEST.REPORT": "True"}
    runs.train(tiny_run.build(folder / "data", folder / "run", more))
    page.write([folder / "run"], folder / "run" / page.PAGE, pictures=True)


@pytest.fixture(scope="module", params=[of_demo, of_pku])
def browser(request, chromium, tmp_path_factory):
    """Chromium at the page of a run."""
    folder = tmp_path_factory.mktemp("browser")
    request.param(folder, request)
    chromium.get_log("performance"), chromium.get_log("browser")  # what was before is forgotten
    chromium.get((folder / "run" / page.PAGE).as_uri())
    return chromium


def test_nothing_is_asked_of_anybody_and_the_console_is_empty(browser):
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert [url for url in asked if not url.startswith("data:")] == [browser.current_url]
    assert browser.get_log("browser") == []


def test_every_picture_is_decoded(browser):
    widths = browser.execute_script("return Array.from(document.images, image => image.naturalWidth)")
    assert len(widths) > 100
    assert min(widths) > 0


@pytest.mark.parametrize("width", [320, 360, 400, 1200])
def test_page_is_no_wider_than_the_screen(browser, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_keyboard_reaches_what_there_is(browser):
    def press(key, code):
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            browser.execute_cdp_cmd("Input.dispatchKeyEvent", {**event, **text})

    press("Tab", 9)
    assert browser.switch_to.active_element.text == "To the figures"
    assert browser.switch_to.active_element.is_displayed()
    for _ in range(50):
        press("Tab", 9)
        at = browser.switch_to.active_element
        if at.tag_name == "summary":
            break
    assert at.tag_name == "summary"
    closed = "return document.activeElement.parentElement.open"
    before = browser.execute_script(closed)
    press("Enter", 13)
    assert browser.execute_script(closed) is not before


def test_a_dark_screen_gets_a_dark_page(browser):
    ground = "return getComputedStyle(document.body).backgroundColor"
    found = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        found.append(browser.execute_script(ground))
    assert found == ["rgb(255, 255, 255)", "rgb(22, 22, 22)"]
