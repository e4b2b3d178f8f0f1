"""What a built site has and no page uses: it is taken out, so that pages load faster and the site is small."""

import json
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import tinycss2
from fontTools import subset

HEAVY = re.compile(
    r'<script [^>]*/fontawesome/[^>]*></script>\s*|<link [^>]*(?:/fontawesome/[^>]*\.js|as="font")[^>]*>\s*'
)
"""Icons drawn a second time by scripts, and fonts that are fetched whether a page needs them or not."""
DRAWING = re.compile(r'<img ([^>]*?src="(?:\.\./)*(_images/[^"]+\.svg)")')
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml/fonts",
    "a11y/assistive-mml.js",
)
"""What the pages may load of MathJax; ``mathjax3_config`` in ``_config.yml`` names it too."""
UNUSED = ("_static/**/*.map", "_static/locales", "_static/vendor/fontawesome/*/js*", "_static/vendor/**/*.woff2")
PRIVATE = "\ue000"
"""Where Unicode leaves room for letters that only a font knows, such as icons."""
MADE_BY_SCRIPTS = ("bs-",)
"""Beginnings of classes that scripts put together, so that they stand nowhere as a whole."""


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
        lighter = DRAWING.sub(lambda found: _when_needed(found, site), HEAVY.sub("", text))
        for old, new in links.items():
            lighter = lighter.replace(old, new)
        _write(path, text, lighter)
    for path in [*twice, *(path for pattern in UNUSED for path in site.glob(pattern))]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    mathjax = site / "_static" / "mathjax"
    for path in [path for path in mathjax.rglob("*") if path.is_file()]:
        if not path.relative_to(mathjax).as_posix().startswith(MATHJAX):
            path.unlink()
    everything = "".join(pages.values())
    for image in (site / "_images").glob("*"):  # those of earlier builds too
        if image.name not in everything:
            image.unlink()
        elif image.suffix == ".svg":
            text = image.read_text(encoding="utf-8")
            _write(image, text, rounded(text))
    for folder in (site / "_downloads").glob("*"):  # likewise
        if f"_downloads/{folder.name}/" not in everything:
            shutil.rmtree(folder)
    for notebook in (site / "_downloads").rglob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        _write(notebook, text, _for_the_screen(text))
    _styles(site, everything)


def _for_the_screen(notebook: str) -> str:
    """An executed notebook without the drawings that only a book on paper uses, the others rounded."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        for output in cell.get("outputs", ()):
            for kind, shown in list(output.get("data", {}).items()):
                if kind.endswith("application/pdf"):
                    del output["data"][kind]
                elif kind.endswith("image/svg+xml"):
                    output["data"][kind] = rounded("".join(shown))
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, old: str, new: str) -> None:
    if new != old:
        path.write_text(new, encoding="utf-8")


def _when_needed(found: re.Match, site: Path) -> str:
    """A picture that is fetched when it comes near the window; it has a size, so that the text keeps its place."""
    drawing = (site / found[2]).read_text(encoding="utf-8")
    size = re.search(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', drawing)
    if not size or "loading=" in found[0]:
        return found[0]
    width, height = (round(float(points) * 4 / 3) for points in size.groups())
    return f'<img loading="lazy" width="{width}" height="{height}" {found[1]}'


def rounded(svg: str) -> str:
    """A drawing with coordinates to a hundredth of a point, where matplotlib writes a millionth."""
    return re.sub(r'(?<= )(?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)


def _styles(site: Path, pages: str) -> None:
    """Take out of the style sheets the rules for classes that no page and no script has, and of the fonts the icons."""
    static = site / "_static"
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js") if "mathjax" not in path.parts]
    words = set(re.findall(r"[\w-]+", " ".join([pages, *scripts])))
    icons: set[int] = set()
    for path in [path for path in static.rglob("*.css") if "mathjax" not in path.parts]:
        text = path.read_text(encoding="utf-8")
        lighter = used_rules(re.sub(r'url\([^)]*\.woff2\) format\("woff2"\),', "", text), words)
        _write(path, text, lighter)
        icons |= {ord(letter) for letter in lighter if PRIVATE <= letter <= "\uf8ff"}
    for path in static.glob("vendor/fontawesome/*/webfonts/*.ttf"):
        font = subset.load_font(path, subset.Options())
        if not icons & font.getBestCmap().keys():
            continue  # its rules name none of them, and browsers do not fetch it
        smaller = subset.Subsetter(subset.Options(notdef_outline=True))
        smaller.populate(unicodes=icons)
        smaller.subset(font)
        font.save(path)


def used_rules(css: str, words: set[str]) -> str:
    """A style sheet without the rules for classes that are not among the words of a site.

    Args:
        css: rules, some of them inside at-rules such as ``@media``.
        words: every class that occurs, among others.
    """
    return "".join(_used(tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True), words))


def _used(rules: list[Any], words: set[str]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "qualified-rule":
            kept = [tinycss2.serialize(one) for one in _selectors(rule.prelude) if _occurs(one, words)]
            if kept:
                yield f"{','.join(kept)}{{{tinycss2.serialize(rule.content)}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inner = "".join(_used(tinycss2.parse_rule_list(rule.content, skip_whitespace=True), words))
            if inner:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}"
        else:
            yield rule.serialize()


def _selectors(prelude: list[Any]) -> list[list[Any]]:
    """A list of selectors, split at its commas."""
    found: list[list[Any]] = [[]]
    for token in prelude:
        if token == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def _occurs(selector: list[Any], words: set[str]) -> bool:
    """Whether all classes that a selector asks for may be on a page; those in ``:not(...)`` need not be."""
    classes = [after.value for dot, after in pairwise(selector) if dot == "." and after.type == "ident"]
    return all(name in words or name.startswith(MADE_BY_SCRIPTS) for name in classes)
