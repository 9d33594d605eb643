"""The parts of the conformance suite for cache ledgers; see ``antiphon.testing.ledger_suite``."""
