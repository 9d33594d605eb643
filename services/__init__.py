"""The services: thin mains, one folder each, on the skeleton that they share."""
