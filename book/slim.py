"""What a built site has and no page uses: it is taken out, so that pages load faster and the site is small."""

import re
import shutil
from pathlib import Path

ICONS = re.compile(r"<(script|link) [^>]*/fontawesome/[^>]*\.js[^>]*>(</script>)?\s*")
"""A megabyte and a half that draws the icons again, which the style sheet beside it has drawn from their fonts."""
MATHJAX = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions")
"""What the pages may load of MathJax."""


def slim(site: Path) -> None:
    """Take out of a site what none of its pages uses; twice is no harm.

    Args:
        site: the folder with ``index.html``.
    """
    notebooks = {path.read_bytes(): path for path in (site / "_downloads").rglob("*.ipynb")}
    sources = {path: path.read_bytes() for path in (site / "_sources").rglob("*.ipynb")}
    twice = {path: notebooks[content] for path, content in sources.items() if content in notebooks}
    links = {old.relative_to(site).as_posix(): new.relative_to(site).as_posix() for old, new in twice.items()}
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if "_static" not in path.parts}
    for path, text in pages.items():
        lighter = ICONS.sub("", text)
        for old, new in links.items():
            lighter = lighter.replace(old, new)
        if lighter != text:
            path.write_text(lighter, encoding="utf-8")
    for path in twice:
        path.unlink()
    for folder in site.glob("_static/vendor/fontawesome/*/js*"):
        shutil.rmtree(folder)
    mathjax = site / "_static" / "mathjax"
    for path in [path for path in mathjax.rglob("*") if path.is_file()]:
        if not path.relative_to(mathjax).as_posix().startswith(MATHJAX):
            path.unlink()
    everything = "".join(pages.values())
    for image in (site / "_images").glob("*"):  # those of earlier builds too
        if image.name not in everything:
            image.unlink()
