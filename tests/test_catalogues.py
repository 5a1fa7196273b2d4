"""What translators start from: every sentence of the book in a catalogue, and a translated page from a filled one."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = "catalogues"


def test_each_page_has_a_catalogue_and_a_filled_one_gives_a_page_in_another_language(script, stage, tmp_path):
    pages, out = stage("Noise becomes a picture.", "A picture becomes noise."), tmp_path / "gettext"
    assert script.write(pages, out) == 0
    assert {path.name for path in (out / "book").iterdir()} == {"first.pot", "second.pot"}
    catalogue = (out / "book/first.pot").read_text(encoding="utf-8")
    assert 'msgid "Noise becomes a picture."\nmsgstr ""' in catalogue and "becomes noise" not in catalogue

    german = tmp_path / "locale/de/LC_MESSAGES/book/first.po"
    german.parent.mkdir(parents=True)
    filled = catalogue.replace('a picture."\nmsgstr ""', 'a picture."\nmsgstr "Aus Rauschen wird ein Bild."')
    german.write_text(filled.replace("#, fuzzy\n", ""), encoding="utf-8")
    settings = ["-Dlanguage=de", "-Dlocale_dirs=../locale", "-Dgettext_compact=0"]    # as CONTRIBUTING.md has them
    command = [sys.executable, "-m", "sphinx", "-b", "text", "-q", *settings, str(pages), str(tmp_path / "text")]
    subprocess.run(command, check=True)
    assert "Aus Rauschen wird ein Bild." in (tmp_path / "text/book/first.txt").read_text(encoding="utf-8")
