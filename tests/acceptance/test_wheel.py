"""What is built is what was tested: the wheel has every file, and works by itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    hatchling = Path(sys.executable).with_name("hatchling")
    command = [hatchling, "build", "--target", "wheel", "--directory", folder / "built"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = (folder / "built").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Scripts and type marks that are no Python travel, too."""
    source = ROOT / "src"

    wanted = {
        path.relative_to(source)
        for path in (source / "antiphon").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {path.relative_to(wheel) for path in (wheel / "antiphon").rglob("*") if path.is_file()}
    assert packed == wanted
    assert Path("antiphon/py.typed") in packed


def test_the_package_works_from_the_wheel(wheel: Path) -> None:
    """A program that has the wheel and nothing of this folder can use the package."""
    program = (
        "import antiphon, antiphon.errors\n"
        "store = antiphon.open_store('memory:')\n"
        "store.connect()\n"
        "store.set_data('key', __import__('io').BytesIO(b'data'))\n"
        "print(antiphon.errors.__file__, store.get_data('key').read())\n"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(wheel)!r})\n{program}"]
    done = subprocess.run(command, cwd=wheel, capture_output=True, text=True)

    assert done.stdout == f"{wheel / 'antiphon' / 'errors.py'} b'data'\n", done.stderr
