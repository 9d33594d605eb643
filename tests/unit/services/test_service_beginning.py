"""A service that cannot be imported."""

from __future__ import annotations

import pytest

from services.beginning import importing


def test_a_library_that_is_not_installed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to install, without a traceback."""
    with pytest.raises(SystemExit) as ended, importing("recorder"):
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    assert 1 == ended.value.code
    said = "recorder: pydantic is not installed; in a clone: pip install '.[services]'\n"
    assert said == capsys.readouterr().err


@pytest.mark.parametrize("name", ["services.nothing", "antiphon.nothing", None])
def test_a_module_of_ours_that_lacks_is_a_traceback(name: str | None) -> None:
    """Nothing that is installed could mend that."""
    with pytest.raises(ModuleNotFoundError), importing("recorder"):
        raise ModuleNotFoundError("no module", name=name)
