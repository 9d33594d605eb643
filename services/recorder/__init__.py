"""Archives what goes over the bus, and deletes what is too old."""
