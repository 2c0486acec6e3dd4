"""Texts that say nearly the same, among a hundred thousand: candidates by hashes, each verified word by word.

- words.py      a text as numbers, one a word, that know what a capital, a digit and the start of a sentence were
- minhash.py    pairs of texts that share many words, without comparing all with all
- compare.py    what was changed between two texts, and whether that is a light edit or another question
- contained.py  which of some thousand items (test rows, benchmarks) a text contains, verbatim or lightly edited
- answers.py    whether two answers to one question contradict each other
- store.py      the words of all rows, in memory as long as they are few, then in a file

Nothing here knows of rows, recipes or reports: lint, the check and the selection of rows use it.
"""
