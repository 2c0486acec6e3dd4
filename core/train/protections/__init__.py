"""Protections against forgetting while a model trains: a file each, with what `Protection` in core/plugins.py lists."""

from finetop.core.plugins import PROTECTIONS

names, load = PROTECTIONS.names, PROTECTIONS.load
