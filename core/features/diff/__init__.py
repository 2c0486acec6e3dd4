"""The check's verdict on sample logs that lm-evaluation-harness wrote elsewhere.

Runs in `finetop diff`, without a supervisor or a model. Imports the check's statistics, protocol and text.
"""
