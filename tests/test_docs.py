"""The README says what is true: its table of options is the settings', its Python runs."""

import ast
import re
from pathlib import Path

import make_keywords
import make_readme

import nst_jax as nst

ROOT = Path(__file__).resolve().parents[1]


def test_options_are_those_of_the_settings():
    text = (ROOT / "README.md").read_text("utf-8")
    assert make_readme.with_table(text) == text, "run scripts/make_readme.py"


def test_every_public_name_that_it_shows_exists():
    text = (ROOT / "README.md").read_text("utf-8")
    shown = set(re.findall(r"\bnst\.([A-Za-z_]+)", text))
    assert shown
    assert shown <= set(dir(nst))


def test_links_lead_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_typed_options_are_those_of_the_settings():
    text = make_keywords.FILE.read_text("utf-8")
    same = ast.dump(ast.parse(make_keywords.module())) == ast.dump(ast.parse(text))
    assert same, "run scripts/docs/make_keywords.py"
