"""The parts of ``antiphon.testing.transport_suite``."""
