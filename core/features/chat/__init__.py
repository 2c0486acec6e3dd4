"""Chats: a job that answers prompts with two models side by side, and the files through which it is asked and read."""
