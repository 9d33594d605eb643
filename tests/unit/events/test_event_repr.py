"""An event that is printed says what happened."""

from antiphon.events.api import BaseEvent


class Saved(BaseEvent):
    """An event with attributes."""


def test_the_class_and_the_attributes_are_shown() -> None:
    """What a person wants to know is there; what belongs to the process is not."""
    event = Saved(name="letter", size=3)
    event._handled = True

    assert "Saved(name='letter', size=3)" == repr(event)


def test_long_values_are_cut() -> None:
    """A large attribute does not flood the terminal."""
    assert len(repr(Saved(text="x" * 10_000))) < 300
