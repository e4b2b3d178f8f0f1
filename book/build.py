"""From text notebooks to the book: jupytext makes them .ipynb, papermill executes them, Jupyter Book sets the pages.

``python book/build.py`` does it all. Each notebook is written as soon as it is executed, and executed again only when
something changed on which its outputs depend (see ``fingerprint.py``). So a build that was interrupted goes on.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pages import NotebookError, execute_all, states
from published import publish
from slim import slim
from tsbp.runs import files

PROJECT = files.PROJECT
NOTEBOOKS = PROJECT / "notebooks"
EXECUTED = PROJECT / "book"
SITE = PROJECT / "build" / "_build" / "html"
PROFILES = ("quick", "full")
TEX_LIVE = ("texlive-xetex", "texlive-latex-extra", "texlive-fonts-recommended", "fonts-freefont-otf", "latexmk")
"""What a PDF needs, by the names of Debian and Ubuntu."""
REPORTS = PROJECT / "build" / "reports"
"""What a notebook that failed leaves: how far it came, and the error."""


def build_site() -> Path:
    """Set the executed notebooks and the pages of ``book/`` with Jupyter Book, warnings as errors.

    Returns:
        The front page.

    Raises:
        CalledProcessError: the build failed; Jupyter Book has said why.
    """
    page = _jupyter_book("html", SITE / "index.html")
    slim(SITE)
    return page


def build_all() -> Path:
    """The site with everything beside its pages: the records, and the PDF if one was built.

    Returns:
        The front page.

    Raises:
        CalledProcessError: the build failed; Jupyter Book has said why.
    """
    page = build_site()
    publish(SITE)
    offer_pdf(SITE, SITE.with_name("latex") / "tsbp.pdf")
    return page


PDF_LINK = '<p class="tsbp-pdf"><a href="../tsbp.pdf">The whole book as a PDF</a> ({:.1f} MB)</p>'


def offer_pdf(site: Path, pdf: Path) -> None:
    """Put a PDF beside the pages and a link to it below the title of the front page.

    Nothing is offered if there is no PDF, or if it is older than the text or the results of a chapter.

    Args:
        site: the folder with ``index.html``.
        pdf: what :func:`build_pdf` made, if it ran.
    """
    front = site / "book" / "index.html"
    if not front.exists():
        return
    text = front.read_text(encoding="utf-8")
    without = re.sub(r'\n<p class="tsbp-pdf">.*?</p>', "", text)
    sources = [*EXECUTED.glob("*.ipynb"), *EXECUTED.glob("*.md")]
    current = pdf.exists() and all(path.stat().st_mtime <= pdf.stat().st_mtime for path in sources)
    (site / pdf.name).unlink(missing_ok=True)
    if current:
        shutil.copy(pdf, site)
        link = PDF_LINK.format(pdf.stat().st_size / 1e6)
        without = without.replace("</a></h1>", f"</a></h1>\n{link}", 1)
    if without != text:
        front.write_text(without, encoding="utf-8")


def build_pdf() -> Path:
    """Set the same on paper.

    Returns:
        The PDF.

    Raises:
        CalledProcessError: the build failed; Jupyter Book or LaTeX has said why.
        FileNotFoundError: there is no LaTeX here.
    """
    check_latex()
    return _jupyter_book("pdflatex", SITE.with_name("latex") / "tsbp.pdf")


def check_latex() -> None:
    """Find out before long work whether there is a LaTeX.

    Raises:
        FileNotFoundError: there is not; the message says what to install.
    """
    if not (shutil.which("xelatex") and shutil.which("latexmk")):
        raise FileNotFoundError(f"a PDF needs xelatex and latexmk, of TeX Live the packages {', '.join(TEX_LIVE)}")


def check_links() -> Path:
    """Visit every link of the book that leads out of it.

    Returns:
        The report.

    Raises:
        CalledProcessError: some are broken; Sphinx has named them.
    """
    return _jupyter_book("linkcheck", PROJECT / "build" / "links" / "_build" / "html" / "output.txt")


def _jupyter_book(builder: str, result: Path) -> Path:
    """Build what is ``result`` in the end."""
    # Sphinx does not see that these changed.
    around = [PROJECT / "book" / name for name in ("tsbp_sphinx.py", "_toc.yml", "notation.md")]
    around += [*(PROJECT / "book" / "_static").iterdir(), PROJECT / "_config.yml"]
    stale = not result.exists() or any(path.stat().st_mtime > result.stat().st_mtime for path in around)
    result.unlink(missing_ok=True)  # its presence proves the build: other versions of the tool end in silence
    if stale and builder == "html":
        shutil.rmtree(result.parent, ignore_errors=True)  # with the pages of chapters that are no more
    folder = next(parent for parent in result.parents if parent.name == "_build")
    command = [str(Path(sysconfig.get_path("scripts")) / "jupyter-book"), "build", ".", "--config", "_config.yml"]
    command += ["--toc", "book/_toc.yml", "--path-output", str(folder.parent), "--builder", builder]
    command += ["-W", "-n", "--keep-going", "-q", *(["--all"] if stale else [])]
    try:
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        if builder != "linkcheck":  # whose report names the broken ones
            result.unlink(missing_ok=True)
        shutil.rmtree(folder / ".doctrees", ignore_errors=True)  # the next build would read less, and warn of nothing
        raise
    if not result.exists():
        raise FileNotFoundError(f"Jupyter Book ended without an error and without {result}")
    return result


BUILDERS = {
    "html": (build_all, "the book was not built"),
    "pdf": (build_pdf, "there is no PDF"),
    "links": (check_links, "not all links lead somewhere"),
}


def full_paths() -> None:
    """Turn the folders that variables of the environment name into full paths: notebooks are executed in another."""
    for name in ("TSBP_RESULTS", "TSBP_DATA", "TSBP_CACHE"):
        if folder := os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(folder))


def main() -> None:
    """Execute what changed, set the book, and print the path of the result."""
    parser = argparse.ArgumentParser(prog="python book/build.py", description=main.__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="quick", help="quick takes minutes, full much longer")
    parser.add_argument("--to", choices=BUILDERS, default="html", help="html, pdf, or a report on the book's links")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")  # of the tools, not of this project
    full_paths()
    shutil.rmtree(REPORTS, ignore_errors=True)
    try:
        if options.to == "pdf":
            check_latex()
        # The notebooks' own default is the quick profile: nothing is injected into the page then.
        parameters = {} if options.profile == "quick" else {"profile": options.profile}
        found = states(sorted(NOTEBOOKS.glob("*.py")), parameters, EXECUTED)
        outdated = [state.source.stem for state in found if not state.good]
        print(f"to execute: {', '.join(outdated) or 'nothing'}", flush=True)
        for source, seconds in execute_all(found, parameters, EXECUTED, REPORTS):
            outcome = "unchanged" if seconds is None else f"executed in {seconds:.0f} s"
            print(f"{source.name:28}{outcome}", flush=True)
    except NotebookError as error:
        sys.exit(str(error))
    except BrokenProcessPool:
        sys.exit(
            "error: the process of a notebook was killed, perhaps because memory ran out; the same command goes on"
        )
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    build, failure = BUILDERS[options.to]
    try:
        print(build())
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        sys.exit(f"error: {failure}: {error}")


if __name__ == "__main__":
    main()
