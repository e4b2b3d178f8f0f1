"""The built book in a real browser, with no network: what a reader sees."""

import re

import jupytext
import pytest

import tsbp
from book.build import NOTEBOOKS, SITE

CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.py"))
API = ["api", "api_kernels", "api_runs", "api_peers", "api_study"]
WRITTEN = ["index", *CHAPTERS, "summary"]
PAGES = [*WRITTEN, "using", "notation", *API, "references"]
PROSE = {
    name: "\n".join(
        cell.source for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells if cell.cell_type == "markdown"
    )
    for name in WRITTEN
}
FIGURES = {name: prose.count("```{glue:figure}") for name, prose in PROSE.items()}
# Tables by directive, and those that a cell displays.
TABLES = {
    name: len(re.findall("(?:```|:::){(?:glue:)?table}|MarkdownTable\\(", (NOTEBOOKS / f"{name}.py").read_text()))
    for name in WRITTEN
}
MATHEMATICS = {name: len(re.findall(r"\$\$.+?\$\$|\$[^$]+\$", prose, re.DOTALL)) for name, prose in PROSE.items()}
MATHEMATICS |= {"notation": 10}
# Words that are markup, and should have become something else.
RAW = re.compile(
    r"\{(cite|doc|eq|numref|glue|ref)[:}`]|\$\$|```|:name:|:alt:|np\.(int|float)|<Figure size|Traceback|Warning:"
)
KNOWN = "THEBE_JS_URL"  # declared twice by the theme's own sphinx-thebe; harmless


def visit(page, address: str, name: str) -> None:
    page.goto(f"{address}/book/{name}.html", wait_until="load")
    if MATHEMATICS.get(name):
        page.wait_for_selector("mjx-container", state="attached", timeout=20_000)  # it may be in a folded solution
        page.evaluate("MathJax.startup.promise")


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole(page, address, name):
    visit(page, address, name)
    article = page.locator("article.bd-article")
    assert article.locator("h1").count() == 1
    assert (
        page.locator(".system-message, .problematic, mjx-merror, .cell_output .stderr, .output.traceback").count() == 0
    )
    assert page.locator("mjx-container").count() >= MATHEMATICS.get(name, 0)
    assert "\\frac" not in article.inner_text() and "\\(" not in article.inner_text()
    prose = article.evaluate(
        """article => {
            const copy = article.cloneNode(true);
            copy.querySelectorAll("pre, mjx-container").forEach(element => element.remove());
            return copy.textContent;
        }"""
    )
    assert not RAW.search(prose), RAW.search(prose)
    assert [problem for problem in page.problems if KNOWN not in problem] == []


def test_a_symbol_says_what_it_means(page, address):
    visit(page, address, "02_gradient")
    surrogate = page.locator("[title='surrogate derivative of the spike (surrogate_derivative)']")
    gradient = page.locator("mjx-container", has=surrogate)
    assert gradient.locator("[title='membrane potential (potential)']").count() >= 1
    assert page.locator(".cell_output [title^='target spike train']").count() == 0  # the d of SymPy's derivatives


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_numbered_and_captioned(page, address, name):
    visit(page, address, name)
    figures = page.locator("article figure:not(.tsbp-table)")
    assert figures.count() == FIGURES[name]
    for figure in figures.all():
        image = figure.locator("img")
        image.scroll_into_view_if_needed()
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 100
        assert len(image.get_attribute("alt")) > 20
        caption = figure.locator("figcaption").inner_text()
        assert re.match(r"Fig\. \d", caption) and len(caption) > 80


@pytest.mark.parametrize("name", [name for name in TABLES if TABLES[name]])
def test_tables_are_numbered_and_captioned(page, address, name):
    """All of them, where some are."""
    visit(page, address, name)
    assert page.locator("article figcaption table").count() == 0
    tables = page.locator("figure.tsbp-table, article table:not(figure table, .admonition table)").all()
    assert len(tables) == TABLES[name]
    for n, table in enumerate(tables, 1):
        caption = table.evaluate("t => (t.caption || t.querySelector('figcaption')).innerText")
        number = r"\d" if name in ("index", "summary") else rf"\d+\.{n}"  # pages without a number of their own
        assert re.match(rf"Table {number} \S", caption.strip()) and len(caption) > 30, caption


@pytest.mark.parametrize("name", [name for name in PROSE if "## Exercises" in PROSE[name]])
def test_exercises_have_folded_solutions(page, address, name):
    visit(page, address, name)
    exercises = re.findall(r"^\*\*\d\.\*\* ", PROSE[name].partition("## Exercises")[2], re.MULTILINE)
    assert len(exercises) >= 3
    title = page.locator(".admonition-title", has_text="Solution")
    solutions = page.locator(".admonition.dropdown", has=title)
    checks = page.locator(".cell.tag_hide-cell")
    assert solutions.count() == checks.count() == len(exercises)
    for solution in solutions.all():
        assert solution.locator("p").last.is_hidden()
        solution.locator(".admonition-title, summary").first.click()
        assert solution.locator("p").last.is_visible()


@pytest.mark.parametrize("name", ["01_neuron", "02_gradient"])
def test_equations_and_tables_fit_a_telephone(page, address, name):
    page.set_viewport_size({"width": 390, "height": 900})
    visit(page, address, name)
    cut = page.locator("article").evaluate(
        """article => [...article.querySelectorAll("div.math, div.math mjx-container, .cell_output, table")]
            .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""
    )
    assert cut == []


WIDER = """boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1)
    .map(box => [box.dataset.more, box.tabIndex, box.getAttribute("role"), box.getAttribute("aria-label"),
                 getComputedStyle(box).maskImage.includes("gradient")])"""
"""Of the boxes around tables those that can be moved sideways: what is hidden, and how that is said."""


@pytest.mark.parametrize("name", ["05_data_sets", "06_settings", "09_errata", "notation"])
def test_a_table_wider_than_a_telephone_says_so(page, address, name):
    """It fades out where more of it is, has a name and moves with the arrow keys; one that fits is no stop for Tab."""
    page.set_viewport_size({"width": 390, "height": 900})
    visit(page, address, name)
    boxes = page.locator(".cell_output > .output:has(table), .pst-scrollable-table-container")
    page.locator("[data-more]").first.wait_for()
    wider = boxes.evaluate_all(WIDER)
    assert wider
    for more, stop, role, label, fades in wider:
        assert (more, stop, role, fades) == ("right", 0, "region", True)
        assert re.match(r"Table( \d+\.\d+)?, wider than the page$", label)
    widest = page.locator("[data-more]").first
    widest.focus()
    page.keyboard.press("ArrowRight")
    page.locator("[data-more='left right'], [data-more='left']").wait_for()
    assert widest.evaluate("box => getComputedStyle(box).outlineStyle") == "solid"
    widest.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    page.locator("[data-more='left']").wait_for()
    page.set_viewport_size({"width": 1600, "height": 900})
    page.wait_for_function("() => !document.querySelector('[data-more], .output[role]')")


PAPER = {"width": 643, "height": 900}
"""A4 with margins of 2 cm."""


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off_on_paper(page, address, name):
    """Neither tables, equations, figures nor code; the title has its number, and folded solutions are read."""
    visit(page, address, name)
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)
    cut = page.locator("article").evaluate(
        """article => [...article.querySelectorAll("table, mjx-container, img, pre, .cell_output, .output, div.math")]
            .filter(e => e.checkVisibility())
            .filter(e => e.getBoundingClientRect().right > article.getBoundingClientRect().right + 1
                || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible"))
            .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    titles = [title for title in page.locator("h1").all() if title.is_visible()]
    assert len(titles) == 1
    if name in CHAPTERS:
        assert re.match(rf"{int(name[:2])}\. \w", titles[0].inner_text())
    for solution in page.locator(".admonition.dropdown:not(.tsbp-run)").all():
        assert all(part.is_visible() for part in solution.locator("> *:not(.toggle-button)").all())
    assert not any(folded.is_visible() for folded in page.locator(".cell details.hide:not([open])").all())


def test_a_dark_page_is_printed_as_a_light_one(page, address):
    page.emulate_media(color_scheme="dark")
    visit(page, address, "02_gradient")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.evaluate(f"addEventListener('beforeprint', () => window.printed = {theme})")
    page.pdf()
    assert page.evaluate("printed") == "light" and page.evaluate(theme) == "dark"


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_hold_executed_output(page, address, name):
    visit(page, address, name)
    assert page.locator(".cell_output table, article figure").count() >= 1


def test_the_public_interface_has_its_place(page, address):
    visit(page, address, "api")
    for name in tsbp.__all__:
        assert page.locator(f"dt[id='tsbp.{name}']").count() == 1
    gradient = "gradient: str | Callable[[Tensor, Tensor, Tensor], Tensor | float] = 'full'"
    assert gradient in page.locator("dt[id='tsbp.lif']").inner_text()
    page.locator("dt[id='tsbp.lif'] a", has_text="source").click()
    assert "def lif(" in page.locator("article").inner_text()
    visit(page, address, "api_runs")
    assert page.locator("dt[id='tsbp.runs.settings.PRESETS']").count() == 1
    assert page.locator("dd", has_text="highest one of a one-cycle schedule").count() >= 1
    for kind in ("settings.TrainingConfig", "toy.ToyConfig"):
        assert (
            page.locator(f"dt[id='tsbp.runs.{kind}']").inner_text().startswith(f"class tsbp.runs.{kind}(**settings)\n")
        )


def test_the_code_of_the_gradient_stands_beside_its_equations(page, address):
    visit(page, address, "02_gradient")
    for line in ('"full": lambda U, S, h: 1 - S - U * h,', "def step(", "def step_back("):
        assert page.locator(".cell_output pre", has_text=line).count() == 1


def test_equations_are_numbered_and_referred_to(page, address):
    visit(page, address, "02_gradient")
    numbers = page.locator("span.eqno").all_inner_texts()
    assert [number.strip(" #\u00b6") for number in numbers] == [f"(2.{n})" for n in range(1, len(numbers) + 1)]
    assert page.locator("a.reference", has_text=re.compile(r"^\(1\.\d\)$")).count() >= 1
    assert page.locator("a.reference", has_text=re.compile(r"^Fig\. 1\.1$")).count() == 1


@pytest.mark.parametrize("name", PAGES)
def test_links_inside_the_book_lead_somewhere(page, address, name):
    visit(page, address, name)
    for link in set(page.locator("article a[href]").evaluate_all("links => links.map(a => a.href)")):
        place, _, anchor = link.partition("#")
        if not place.startswith(address):
            continue
        file = SITE / place.removeprefix(address).lstrip("/")
        assert file.exists(), link
        assert not anchor or re.search(rf"id=[\"']{re.escape(anchor)}[\"']", file.read_text()), link


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "../search", "../genindex", "../_modules/tsbp/neuron"])
def test_nobody_is_shut_out(page, address, name, scheme):
    """No finding of axe that it calls serious or critical: contrast, names of controls, order of headings."""
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    visit(page, address, name)
    # Of Sphinx's own making: a role that allows no links among citations, and lists without terms in long signatures.
    found = Axe().run(page, context={"exclude": [[".citation-list"], [".sig dl"]]}).response["violations"]
    grave = [
        f"{rule['id']}: {node['html']}"
        for rule in found
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical")
    ]
    assert not grave


def test_search_finds_the_reset_term(page, address):
    page.goto(f"{address}/search.html?q=reset+term")
    page.wait_for_selector("#search-results li")
    assert page.locator("#search-results li a", has_text="The gradient").count() >= 1
    excerpt = page.locator("#search-results li", has_text="How others treat the reset").locator("p.context").first
    assert "Contents" not in excerpt.inner_text() and len(excerpt.inner_text()) > 50


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_sticks_out(page, address, name, width):
    """The page itself never scrolls sideways, on a desk or on a telephone; there, a figure does within its frame.

    Figures are drawn 8 inches wide or less, with letters of 10 points: 9 px of the page at 530.
    """
    page.set_viewport_size({"width": width, "height": 900})
    visit(page, address, name)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1
    figures = page.locator("article figure:has(img)")
    assert all(box["width"] <= width for box in (figure.bounding_box() for figure in figures.all()))
    images = (image.bounding_box() for image in page.locator("article figure img").all())
    assert all(box["width"] >= 530 or width > 390 for box in images)


def test_citations_lead_to_the_references(page, address):
    visit(page, address, "01_neuron")
    page.locator("article a.reference", has_text="Yang, 2020").first.click()
    assert "references.html" in page.url
    assert "2011.09964" in page.locator("article").inner_text()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_page_describes_itself(page, address, name):
    visit(page, address, name)
    described = page.locator("head meta[name=description]").get_attribute("content")
    assert len(described) > 80 and not re.search(r"[\[{]|\d{4}\]", described)
    assert page.locator("head link[rel=icon]").count() == 1


@pytest.mark.parametrize(
    ("name", "link", "shown"),
    [
        ("02_gradient", re.compile(r"^\(2\.\d+\)$"), "mjx-container"),
        ("02_gradient", re.compile(r"^\(1\.\d+\)$"), "mjx-container"),  # of another page
        ("02_gradient", re.compile(r"^Fig\. 1\.\d$"), "figure img"),
        ("01_neuron", re.compile(r"^Yang, 2020$"), "text=Temporal Surrogate Back-propagation"),
    ],
)
def test_a_link_shows_what_it_leads_to(page, address, name, link, shown):
    """Under the pointer and with the keyboard, until Escape or until the pointer leaves."""
    visit(page, address, name)
    reference = page.locator("article a.reference.internal", has_text=link).first
    preview = page.locator(".tsbp-preview")
    reference.hover()
    preview.locator(shown).first.wait_for()
    assert preview.locator("mjx-merror, [id]").count() == 0 and "\\[" not in preview.inner_text()
    if "img" in shown:
        assert preview.locator("img").evaluate("i => i.decode().then(() => i.naturalWidth)") > 100
    page.keyboard.press("Escape")
    assert preview.count() == 0
    page.mouse.move(0, 0)
    page.keyboard.press("Tab")  # what has the focus then is shown as with the keyboard
    reference.focus()
    preview.locator(shown).first.wait_for()
    assert reference.get_attribute("aria-describedby") == preview.get_attribute("id")
    reference.blur()
    preview.wait_for(state="detached")
    assert [problem for problem in page.problems if KNOWN not in problem] == []


def test_the_summary_fits_a_page_of_paper(page, address):
    visit(page, address, "summary")
    paper = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "2cm"))
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    said = page.locator("#results").inner_text()
    claims, *verdicts = re.search(
        r"(\d+) claims: (\d+) reproduced, (\d+) reproduced with a caveat, (\d+) not reproduced, (\d+) open", said
    ).groups()
    assert int(claims) == sum(map(int, verdicts)) == page.locator("#summary-verdicts tbody tr").count()


def test_the_front_page_shows_how_to_cite(page, address):
    visit(page, address, "index")
    entries = page.locator("#how-to-cite pre").first.inner_text()
    assert entries.count("@") == 2 and "{tsbp: what is the reset gradient worth?}" in entries


def test_a_symbol_with_a_meaning_of_its_own_has_no_other():
    """In the plan d is a difference of accuracies; elsewhere it is the target."""
    text = (SITE / "book" / "plan.html").read_text(encoding="utf-8")
    assert r"\texttip{c}" in text and r"\texttip{d}" not in text


def test_the_site_is_small():
    """No build of MathJax that is not used, no icons drawn twice, no picture of an earlier build."""
    files = [path for path in SITE.rglob("*") if path.is_file() and path.name != "tsbp.pdf"]
    assert sum(path.stat().st_size for path in files) < 20e6
    assert not list(SITE.rglob("fontawesome/*/js"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light(page, address, name):
    """What a browser fetches when it opens a page, uncompressed. Figures below are fetched when they come near."""
    fetched = {}
    page.on("requestfinished", lambda request: fetched.setdefault(request.url, request.sizes()["responseBodySize"]))
    visit(page, address, name)
    page.wait_for_load_state("networkidle")
    assert sum(fetched.values()) < 1.5e6, fetched


def test_icons_are_drawn(page, address):
    """Their font has only those that the pages use, and has them."""
    visit(page, address, "02_gradient")
    drawn = page.evaluate(
        """() => document.fonts.ready.then(() => [...document.querySelectorAll("i[class*=fa-]")]
            .filter(i => i.checkVisibility() && i.getBoundingClientRect().width < 5).map(i => i.className))"""
    )
    assert page.locator("i[class*=fa-]").count() > 5 and drawn == []
    assert page.evaluate("document.fonts.check('900 16px \"Font Awesome 6 Free\"', '\\uf0c9')")


def test_the_root_leads_to_the_front_page(page, address):
    page.goto(f"{address}/index.html")
    page.wait_for_url("**/book/index.html")
    assert page.locator("article h1").inner_text().startswith("What is the reset gradient worth?")
