"""ZeCon in the reader's browser: the page's picture is the package's, and its buttons do what they say."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest
import torch
from browser import find_browser
from PIL import Image

import zecon_lite
from zecon_lite.tiny import world

SKIP = 21  # four guided steps: enough to compare, and short
ON_THE_CARD = 24  # one: a graphics card that is a program takes its time
SCRIPTS = {"wasm": "ort.wasm.min.js", "webgpu": "ort.jspi.min.js"}
FILES = ("manifest.json", "climb.onnx", "guided.onnx", "text.onnx", "weights.bin")

# A whole run with the random numbers that torch drew, in the order in which the package asked for them.
RUN = """async ({ base, source, draws, skip, engine, script }) => {
  const load = (src) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src, onload: resolve, onerror: reject });
    document.head.append(script);
  });
  await load(base + "vendor/ort/" + script);
  await load(base + "browser/zecon.js");
  ort.env.wasm.wasmPaths = new URL(base + "vendor/ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const read = async (name) => new Uint8Array(await (await fetch(base + "browser/" + name)).arrayBuffer());
  const manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
  const networks = await zecon.loadNetworks(ort, manifest, read, engine);
  const take = (kind, n) => {
    const [drawn, values] = draws.shift();
    if (drawn !== kind || values.length !== n) throw new Error(`${kind} ${n} asked, ${drawn} ${values.length} drawn`);
    return values;
  };
  const random = {
    normal: (n) => Float32Array.from(take("randn", n)),
    uniform: (n) => Float64Array.from(take("rand", n)),
    permutation: (n) => Int32Array.from(take("randperm", n)),
  };
  const { recipe, schedule } = manifest, first = schedule.timesteps.length - skip - 1;
  const texts = { prompt: await networks.text("a pencil sketch"), source: await networks.text("photo") };
  let x = Float32Array.from(source), losses = [];
  for await (x of zecon.invert(networks, schedule, x, first));
  const positions = Array.from({ length: first + 1 }, (_, k) => first - k);
  const steps = zecon.sample(networks, schedule, recipe, x, positions, Float32Array.from(source), texts, random);
  for await (const step of steps) { x = step.x; losses.push(step.losses); }
  return { picture: Array.from(x), losses, left: draws.length, names: recipe.names };
}"""


def part(page, name):
    return page.locator(f'#zecon-browser [data-part="{name}"]')


def until(page, said):
    """Wait until the page says something that holds this."""
    page.wait_for_function(
        "said => document.querySelector('[data-part=status]').textContent.includes(said)", arg=said, timeout=120_000
    )


@pytest.fixture
def drawn(monkeypatch):
    """What torch draws, as (function, numbers), in order."""
    calls = []

    def recorded(name, draw):
        def drawing(*args, **options):
            numbers = draw(*args, **options)
            calls.append((name, numbers.flatten().tolist()))
            return numbers

        return drawing

    for name in ("randn", "rand", "randperm"):
        monkeypatch.setattr(torch, name, recorded(name, getattr(torch, name)))
    return calls


@pytest.fixture(scope="module")
def card(chromium):
    """A browser in which the processor plays the graphics card: slow, and with a card's arithmetic."""
    flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    browser = chromium.browser_type.launch(executable_path=find_browser(), args=flags)
    yield browser
    browser.close()


@pytest.fixture
def card_page(card, address):
    """The page in that browser."""
    page = card.new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{address}/book/in_your_browser.html?engine=webgpu")
    offered = "async () => 'Suspending' in WebAssembly && !!(await navigator.gpu?.requestAdapter())"
    if not page.evaluate(offered):
        pytest.skip("this browser offers no WebGPU in software, or cannot wait for it inside WebAssembly")
    yield page
    page.close()


def compared(page, drawn, skip, engine):
    """The package's result, and what the page's script makes of the same random numbers."""
    models = zecon_lite.load_models("tiny", "cpu")
    source = world.render(world.held_out_seeds(1)).image
    models.clip.text(["a pencil sketch", "photo"])
    drawn.clear()
    wanted = zecon_lite.stylize(source, "a pencil sketch", models=models, skip=skip)
    asked = {"base": "../_static/", "source": source.flatten().tolist(), "draws": list(drawn), "skip": skip}
    found = page.evaluate(RUN, asked | {"engine": engine, "script": SCRIPTS[engine]})
    assert found["left"] == 0, "the script draws fewer numbers than the package"
    for step, values in zip(wanted.steps, found["losses"], strict=True):
        assert dict(zip(found["names"], values, strict=True)) == pytest.approx(dict(step.losses), rel=1e-2, abs=1e-5)
    return wanted.image, torch.tensor(found["picture"]).view_as(source).clamp(-1, 1)


def test_the_browser_paints_the_picture_that_the_package_paints(page, address, drawn):
    page.goto(f"{address}/book/in_your_browser.html")
    wanted, picture = compared(page, drawn, SKIP, "wasm")
    assert (picture - wanted).abs().max() / 2 < 1 / 255


@pytest.mark.skipif("ZECON_LITE_SLOW" not in os.environ, reason="a card that is a program: set ZECON_LITE_SLOW=1")
def test_a_graphics_card_paints_it_too(card_page, drawn):
    wanted, picture = compared(card_page, drawn, ON_THE_CARD, "webgpu")
    assert (picture - wanted).abs().max() / 2 < 1 / 255


def test_the_page_restyles_a_picture_stops_goes_on_and_hands_it_out(page, address, tmp_path):
    page.goto(f"{address}/book/in_your_browser.html")
    assert part(page, "work").is_hidden()
    part(page, "load").click()
    part(page, "work").wait_for(state="visible", timeout=120_000)
    assert part(page, "engine").inner_text() == "Runs on your processor."
    page.wait_for_function("() => !document.querySelector('[data-part=run]').disabled")
    before = part(page, "after").evaluate("canvas => canvas.toDataURL()")
    part(page, "start").fill(str(24 - SKIP))
    assert "4 of 25" in part(page, "start-value").inner_text()
    part(page, "prompt").fill("a mosaic")
    part(page, "run").click()
    part(page, "stop").click()
    until(page, "Stopped")
    stopped = int(part(page, "progress").evaluate("bar => bar.value"))
    assert part(page, "download").is_disabled()
    part(page, "resume").click()
    until(page, "Done")
    assert int(part(page, "progress").evaluate("bar => bar.value")) == 7 > stopped
    assert part(page, "after").evaluate("canvas => canvas.toDataURL()") != before
    assert "zecon" in part(page, "losses").inner_text()
    part(page, "compare").focus()
    page.keyboard.press("Home")
    assert part(page, "after").evaluate("canvas => canvas.style.getPropertyValue('--shown')") == "0%"
    with page.expect_download() as handed:
        part(page, "download").click()
    assert handed.value.suggested_filename == "a-mosaic.png"
    assert page.faults == []


def test_a_file_that_is_no_picture_and_an_unknown_word_are_said(page, address, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    page.goto(f"{address}/book/in_your_browser.html")
    part(page, "load").click()
    part(page, "work").wait_for(state="visible", timeout=120_000)
    until(page, "Ready")
    part(page, "file").set_input_files(tmp_path / "notes.png")
    until(page, "could not be read")
    part(page, "prompt").fill("")
    part(page, "run").click()
    assert "Say what the picture should become" in part(page, "status").inner_text()


# -------------------------------------------------------- the page alone, with a worker that says what a test tells it

OBEDIENT = """
const test = new BroadcastChannel("test");
test.onmessage = ({ data }) => postMessage(data);
onmessage = async ({ data }) => {
  test.postMessage(JSON.stringify(data));
  if ("load" in data) postMessage({ loaded: await (await fetch("manifest.json")).json() });
};"""
# What the page asked its worker for, and a way to let the worker answer.
CHANNEL = """
const channel = new BroadcastChannel("test");
window.asked = [];
window.heard = [];
channel.onmessage = ({ data }) => asked.push(JSON.parse(data));
window.answer = (data) => channel.postMessage(data);
document.addEventListener("DOMContentLoaded", () => {
  const status = document.querySelector("[data-part=status]");
  new MutationObserver(() => heard.push(status.textContent)).observe(status, { childList: true });
});"""
STEP = """(last) => answer({ step: { phase: "guiding", done: 1, all: 2, losses: [0, 0, 0, 0, 0, 0], last,
    picture: new Float32Array(3 * 64 * 64).fill(1) } })"""


def script(context, body):
    """What stands for worker.js."""
    context.unroute("**/worker.js")
    context.route("**/worker.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))


@pytest.fixture
def obedient(page, address):
    """The page with its controls shown, and a worker that only does what a test says."""
    script(page.context, OBEDIENT)
    page.add_init_script(CHANNEL)
    page.goto(f"{address}/book/in_your_browser.html")
    part(page, "load").click()
    until(page, "Ready")
    return page


def able(page, *names):
    """Which of these controls can be used."""
    return [name for name in names if part(page, name).is_enabled()]


CONTROLS = ("run", "stop", "resume", "download", "file")


@pytest.mark.parametrize("script", ["worker", "zecon"])
def test_the_page_s_scripts_pass_their_own_tests(node, script):
    tests = Path(__file__).parent / f"js/{script}.test.mjs"
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_keeps_its_picture_and_another_picture_ends_a_pause(obedient):
    pictures = part(obedient, "pictures").get_by_role("button")
    assert able(obedient, *CONTROLS) == ["run", "file"]
    part(obedient, "run").click()
    assert able(obedient, *CONTROLS) == ["stop"] and pictures.nth(1).is_disabled()
    shown = "canvas => canvas.toDataURL()"
    before = part(obedient, "before").evaluate(shown)
    obedient.evaluate("""async () => {
        const files = new DataTransfer(), other = document.querySelectorAll("#zecon-browser img")[2];
        files.items.add(new File([await (await fetch(other.src)).blob()], "dropped.png"));
        document.getElementById("zecon-browser").dispatchEvent(new DragEvent("drop", { dataTransfer: files }));
        await new Promise((resolve) => setTimeout(resolve, 300));
    }""")
    assert part(obedient, "before").evaluate(shown) == before
    obedient.evaluate("answer({ stopped: true })")
    until(obedient, "Stopped")
    assert able(obedient, *CONTROLS) == ["run", "resume", "file"]
    pictures.nth(1).click()
    until(obedient, "Ready")
    assert able(obedient, *CONTROLS) == ["run", "file"] and obedient.faults == []


def test_the_last_picture_that_was_asked_for_is_taken_however_slow_another_is(obedient):
    obedient.evaluate("""() => {
        const make = createImageBitmap;
        window.calls = 0;
        window.createImageBitmap = async (picture) => {
          if (!window.calls++) await new Promise((resolve) => setTimeout(resolve, 300));
          return make(picture);
        };
    }""")
    slow, quick = (part(obedient, "pictures").get_by_role("button").nth(k) for k in (1, 2))
    slow.click()
    quick.click()
    obedient.wait_for_timeout(600)
    name = quick.get_by_role("img").get_attribute("alt")
    assert part(obedient, "status").inner_text().startswith(f"{name}, cut to a square")
    assert [button.get_attribute("aria-pressed") for button in (slow, quick)] == ["false", "true"]


def test_no_run_begins_while_a_picture_is_being_read(obedient):
    obedient.evaluate("""() => {
        const make = createImageBitmap;
        const wait = (picture) => new Promise((resolve) => { window.read = () => resolve(make(picture)); });
        window.createImageBitmap = wait;
    }""")
    part(obedient, "pictures").get_by_role("button").nth(1).click()
    until(obedient, "Reading ")
    assert "run" not in able(obedient, *CONTROLS)
    obedient.wait_for_function("() => window.read")
    obedient.evaluate("read()")
    until(obedient, "Ready")
    assert "run" in able(obedient, *CONTROLS)


def test_words_for_which_there_is_no_room_are_told(obedient):
    part(obedient, "prompt").fill("a cat on the floor by the house with flowers and a dark sky as a pencil sketch")
    part(obedient, "run").click()
    said = part(obedient, "note").inner_text()
    assert "has no room for so many words, and does not read:" in said and said.rstrip().endswith("prompt shorter.")


def test_a_run_that_goes_on_says_that_the_controls_have_changed_since(obedient):
    for changed in (False, True):
        part(obedient, "prompt").fill("a mosaic")
        part(obedient, "run").click()
        obedient.evaluate(STEP, False)
        obedient.evaluate("answer({ stopped: true })")
        until(obedient, "Stopped")
        if changed:
            part(obedient, "prompt").fill("a pencil sketch")
        part(obedient, "resume").click()
        assert ("goes on as it began" in part(obedient, "note").inner_text()) == changed
        obedient.evaluate("answer({ ended: true })")
        until(obedient, "Done")


def test_nothing_of_the_last_run_stands_beside_another_picture(obedient):
    part(obedient, "run").click()
    obedient.evaluate(STEP, True)
    obedient.evaluate("answer({ ended: true })")
    until(obedient, "Done")
    part(obedient, "pictures").get_by_role("button").nth(1).click()
    until(obedient, "Ready")
    assert part(obedient, "losses").inner_text() == part(obedient, "step").inner_text() == ""
    assert part(obedient, "progress").evaluate("bar => bar.value") == 0


def test_the_pictures_of_the_page_need_no_network_once_they_are_there(obedient):
    # "Ready" waits for the first picture alone
    obedient.wait_for_function("[...document.querySelectorAll('[data-part=pictures] img')].every(one => one.complete)")
    obedient.context.set_offline(True)
    part(obedient, "pictures").get_by_role("button").nth(2).click()
    name = part(obedient, "pictures").get_by_role("img").nth(2).get_attribute("alt")
    until(obedient, f"{name}, cut to a square")
    assert obedient.faults == []


def test_the_same_file_may_come_again(obedient, tmp_path):
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    for _ in range(2):
        part(obedient, "file").set_input_files(tmp_path / "red.png")
        until(obedient, "red.png, cut to a square")
        assert part(obedient, "file").input_value() == ""
        part(obedient, "pictures").get_by_role("button").first.click()
        until(obedient, "Ready")


def test_what_is_handed_out_is_named_after_the_run_that_made_it(obedient):
    part(obedient, "prompt").fill("a mosaic")
    part(obedient, "run").click()
    obedient.evaluate(STEP, True)
    obedient.evaluate("answer({ ended: true })")
    until(obedient, "Done")
    part(obedient, "prompt").fill("a pencil sketch")
    with obedient.expect_download() as handed:
        part(obedient, "download").click()
    assert handed.value.suggested_filename == "a-mosaic.png"
    part(obedient, "run").click()
    assert able(obedient, *CONTROLS) == ["stop"]                # what is shown now is no result
    obedient.evaluate("answer({ failed: 'a driver is gone' })")
    until(obedient, "That did not work: a driver is gone")
    assert able(obedient, *CONTROLS) == ["run", "file"]


@pytest.mark.parametrize(("prompt", "why"), [
    (" ", "Say what the picture should become"),
    ("!!!", "knows no word of this prompt"),
    ("水墨画", "knows no word of this prompt"),
    ("zwxq", "knows no word of this prompt"),
    ("Photo!", "taken for a photo already"),
])
def test_a_prompt_that_leads_nowhere_is_refused(obedient, prompt, why):
    part(obedient, "prompt").fill(prompt)
    part(obedient, "run").click()
    until(obedient, why)
    assert able(obedient, *CONTROLS) == ["run", "file"] and len(obedient.evaluate("asked")) == 1    # to load


def test_unknown_words_stay_said_and_each_step_is_not_read_out(obedient):
    part(obedient, "prompt").fill("a zwxq sketch")
    obedient.evaluate("heard.length = 0")
    part(obedient, "run").click()
    obedient.evaluate(STEP, False)
    part(obedient, "step").filter(has_text="guiding: step 1 of 2").wait_for()
    assert "does not know: zwxq." in part(obedient, "note").inner_text()
    obedient.evaluate("answer({ ended: true })")
    until(obedient, "Done")
    assert obedient.evaluate("heard") == ["Running ...", "Done. Move the slider to compare."]
    part(obedient, "prompt").fill("a mosaic")
    part(obedient, "run").click()
    assert part(obedient, "note").inner_text() == ""


def test_controls_say_what_they_are_set_to_and_the_first_has_the_focus(obedient):
    first = part(obedient, "pictures").get_by_role("button").first
    assert first.evaluate("button => button === document.activeElement")
    part(obedient, "start").fill(str(24 - SKIP))
    for name, said in (("start", "t₀ = 125, 4 of 25 steps"), ("weight", "1.0 times the recipe's")):
        assert part(obedient, f"{name}-value").inner_text() == said
        assert part(obedient, name).get_attribute("aria-valuetext") == said


@pytest.mark.parametrize("broken", [
    "onmessage = () => postMessage({ failed: 'weights.bin could not be read (503)' });", "throw new Error('a slip');",
])
def test_a_failed_load_may_be_tried_again(page, address, broken):
    page.goto(f"{address}/book/in_your_browser.html")
    script(page.context, broken)
    part(page, "load").click()
    until(page, "That did not work")
    assert "folder" not in part(page, "status").inner_text()
    script(page.context, OBEDIENT)
    part(page, "load").click()
    until(page, "Ready")
    assert not [fault for fault in page.faults if "a slip" not in fault]


def test_a_page_from_a_folder_says_that_it_must_be_served(page, html):
    page.goto((html / "book/in_your_browser.html").as_uri())
    part(page, "load").click()
    until(page, "cannot be loaded from a folder: serve the book")
    assert part(page, "load").is_enabled()


# ------------------------------------------------------------------------------------------------- the graphics card

# A runtime that opens every network and then runs none, as when a driver resets the card.
LOST = """var ort = { env: { wasm: {} }, Tensor: class {}, InferenceSession: { create: async () => ({
  run: async () => { throw new Error("the device was lost"); } }) } };"""


@pytest.mark.parametrize("moment", ["loading", "running"])
def test_what_fails_on_the_graphics_card_is_done_on_the_processor(card_page, moment):
    if moment == "loading":
        card_page.context.route("**/*.jspi.wasm", lambda route: route.abort())
    else:
        lost = {"body": LOST, "content_type": "text/javascript"}
        card_page.context.route(f"**/{SCRIPTS['webgpu']}", lambda route: route.fulfill(**lost))
    part(card_page, "load").click()
    until(card_page, "Ready")
    if moment == "running":
        assert part(card_page, "engine").inner_text() == "Runs on your graphics card."
        part(card_page, "start").fill("1")
        part(card_page, "run").click()
        until(card_page, "Done")
    assert part(card_page, "engine").inner_text() == "Runs on your processor, for the graphics card gave up."


def test_a_card_that_is_only_a_program_is_not_taken_unasked(card_page, address):
    card_page.goto(f"{address}/book/in_your_browser.html")
    part(card_page, "load").click()
    until(card_page, "Ready")
    assert part(card_page, "engine").inner_text() == "Runs on your processor."


@pytest.mark.parametrize("engine", SCRIPTS)
def test_all_that_is_loaded_is_under_sixteen_megabytes(html, engine):
    runtime = {"wasm": "ort-wasm-simd-threaded", "webgpu": "ort-wasm-simd-threaded.jspi"}[engine]
    files = [html / "_static/browser" / name for name in (*FILES, "page.js", "page.css", "worker.js", "zecon.js")]
    files += [html / "_static/vendor/ort" / name for name in (SCRIPTS[engine], f"{runtime}.mjs", f"{runtime}.wasm")]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in files) < 16e6
