"""llama.cpp in a process of its own: load a GGUF file, tokenize, score, generate, quantize. See model.py."""
