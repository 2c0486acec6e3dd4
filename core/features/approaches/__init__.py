"""Approaches to one task, side by side: prompt, examples, retrieval, training; which of them is worth its price."""
