"""Texts that say nearly the same, among a hundred thousand: candidates by hashes, each verified word by word.

Used by lint, by the check and by the selection of rows; knows nothing of rows, recipes or reports.
"""
