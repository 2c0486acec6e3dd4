"""Models: found, loaded, quantised, checkpointed, merged, imported and exported.

Training jobs and check jobs both come through here, so that they can't disagree on what the base model is.
Weights are read from safetensors alone: no pickle is ever opened.
"""
