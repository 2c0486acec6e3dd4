"""What the weights learn from: a file an objective, which has what `Objective` in core/plugins.py lists."""

from finetop.core.plugins import OBJECTIVES

names, load = OBJECTIVES.names, OBJECTIVES.load
