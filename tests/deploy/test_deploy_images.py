"""The images' recipe."""

from __future__ import annotations

import re

from deploy_helpers import DEPLOY, ROOT, checked

RECIPE = DEPLOY / "images" / "Dockerfile"


def test_the_recipe_is_clean() -> None:
    """No finding of hadolint, of any severity."""
    assert checked("hadolint", "--failure-threshold", "style", RECIPE) == ""


def test_both_images_run_as_nobody_with_a_health_check() -> None:
    """By number, as Kubernetes wants it; the base is a certain version."""
    text = RECIPE.read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=\S+:\d+\.\d+\.\d+-", text, re.MULTILINE)
    stages = text.split("\nFROM ")[1:]
    assert [stage.splitlines()[0] for stage in stages] == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE} AS run",
        "run AS agent",
        "run AS device",
    ]
    assert "USER 65532:65532" in stages[1]
    for stage in stages[2:]:
        assert "HEALTHCHECK" in stage
        assert "ENTRYPOINT [" in stage, "in a list, so that signals reach the program"


def test_the_build_sees_what_the_wheel_is_made_of_and_nothing_else() -> None:
    """.dockerignore shuts everything out but this: no key, no history, no environment."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    assert not [name for name in let_in if name in {"deploy", "tests", ".git", ".venv"}]
