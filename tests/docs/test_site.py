"""The built documentation: its link checker, and the pages that are made from README and packages."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "site"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "guide").mkdir()
    (tmp_path / "image.png").touch()
    (tmp_path / "index.html").write_text('<h1 id="top">A</h1><a href="guide/one.html#x">1</a><img src="image.png">')
    (tmp_path / "guide" / "one.html").write_text('<p id="x"><a href="../#top">home</a> <a href="https://a.b/c">c</a>')
    return tmp_path


def test_good_links_are_found(site):
    assert runpy.run_path(str(SITE / "check_links.py"))["broken_links"](site) == []


@pytest.mark.parametrize(("link", "reason"), [
    ("two.html", "no such file"), ("one.html#y", "no such anchor"), ("../#bottom", "no such anchor"),
    ("#z", "no such anchor"), ("/none.css", "no such file"),
])  # fmt: skip
def test_broken_links_are_named(site, link, reason):
    page = site / "guide" / "one.html"
    page.write_text(page.read_text() + f'<a href="{link}">broken</a>')
    assert runpy.run_path(str(SITE / "check_links.py"))["broken_links"](site) == [f"guide/one.html: {link}: {reason}"]


def test_every_package_has_an_api_page_and_every_guide_a_place():
    pytest.importorskip("mkdocs")
    hook = runpy.run_path(str(SITE / "pages.py"))
    pages = hook["_api_pages"]()
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "cosmos_lidar").rglob("__init__.py")}
    listed = {page.removeprefix("api/").removesuffix(".md") for page in pages}
    assert {"cosmos_lidar.sensors", "cosmos_lidar.parallel", "energon_tasks"} <= listed
    assert all(any(name.startswith(package) for name in listed) for package in packages)
    text = pages["api/cosmos_lidar.sensors.md"]
    assert "[`load_sensor`][cosmos_lidar.sensors.load_sensor]" in text
    assert "::: cosmos_lidar.sensors.range_maps" in text
    config = type("Config", (), {})()
    nav = hook["on_config"](config).nav
    guides = {name.removesuffix(".md") for name in nav[1]["Guides"]}
    assert guides | {"glossary"} >= {path.stem for path in (ROOT / "docs").glob("*.md")}


def test_links_of_the_readme_lead_to_pages_of_the_site():
    pytest.importorskip("mkdocs")
    convert = runpy.run_path(str(SITE / "pages.py"))["_links_of_docs"]
    text = convert("[a](docs/training.md#resume) ![b](docs/pictures/camera.png) [c](LICENSE) [d](README.md) [e](#here)")
    assert text == "[a](training.md#resume) ![b](pictures/camera.png) `c` [d](index.md) [e](#here)"


def test_api_pages_show_options_with_default_and_text_and_link_roles(tmp_path):
    griffe = pytest.importorskip("griffe")
    (tmp_path / "shapes.py").write_text(
        "from dataclasses import dataclass\n\n\n"
        '@dataclass\nclass Circle:\n    """See :func:`area`; of :data:`PI`::\n\n        Circle(2)\n    """\n\n'
        '    radius: float = setting(1.0, "in meters")\n\n\n'
        'def area(circle):\n    """Return the area of a :class:`Circle` or a :class:`Square`."""\n'
    )
    extensions = griffe.load_extensions(str(SITE / "roles.py"))
    module = griffe.load("shapes", search_paths=[tmp_path], try_relative_path=False, extensions=extensions)
    circle = module["Circle"]
    assert circle.docstring.value.startswith("See [`area`][shapes.area]; of `PI`:\n")
    assert (str(circle["radius"].value), circle["radius"].docstring.value) == ("1.0", "in meters")
    assert [(p.name, str(p.default)) for p in circle.parameters][1] == ("radius", "1.0")
    assert module["area"].docstring.value == "Return the area of a [`Circle`][shapes.Circle] or a `Square`."
