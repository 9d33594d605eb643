"""The parts of the conformance suite for stores; see ``antiphon.testing.store_suite``."""
