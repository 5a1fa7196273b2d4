"""ZeCon in the reader's browser: the page's picture is the package's, and its buttons do what they say."""

from __future__ import annotations

import gzip

import pytest
import torch
from conftest import ROOT

import zecon_lite
from zecon_lite.tiny import world

SCRIPTS = ROOT / "book/assets/browser"
SKIP = 21  # four guided steps: enough to compare, and short
FILES = ("manifest.json", "climb.onnx", "guided.onnx", "text.onnx", "weights.bin")

# A whole run with the random numbers that torch drew, in the order in which the package asked for them.
RUN = """async ({ base, source, draws, skip }) => {
  const load = (src) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src, onload: resolve, onerror: reject });
    document.head.append(script);
  });
  await load(base + "vendor/ort/ort.wasm.min.js");
  await load(base + "browser/zecon.js");
  ort.env.wasm.wasmPaths = new URL(base + "vendor/ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
  const read = async (name) => new Uint8Array(await (await fetch(base + "browser/" + name)).arrayBuffer());
  const manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
  const networks = await zecon.loadNetworks(ort, manifest, read);
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


def test_the_browser_paints_the_picture_that_the_package_paints(page, address, drawn):
    models = zecon_lite.load_models("tiny", "cpu")
    source = world.render(world.held_out_seeds(1)).image
    models.clip.text(["a pencil sketch", "photo"])
    drawn.clear()
    wanted = zecon_lite.stylize(source, "a pencil sketch", models=models, skip=SKIP)
    page.goto(f"{address}/book/in_your_browser.html")
    asked = {"base": "../_static/", "source": source.flatten().tolist(), "draws": list(drawn), "skip": SKIP}
    found = page.evaluate(RUN, asked)
    assert found["left"] == 0, "the script draws fewer numbers than the package"
    picture = torch.tensor(found["picture"]).view_as(source).clamp(-1, 1)
    assert (picture - wanted.image).abs().max() / 2 < 1 / 255
    for step, values in zip(wanted.steps, found["losses"], strict=True):
        assert dict(zip(found["names"], values, strict=True)) == pytest.approx(dict(step.losses), rel=1e-2, abs=1e-5)


def test_the_page_restyles_a_picture_stops_goes_on_and_hands_it_out(page, address, tmp_path):
    page.goto(f"{address}/book/in_your_browser.html", wait_until="networkidle")
    assert part(page, "work").is_hidden()
    part(page, "load").click()
    part(page, "work").wait_for(state="visible", timeout=120_000)
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


def test_all_that_is_loaded_is_under_sixteen_megabytes(html):
    files = [html / "_static/browser" / name for name in FILES]
    files += [p for p in (html / "_static/vendor/ort").iterdir() if p.name != "LICENSE"]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in files) < 16e6
