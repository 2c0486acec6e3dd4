"""GPUs as the supervisor sees them: what they have, who uses them, who gets which."""
