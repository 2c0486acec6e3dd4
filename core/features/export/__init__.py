"""Runs exported as whole models: adapters merged into their base, saved, loaded again, and verified to agree."""
