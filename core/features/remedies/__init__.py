"""Remedies for a model that forgot: what is possible without training, tried and confirmed on fresh items."""
