"""The image's libraries: one version of each, by hash, as pyproject.toml asks for them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ["requirements.lock", "build.lock"]


def locked(name: str) -> dict[str, str]:
    """Return the versions in a lock by the names of their packages."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (DEPLOY / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in found}


def wanted() -> list[Requirement]:
    """Return what the services need, those of their extras included."""
    found, texts = [], [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["services"]]
    for text in texts:  # which grows
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            texts += [t for e in requirement.extras for t in PROJECT["optional-dependencies"][e]]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_is_asked_for_is_locked(requirement: Requirement) -> None:
    """A new dependency, or a new lowest version, needs `make lock`."""
    version = locked("requirements.lock").get(canonicalize_name(requirement.name))

    assert version is not None, f"{requirement} is not in deploy/requirements.lock: make lock"
    assert requirement.specifier.contains(version), f"{requirement} is not {version}: make lock"


def test_what_builds_is_locked() -> None:
    """The image is built without looking for newer versions."""
    assert "hatchling" in locked("build.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_each_version_has_its_hashes(name: str) -> None:
    """pip refuses what was changed after the lock was written, and no place is prescribed."""
    text = (DEPLOY / name).read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]

    assert len(blocks) == len(locked(name))
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_pip_checks_the_hashes() -> None:
    """The Dockerfile installs from the locks only."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    installs = [line for line in lines if "pip install" in line or "python install" in line]

    assert 3 == len(installs)
    assert all("--no-deps" in line for line in installs)
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
