"""Which job gets which GPUs: what they are looked at for, what a job wants, and how both are brought together."""
