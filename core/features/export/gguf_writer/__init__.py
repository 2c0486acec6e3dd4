"""GGUF files: written from a saved model, a family of models a plug-in, and proven to say what that model says."""
