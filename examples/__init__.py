"""Programs that show Antiphon at work."""
