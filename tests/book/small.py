"""A book of one chapter, with the configuration of the real one."""

import shutil
from pathlib import Path

from book import build


def small_book(notebook: Path, project: Path, monkeypatch) -> Path:
    """Put ``chapter.py`` and, beside it, the executed page into a project of its own, which the builder then takes."""
    shutil.copytree(build.PROJECT / "book", project / "book", ignore=shutil.ignore_patterns("*.ipynb", "[!n]*.md"))
    shutil.copy(build.PROJECT / "_config.yml", project)
    (project / "notebooks").mkdir()
    shutil.copy(notebook, project / "notebooks")
    (project / "book" / "_toc.yml").write_text("format: jb-book\nroot: book/chapter\n")
    shutil.copy(notebook.with_suffix(".ipynb"), project / "book")
    monkeypatch.setattr(build, "PROJECT", project)
    monkeypatch.setattr(build, "SITE", project / "build" / "_build" / "html")
    return project
