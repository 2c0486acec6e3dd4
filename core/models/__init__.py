"""Models: found, loaded, quantised, checkpointed, merged, imported and exported.

Runs in jobs alone: training and checks both load through here, so that they agree on what the base model is.
Weights are read from safetensors; no pickle is ever opened. Imports data and what is below it.
"""
