"""The images' recipe, and what root.py puts into them."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from importlib.metadata import packages_distributions, requires
from typing import TYPE_CHECKING, Any

import pytest

from deploy_helpers import DEPLOY, ROOT, checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECIPE = DEPLOY / "images" / "Dockerfile"
OF_A_SCENARIO = {"greenlet"}
"""Dependencies of commands that are in no image: they start devices and hosts of their own."""
OF_AN_EXTRA = {"opentelemetry"}
"""Imported only if somebody asks for traces; the programs say so where it is not installed."""
ROOTS = ("proto", "emulator", "server", "client")


@pytest.fixture(scope="module")
def parts() -> Any:
    """root.py as a module."""
    spec = importlib.util.spec_from_file_location("root", DEPLOY / "images" / "root.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imports(tree: ast.AST) -> Iterator[str]:
    """Packages that code imports when it runs: what is for type checkers only is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from imports(other)
        elif isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.module.partition(".")[0]
        else:
            yield from imports(node)


def sources(package: str) -> list[Path]:
    """All modules of a package of ours."""
    (folder,) = (ROOT / root / package for root in ROOTS if (ROOT / root / package).exists())
    return sorted(folder.rglob("*.py"))


def test_the_recipe_is_clean() -> None:
    """No finding of hadolint, of any severity."""
    assert checked("hadolint", "--failure-threshold", "style", RECIPE) == ""


def test_both_images_run_as_nobody_with_a_health_check() -> None:
    """By number, as Kubernetes wants it, and over nothing: the base, a certain version, only builds."""
    text = RECIPE.read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=\S+:\d+\.\d+\.\d+-", text, re.MULTILINE)
    stages = text.split("\nFROM ")[1:]
    assert [stage.splitlines()[0] for stage in stages] == [
        "${PYTHON_IMAGE} AS build",
        "scratch AS run",
        "run AS agent",
        "run AS device",
    ]
    assert "USER 65532:65532" in stages[1]
    for stage in stages[2:]:
        assert "HEALTHCHECK" in stage
        assert "ENTRYPOINT [" in stage, "in a list, so that signals reach the program"
    for stage in stages[1:]:
        assert not re.search(r"^(RUN|CMD|ENTRYPOINT) [^\[]", stage, re.MULTILINE), "there is no shell"


@pytest.mark.parametrize("image", ["device", "agent"])
def test_what_an_image_imports_is_in_it(parts: Any, image: str) -> None:
    """Of our own packages there; cramctl looks for cramlab, and says so where it is not."""
    here = {*parts.SHARED, *parts.OF_IMAGE[image]}
    ours = here.intersection(parts.OURS)
    assert ours
    wanted = {
        name
        for package in ours
        for path in sources(package)
        for name in imports(ast.parse(path.read_text()))
        if name not in sys.stdlib_module_names
    }
    assert wanted - OF_AN_EXTRA <= {name.removesuffix(".py") for name in here}


def test_every_dependency_is_in_an_image_or_named_here(parts: Any) -> None:
    """One that is new must be put where it is needed."""
    told = re.search(
        r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    assert told is not None
    wanted = {name.lower() for name in re.findall(r'"([\w-]+)', told[1])} - OF_A_SCENARIO
    there = {name for names in (parts.SHARED, *parts.OF_IMAGE.values()) for name in names}
    known = {
        distribution.lower().replace("_", "-")
        for package, distributions in packages_distributions().items()
        if package in there
        for distribution in distributions
    }
    assert wanted <= known


def test_an_image_with_traces_has_all_that_the_extra_brings(parts: Any) -> None:
    """What it is installed with here, and what that needs."""
    wanted, known = {"opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"}, set[str]()
    while wanted - known:
        name = (wanted - known).pop()
        known.add(name)
        needs = [one for one in requires(name) or () if "extra ==" not in one]
        wanted |= {re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in needs}
    packages = {name.removesuffix(".py") for name in (*parts.OF_EXTRA, *parts.SHARED)}
    there = {
        distribution.lower().replace("_", "-")
        for package, distributions in packages_distributions().items()
        if package in packages
        for distribution in distributions
    }
    assert len(known) > 10
    assert known <= there


def test_the_extra_is_asked_for_by_a_build_argument() -> None:
    """Empty unless somebody says so: `.` is installed, or `.[otel]`."""
    text = RECIPE.read_text()
    assert "ARG EXTRAS=\n" in text
    assert '".${EXTRAS:+[$EXTRAS]}"' in text


def test_what_is_removed_is_removed_and_nothing_else(parts: Any, tmp_path: Path) -> None:
    """Files and folders by pattern; of links the link."""
    for name in ("kept/tests_of_it.py", "kept/tests/test_one.py", "kept/deep/tests/x", "kept/a.pyi"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "kept" / "deep" / "link").symlink_to(tmp_path / "kept" / "deep" / "tests")
    parts.remove(tmp_path, ("**/tests", "**/*.pyi"))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["kept", "kept/deep", "kept/deep/link", "kept/tests_of_it.py"]


def test_links_on_the_way_are_kept(parts: Any, tmp_path: Path) -> None:
    """A library is found where it was: in a folder that is a link, under a name that is one."""
    machine = tmp_path / "machine"
    (machine / "usr" / "lib").mkdir(parents=True)
    (machine / "lib").symlink_to("usr/lib")
    (machine / "usr" / "lib" / "libx.so.1.2").write_text("x")
    (machine / "usr" / "lib" / "libx.so.1").symlink_to("libx.so.1.2")
    root = parts.Root(tmp_path / "root")
    root.add(machine / "lib" / "libx.so.1")
    inside = root.inside(machine)
    assert (inside / "lib").readlink().name == "lib"
    assert (inside / "lib" / "libx.so.1").read_text() == "x"
    assert (inside / "usr" / "lib" / "libx.so.1").is_symlink()


def test_code_is_compiled_and_runs_without_its_source(parts: Any, tmp_path: Path) -> None:
    """Of others; ours keeps it, for tracebacks."""
    for package, kept in (("theirs", False), ("ours", True)):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("answer = 42\n")
        parts.compile_all(folder, folder, keep_source=kept)
        assert (folder / "__init__.py").exists() is kept
        said = checked(sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
                       f"import {package}; print({package}.answer, {package}.__cached__)")  # fmt: skip
        assert said.startswith("42 ")
        assert ".pyc" in said


def test_the_build_sees_what_the_wheel_is_made_of_and_nothing_else() -> None:
    """.dockerignore shuts everything out but this: no key, no history, no environment."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    assert not [name for name in let_in if name in {"deploy", "tests", ".git", ".venv"}]
