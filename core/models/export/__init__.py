"""Runs written as whole models: adapters merged into their base, saved, loaded again, and proven to say the same."""
