"""The demonstration that ``make demo`` runs: three processes, one broker, one Redis."""
