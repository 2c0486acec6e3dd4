"""Keeps house: what is removed or taken away, the disk, and the database made again."""
