"""An exported folder published on the Hugging Face hub: its card, what must not leave this machine, the upload."""
