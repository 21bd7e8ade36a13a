"""The README says what is true: its table of options is the settings', its Python runs."""

import ast
import re
from pathlib import Path

import make_keywords
import make_options
import pytest

import nst_jax as nst

ROOT = Path(__file__).resolve().parents[1]


def test_options_are_those_of_the_settings():
    text = make_options.PAGE.read_text("utf-8")
    assert make_options.with_table(text) == text, "run scripts/docs/make_options.py"


def test_every_public_name_that_it_shows_exists():
    text = (ROOT / "README.md").read_text("utf-8")
    shown = set(re.findall(r"\bnst\.([A-Za-z_]+)", text))
    assert shown
    assert shown <= set(dir(nst))


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target, _, place in re.findall(r"\]\(([^)#\s]*)(#([^)]+))?\)", text):
        if "://" in target:
            continue
        there = page.parent / target if target else page
        assert there.exists(), target
        if place and there.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}
            assert place in known, f"{target}#{place}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page):
    named = re.findall(
        r"`((?:nst_jax|scripts|tests|docs|weights)/[\w./-]+)`", page.read_text("utf-8")
    )
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_the_typed_options_are_those_of_the_settings():
    text = make_keywords.FILE.read_text("utf-8")
    same = ast.dump(ast.parse(make_keywords.module())) == ast.dump(ast.parse(text))
    assert same, "run scripts/docs/make_keywords.py"
