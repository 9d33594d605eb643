"""Progress on a text terminal; everything is in ``antiphon.terminal.api``."""
