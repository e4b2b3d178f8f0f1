"""What is taken out of a built site, and what stays."""

import json
import re

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont

import slim

CSS = """@charset "utf-8";
/* a comment */
.used, .unused > a:hover { color: red }
.used:not(.unused) { color: "}" }
.unused.used { color: blue }
a[href=".unused"], p { margin: 0 }
.bs-tooltip-auto { top: 0 }
@media (min-width: 1px) { .unused { top: 0 } p { top: 1px } }
@media print { .unused { top: 0 } }
@font-face { font-family: "x"; src: url(x.ttf) }
"""


def test_rules_for_classes_that_do_not_occur_are_left_out():
    kept = re.sub(r"\s+", "", slim.used_rules(CSS, {"used"}))
    assert kept == (
        '@charset"utf-8";.used{color:red}.used:not(.unused){color:"}"}a[href=".unused"],p{margin:0}'
        '.bs-tooltip-auto{top:0}@media(min-width:1px){p{top:1px}}@font-face{font-family:"x";src:url(x.ttf)}'
    )


def test_coordinates_are_rounded_and_scales_are_not():
    drawing = '<path id="d" d="M 1.234567 2 \nL 10.5 -0.009"/><use x="1.999999" transform="scale(0.015625)"/>'
    assert slim.rounded(drawing) == (
        '<path id="d" d="M 1.23 2 \nL 10.5 -0.00"/><use x="1.99" transform="scale(0.015625)"/>'
    )


def test_a_small_site(tmp_path):
    """Styles and icons that a page uses stay; pictures wait until they are near; a second pass changes nothing."""
    files = {
        "book/index.html": '<link rel="preload" as="font" href="a.woff2" /><i class="fa-used"></i>'
        '<img alt="a" src="../_images/a.svg" /><a href="../_downloads/1/a.ipynb">',
        "_downloads/1/a.ipynb": '{"cells": [{"outputs": [{"data": {"application/pdf": "x", "image/svg+xml": "y"}}]}]}',
        "_downloads/2/old.ipynb": '{"cells": []}',
        "_images/a.svg": '<svg width="75pt" height="30pt"><path d="M 1.23456 0"/></svg>',
        "_images/old.svg": "<svg/>",
        "_static/vendor/fontawesome/6/css/all.min.css": '.fa-used:before{content:"\\f00c"}'
        '.fa-other:before{content:"\\f00d"}@font-face{src:url(f.woff2) format("woff2"),url(f.ttf) format("truetype")}',
        "_static/vendor/fontawesome/6/webfonts/f.woff2": "",
        "_static/mathjax/tex-svg.js": "",
        "_static/mathjax/startup.js": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    font = tmp_path / "_static/vendor/fontawesome/6/webfonts/f.ttf"
    icons(font)
    slim.slim(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(files) - left == {
        "_images/old.svg", "_downloads/2/old.ipynb", "_static/vendor/fontawesome/6/webfonts/f.woff2",
        "_static/mathjax/tex-svg.js",
    }  # fmt: skip
    page = tmp_path / "book/index.html"
    expected = '<i class="fa-used"></i><img loading="lazy" width="100" height="40" alt="a" src="../_images/a.svg" />'
    expected += '<a href="../_downloads/1/a.ipynb">'
    [cell] = json.loads((tmp_path / "_downloads/1/a.ipynb").read_text())["cells"]
    assert cell["outputs"] == [{"data": {"image/svg+xml": "y"}}]
    assert page.read_text() == expected
    assert "fa-other" not in (tmp_path / "_static/vendor/fontawesome/6/css/all.min.css").read_text()
    assert TTFont(font).getBestCmap().keys() == {0xF00C}
    contents = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file() and path != font}
    slim.slim(tmp_path)
    assert all(path.read_bytes() == content for path, content in contents.items())
    assert TTFont(font).getBestCmap().keys() == {0xF00C}


def icons(path) -> None:
    """A font with two icons."""
    pen = TTGlyphPen(None)
    for point in ((0, 0), (0, 500), (500, 500)):
        (pen.moveTo if point == (0, 0) else pen.lineTo)(point)
    pen.closePath()
    shape = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "check", "cross"])
    builder.setupCharacterMap({0xF00C: "check", 0xF00D: "cross"})
    builder.setupGlyf({".notdef": shape, "check": shape, "cross": shape})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "check", "cross"), (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "icons", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
