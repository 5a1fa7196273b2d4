"""The pieces of HTML that the panel shows: pictures, sentences, code to copy."""

from __future__ import annotations

import base64
from html import escape

from torch import Tensor

from .charts import sheet

SHOWN = 192    # least side of a picture on the page, in pixels; smaller ones are enlarged by a whole number
# A click is all that the old command asks for. The new one, navigator.clipboard, wants a permission in Colab's frames.
COPY = (
    "const box = this.parentElement.querySelector('textarea'); box.select(); document.execCommand('copy'); "
    "this.textContent = 'Copied'; setTimeout(() => { this.textContent = 'Copy'; }, 2000);"
)

KEPT = 'data-lm-suppress-shortcuts="true"'    # JupyterLab leaves the keys that are pressed here alone


def picture_box(picture: Tensor, alt: str, caption: str) -> str:
    """A picture, (1, 3, H, W) in [-1, 1], with a text for those who cannot see it and a line below."""
    height, width = picture.shape[-2:]
    scale = max(1, SHOWN // min(height, width))
    data = base64.b64encode(sheet(picture)["sheet"]).decode()
    return (
        f'<figure style="margin: 0"><img alt="{escape(alt)}" src="data:image/png;base64,{data}" width="{scale * width}"'
        f' height="{scale * height}" style="height: auto; max-width: 100%; image-rendering: pixelated">'
        f'<figcaption style="line-height: 1.4">{escape(caption)}</figcaption></figure>'
    )


def sentence(text: str, *notes: str, wrong: bool = False) -> str:
    """How things stand, with notes below; read out by screen readers, and at once where something is wrong."""
    role, said = ("alert", f"<b>Error:</b> {escape(text)}") if wrong else ("status", escape(text))
    lines = [said, *(f"<b>Note:</b> {escape(note)}" for note in notes)]
    return f'<p role="{role}" style="margin: 0; line-height: 1.4">{"<br>".join(lines)}</p>'


def code_box(name: str, code: str) -> str:
    """Code in a field of its own, and a button that copies it."""
    rows = code.count("\n") + 1
    return (
        f'<div style="margin-bottom: 0.5rem"><b>{escape(name)}</b> '
        f'<button type="button" {KEPT} class="jupyter-button widget-button" onclick="{escape(COPY)}" '
        f'aria-label="Copy {escape(name)}" style="width: 5rem">Copy</button>'
        f'<textarea readonly {KEPT} spellcheck="false" wrap="off" aria-label="{escape(name)}" rows="{rows}" '
        f'style="display: block; box-sizing: border-box; width: 100%; font-family: monospace; line-height: 1.4; '
        f'color: inherit; background: transparent; border: 1px solid">'
        f"{escape(code)}</textarea></div>"
    )
