"""Screens, a folder each; `shared` holds what several draw."""
