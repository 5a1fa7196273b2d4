"""What the book needs beyond its settings: anywidget's script, docstrings as they are written, prepared chapters."""

from __future__ import annotations

import inspect
import re
import shutil
from importlib import metadata
from pathlib import Path

from sphinx.ext.autodoc import DataDocumenter


class Value(DataDocumenter):
    """Data of a module; a value that is a page long, or tells where something lies, is not shown."""

    priority = DataDocumenter.priority + 1

    def should_suppress_value_header(self):
        value = repr(self.object)
        return super().should_suppress_value_header() or len(value) > 200 or "<" in value or "Path(" in value


def setup(app):
    app.setup_extension("zecon_chapters")
    app.add_autodocumenter(Value, override=True)
    app.connect("autodoc-skip-member", skip_default)
    app.connect("build-finished", copy_anywidget)
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("autodoc-process-docstring", plain_text_to_rst)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def copy_anywidget(app, exception):
    """Our widgets are drawn by the script of the installed anywidget, so that page and package are of one version."""
    if exception is not None or app.builder.format != "html":
        return
    wanted = "nbextensions/anywidget/index.js"
    found = [f.locate() for f in metadata.files("anywidget") or [] if f.as_posix().endswith(wanted)]
    if not found:
        raise RuntimeError(f"anywidget is installed without {wanted}: `pip install --force-reinstall anywidget`")
    target = Path(app.outdir) / "_static/vendor/widgets/anywidget.js"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found[0], target)


def skip_default(app, what, name, obj, skip, options):
    """A field whose default is a function is no method: the class's own words explain it."""
    function = getattr(obj, "__func__", obj)
    return True if what == "class" and inspect.isfunction(function) and function.__name__ != name else None


def readable_signature(app, what, name, obj, options, signature, return_annotation):
    """Defaults by their names. As Python prints functions and classes, Sphinx could not read the signature."""
    for printed, readable in (
        (r"<factory>|<function [\w.]*<lambda>>", "..."),
        (r"<(?:function|bound method) ([\w.]+)(?: of <class '[^']*'>)?>", r"\1"),
        (r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1"),
    ):
        signature = signature and re.sub(printed, readable, signature)
    return signature, return_annotation


def plain_text_to_rst(app, what, name, obj, options, lines):
    """Our docstrings are plain sentences; this keeps paragraphs, bullets and examples, and nothing is markup.

    A sentence that explains a parameter ("seed: ...") or says what is raised begins a new line.
    """
    names = "|".join(map(re.escape, parameters(obj)))
    new_line = re.compile(rf"(?:(?<=^)|(?<=[.;)] ))(?=(?:(?:{names})(?:, (?:{names}))*: |Raises ))") if names else None
    out = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).rstrip()):
        rows = paragraph.splitlines()
        if rows and all(row.startswith("    ") for row in rows):            # an example
            out += ["::", "", *rows, ""]
        elif rows and rows[0].startswith(">>> "):                           # an example that the tests run
            out += [*rows, ""]
        elif rows and rows[0].startswith(("* ", "- ")):
            out += [("  " if row.startswith(" ") else "* ") + escape(row.lstrip("*- ")) for row in rows] + [""]
        else:
            text = " ".join(row.strip() for row in rows)
            parts = [part for part in (new_line.split(text) if new_line else [text]) if part.strip()]
            out += [f"| {escape(part.strip())}" if len(parts) > 1 else escape(part.strip()) for part in parts] + [""]
    lines[:] = out


def parameters(obj):
    """The names that a docstring may explain: of parameters, and of the attributes of a class."""
    own = [name for name in vars(obj) if not name.startswith("_")] if inspect.isclass(obj) else []
    try:
        return own + [name for name in inspect.signature(obj).parameters if name != "self" and name not in own]
    except (TypeError, ValueError):
        return own


def escape(text):
    """Code between single backticks stays code; the rest is read letter by letter, without markup."""
    parts = re.split(r"`+([^`]+)`+", text)                      # every second part is code
    parts = [f"\\ ``{part}``\\ " if k % 2 else re.sub(r"([\\*_|`<>])", r"\\\1", part) for k, part in enumerate(parts)]
    return "".join(parts)
