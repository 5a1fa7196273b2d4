"""ZeCon in the reader's browser: the page's picture is the package's, and its buttons do what they say."""

from __future__ import annotations

import gzip
import os

import pytest
import torch
from browser import find_browser

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
    page.goto(f"{address}/book/in_your_browser.html", wait_until="networkidle")
    assert part(page, "work").is_hidden()
    part(page, "load").click()
    part(page, "work").wait_for(state="visible", timeout=120_000)
    assert part(page, "engine").inner_text() == "Runs on your processor."
    page.wait_for_function("() => !document.querySelector('[data-part=run]').disabled")
    before = part(page, "after").evaluate("canvas => canvas.toDataURL()")
    part(page, "skip").fill(str(SKIP))
    assert "4 of 25" in part(page, "skip-value").inner_text()
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
        part(card_page, "skip").fill("23")
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
